"""What `explain` of several codecs shares: pieces in order become parts with their place. No protocol's layout."""

from collections.abc import Iterable

from ingest_daemon.codec_kit.api import ExplainedField

UnplacedField = tuple[bytes, str, str, str, str]
"""Bytes, their name in Chinese and English, value and unit; the value is the bytes in hex where it is empty."""


def layout(pieces: Iterable[UnplacedField]) -> list[ExplainedField]:
    """The pieces that have bytes, one behind the other from offset 0."""
    parts, at = list[ExplainedField](), 0
    for raw, zh, en, value, unit in pieces:
        if raw:
            parts.append(ExplainedField(at, raw, zh, en, value or raw.hex().upper(), unit))
            at += len(raw)
    return parts
