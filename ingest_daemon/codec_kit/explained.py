"""Explained fields in order, with their offsets, and the text of a checksum; shared by `explain` of the codecs."""

from collections.abc import Iterable

from ingest_daemon.codec_kit.api import ExplainedField

UnplacedField = tuple[bytes, str, str, str, str]
"""Bytes, their name in Chinese and English, value and unit; an empty value stands for the bytes in hex."""


def layout(fields: Iterable[UnplacedField]) -> list[ExplainedField]:
    """The fields with their offsets, the first at 0; fields without bytes are left out."""
    placed, offset = list[ExplainedField](), 0
    for raw, zh, en, value, unit in fields:
        if raw:
            placed.append(ExplainedField(offset, raw, zh, en, value or raw.hex().upper(), unit))
            offset += len(raw)
    return placed


class Explainer:
    """A frame whose bytes are taken into `parts` from the left; `offset`: the first byte not yet taken."""

    def __init__(self, frame: bytes) -> None:
        self.frame, self.offset = frame, 0
        self.parts: list[ExplainedField] = []

    def take(self, end: int, zh: str, en: str, value: str = "", unit: str = "") -> None:
        """Add the bytes up to offset `end` as one part, if there are any; an empty value stands for the bytes in hex."""
        raw = self.frame[self.offset : end]
        if raw:
            self.parts.append(ExplainedField(self.offset, raw, zh, en, value or raw.hex().upper(), unit))
            self.offset += len(raw)


def checksum_text(received: str, expected: str) -> str:
    """The received checksum with its verdict; both in upper-case hex digits."""
    verdict = "正确 / good" if received == expected else f"错误，应为 {expected} / wrong, expected {expected}"
    return f"{received} {verdict}"
