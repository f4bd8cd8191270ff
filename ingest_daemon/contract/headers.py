"""The headers of the files in `sql/`: YAML in a `/* */` comment before the one statement of a SQL file."""

from pathlib import Path
from typing import Any

import yaml

SQL = Path(__file__).parents[2] / "sql"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader is ten times as fast; PyYAML built from source may lack it."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file. Raises `ValueError` naming the file."""
    return _parsed(path, path.read_text(encoding="utf-8"))


def read_header(path: Path) -> tuple[dict[str, Any], str]:
    """The YAML header and the statement of a SQL file. Raises `ValueError` naming the file."""
    text = path.read_text(encoding="utf-8")
    if not text.startswith("/*") or "*/" not in text:
        raise ValueError(f"{path}: expected a YAML header in /* */ before the statement")
    header, statement = text[2:].split("*/", 1)
    return _parsed(path, header), statement.strip().rstrip(";")


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        content = yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: expected YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected YAML with keys and values; there is {content!r}")
    return content
