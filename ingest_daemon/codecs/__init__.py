"""One protocol a module or package, found by its name: no list to edit.

Modules here are pure. They may import `frames`, `schema` and the checksum and BCD helpers of the room, nothing else.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from ingest_daemon.frames import Codec


def names() -> list[str]:
    """The protocols there are, by file name."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Codec:
    """The codec of that name. Raises `ValueError` naming the protocols there are."""
    if name not in names():
        raise ValueError(f"protocol {name!r} is unknown; allowed: {', '.join(names())}")
    return cast(Codec, import_module(f"{__name__}.{name}"))
