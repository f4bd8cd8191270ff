"""Signs of life of DTUs, told from data. Pure.

The decoder sees every byte first. Only what it does not want can be a heartbeat, and never while a frame is half read.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from ingest_daemon.codec_kit.api import Decoder, Frame, Rejected
from ingest_daemon.reception.protocol_detection import LONGEST, link_bytes

WORDS = (b"PING", b"HEART", b"HEARTBEAT", b"KEEPALIVE", b"BEAT", rb"www\.usr\.cn")
SHORT = (rb"[\x00\xfe\xff$@0#]", b"OK")
"""Patterns of the bytes, beside its number, by which a usual DTU keeps a line open; case and a line end do not matter."""


def is_heartbeat(data: bytes, link: str, *, is_asked: bool = False) -> bool:
    """Whether what came from a DTU is one of its signs of life, or several, and nothing else.

    `is_asked`: a request is in flight, so what may stand in an answer, a byte or two, is none.
    """
    return len(data) <= LONGEST and _pattern(link, is_asked).fullmatch(data) is not None


@lru_cache(65536)
def _pattern(link: str, is_asked: bool) -> re.Pattern[bytes]:
    number = re.escape(link_bytes(link))
    words = b"|".join(WORDS if is_asked else WORDS + SHORT)
    # Possessive, so that no text of a stranger takes long to be told.
    return re.compile(rb"(?:(?>[^\r\n]{0,12}?%b|%b)[\r\n\x00-\x03]*+)++" % (number, words), re.IGNORECASE)


class HeartbeatFilter:
    """Feeds a DTU's bytes to the decoder and takes heartbeats out of what it rejects."""

    def __init__(self, link: str) -> None:
        self._link = link
        self.pending = 0
        """First bytes of the decoder's pending ones that belong to a heartbeat."""

    def feed(self, decoder: Decoder, data: bytes, *, is_asked: bool) -> tuple[list[Frame | Rejected], int]:
        """The pieces that are no heartbeat, and the number of heartbeats."""
        is_between_frames = decoder.pending == self.pending
        kept, heartbeats, run = list[Frame | Rejected](), 0, list[Rejected]()
        for piece in self._without_known(decoder.feed(data)):
            if isinstance(piece, Rejected):
                run.append(piece)
                continue
            is_beat = self._is_beat(run, b"", is_asked=True)
            kept += [piece] if is_beat else [*run, piece]
            heartbeats, run = heartbeats + is_beat, []
        # What the decoder holds counts with the bytes before it: the last letter of a word could begin a frame.
        held = data[len(data) - decoder.pending :] if decoder.pending <= len(data) else b""
        is_whole = is_between_frames and not kept and sum(len(piece.raw) for piece in run) + len(held) == len(data)
        if self._is_beat(run, held, is_asked=is_asked or not is_whole):
            self.pending = decoder.pending
            return kept, heartbeats + 1
        is_beat = self._is_beat(run, b"", is_asked=True)
        return [*kept, *([] if is_beat else run)], heartbeats + is_beat

    def _is_beat(self, run: Sequence[Rejected], held: bytes, *, is_asked: bool) -> bool:
        return is_heartbeat(b"".join(piece.raw for piece in run) + held, self._link, is_asked=is_asked)

    def _without_known(self, pieces: Sequence[Frame | Rejected]) -> list[Frame | Rejected]:
        """The pieces without the bytes that belong to an earlier heartbeat."""
        rest = list[Frame | Rejected]()
        for piece in pieces:
            size = min(self.pending, len(piece.raw))
            self.pending -= size
            if isinstance(piece, Frame):
                rest.append(piece)
            elif raw := piece.raw[size:]:
                rest.append(piece._replace(raw=raw))
        return rest
