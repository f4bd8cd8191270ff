"""One protocol a module or package, found by its name: no list to edit.

Modules here are pure. They may import `frames`, `schema` and the checksum and BCD helpers of the room, nothing else.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import cast

from ingest_daemon.codec_kit import defaults as defaults
from ingest_daemon.codec_kit.api import Codec

_OFFERED = [name for name in (*vars(Codec), *Codec.__annotations__) if not name.startswith("_")]


def names() -> list[str]:
    """The protocols there are, by file name."""
    return sorted(module.name for module in iter_modules(__path__))


@cache
def load(name: str) -> Codec:
    """The codec of that name, with the defaults of what its module leaves out. Raises `ValueError` naming what there is."""
    if name not in names():
        raise ValueError(f"protocol {name!r} is unknown; allowed: {', '.join(names())}")
    module = import_module(f"{__name__}.{name}")
    offered = {item: getattr(module, item, None) or getattr(defaults, item) for item in _OFFERED}
    return cast(Codec, SimpleNamespace(**offered))
