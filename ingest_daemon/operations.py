"""What other rooms may ask of the daemon beyond its contract and stores. Codecs are imported when a function is called."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest_daemon.codec_kit.api import ExplainedField
    from ingest_daemon.forwarding.preview import Preview


def explain(data: bytes, protocol: str) -> "list[ExplainedField]":
    """Every byte of a frame explained. Raises `ValueError` for an unknown protocol."""
    from ingest_daemon import codecs

    return codecs.load(protocol).explain(data)


def preview(data: bytes, protocol: str, profile: str, now: datetime) -> "Preview":
    """What the daemon would store of these bytes (see `forwarding.preview`)."""
    from ingest_daemon.forwarding import preview as forwarding

    return forwarding.preview(data, protocol, profile, now)
