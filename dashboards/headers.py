"""The headers of the files in `sql/`, as boards and rules read them: YAML, in a `/* */` comment where the file is SQL."""

from pathlib import Path
from typing import Any

import yaml

SQL = Path(__file__).parent.parent / "sql"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> Any:
    """The header of a SQL file, or the content of a YAML file."""
    return yaml.load(path.read_text(encoding="utf-8").removeprefix("/*").split("*/")[0], Loader=_LOADER)
