"""The content of a message → octets of frames: octets as they are, hex text, base64. Pure."""

import base64
import binascii
import re

_HEX = re.compile(r"[0-9A-Fa-f]+")
_SPACES = re.compile(r"\s+")
_LINE_ENDS = re.compile(r"[\r\n]+")

CODINGS = {"hex": "hex", "base64": "base64"}
"""Codings that a gateway may state; any other, or none, leaves the decision to the content."""


class NoOctets(ValueError):
    """The text is neither hex nor base64; the error's text gives the reason."""


def octets(content: str | bytes, coding: str = "") -> bytes:
    """Octets of a content. Text that is hex is hex, although much of it were base64, too. Raises `NoOctets`."""
    if content == b"":
        raise NoOctets("expected octets, the message is empty")
    if isinstance(content, bytes):
        return content
    text = _SPACES.sub("", content)
    if not text:
        raise NoOctets("expected hex text or base64, the message is empty")
    told = CODINGS.get(coding.lower())
    if told == "hex" or (told is None and _HEX.fullmatch(text)):
        if not _HEX.fullmatch(text):
            raise NoOctets(f"expected hex text, there is {_shown(content)}")
        if len(text) % 2:
            raise NoOctets(f"expected two hex digits an octet, there are {len(text)} digits")
        return bytes.fromhex(text)
    try:
        # Lines may be broken, but words with spaces between are somebody's words.
        return base64.b64decode(_LINE_ENDS.sub("", content.strip()).encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise NoOctets(f"expected hex text or base64 ({error}), there is {_shown(content)}") from None


def _shown(content: str) -> str:
    return repr(content if len(content) <= 40 else content[:40] + "…")
