"""One protocol a module or package, found by its name: no list to edit.

Modules here are pure: they import `codec_kit` and the names in `contract.schema`, nothing else of the project.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:  # the names of the protocols are needed where no codec and no Polars are
    from ingest_daemon.codec_kit.api import Codec

IMPORTED = "amr"
"""The protocol of what is imported from other systems' tables: only this machine's socket speaks it, no port, link or SMS."""


@cache
def names() -> tuple[str, ...]:
    """The protocols there are, by file name."""
    return tuple(sorted(module.name for module in iter_modules(__path__)))


@cache
def load(name: str) -> "Codec":
    """The codec of that name, with the defaults of what its module leaves out. Raises `ValueError` naming what there is."""
    if name not in names():
        raise ValueError(f"protocol {name!r} is unknown; allowed: {', '.join(names())}")
    from ingest_daemon.codec_kit import defaults
    from ingest_daemon.codec_kit.api import Codec

    module = import_module(f"{__name__}.{name}")
    offered = [item for item in (*vars(Codec), *Codec.__annotations__) if not item.startswith("_")]
    return cast(Codec, SimpleNamespace(**{item: getattr(module, item, None) or getattr(defaults, item) for item in offered}))


def sniffed(first: bytes) -> str:
    """The protocol that begins like these bytes and like no other; "" where there is none, or more bytes are needed."""
    return next((name for name in names() if load(name).sniff(first)), "")
