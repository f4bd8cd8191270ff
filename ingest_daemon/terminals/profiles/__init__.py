"""Profiles: what stations of one protocol differ in, as data.

`<name>.toml` here is shipped; a site's own lie in `registry/profiles/`. A file says `protocol` (one or a list), may say `title`
and `source`, and has the settings that the protocol's codec takes (its `profile`).
"""

import tomllib
from pathlib import Path
from typing import Any

from ingest_daemon import codecs

SHIPPED = Path(__file__).parent
_DESCRIPTION = ("protocol", "title", "source")


def path_of(name: str, folder: Path) -> Path:
    """The file of a profile: the site's own (`folder`) before a shipped one. Raises `ValueError` naming what there is."""
    for place in (folder, SHIPPED):
        if Path(name).name == name and (path := place / f"{name}.toml").is_file():
            return path
    known = sorted({file.stem for place in (folder, SHIPPED) for file in place.glob("*.toml")})
    raise ValueError(f"profile {name!r} is unknown; there are: {', '.join(known)}; your own go into {folder}")


def read_profile(path: Path, protocol: str) -> Any:
    """The profile as the protocol's codec takes it. Raises `OSError`, or `ValueError` naming the file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        meant = table.get("protocol", [])
        if protocol not in ([meant] if isinstance(meant, str) else meant):
            raise ValueError(f"protocol is {meant!r}, but a terminal that names this profile speaks {protocol!r}")
        return codecs.load(protocol).profile({key: value for key, value in table.items() if key not in _DESCRIPTION})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
