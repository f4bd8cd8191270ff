"""Frames to the daemon on this machine, each acknowledged once it is safe on disk."""

import socket
from collections.abc import Sequence
from types import TracebackType

from ingest_daemon.amr.errors import AmrError
from ingest_daemon.codec_kit.api import Frame
from ingest_daemon.codecs import amr
from ingest_daemon.contract.files import open_folder
from ingest_daemon.contract.site import Site

ANSWER_S = 60.0
WINDOW = 256
"""Frames that wait for their acknowledgement at a time: both sides write within what a socket holds."""


class Sender:
    """A connection with the site's daemon. Raises `AmrError` where none listens."""

    def __init__(self, site: Site) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        try:
            with open_folder(site.import_socket.parent) as short:
                self._socket.connect(f"{short}/{site.import_socket.name}")
        except OSError as error:
            self._socket.close()
            raise AmrError(
                f"the daemon does not listen at {site.import_socket} ({error.strerror}): nothing can be imported; "
                "start it with mainflow up"
            ) from None

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames, numbered from 0 on; all are safe on disk on return. Raises `AmrError`."""
        decoder = amr.decoder()
        for start in range(0, len(frames), WINDOW):
            part = frames[start : start + WINDOW]
            waiting = set(range(start, start + len(part)))
            try:
                self._socket.sendall(b"".join(part))
                while waiting:
                    data = self._socket.recv(65536)
                    if not data:
                        raise ConnectionError("it closed the connection")
                    pieces = [piece for piece in decoder.feed(data) if isinstance(piece, Frame)]
                    waiting.difference_update(amr.acknowledged_sequence(piece.raw) for piece in pieces)
            except OSError as error:
                raise AmrError(
                    f"the daemon left {len(waiting)} frames unacknowledged ({error}): they are read and sent again by the next "
                    "sync; look at mainflow status, the disk may be full"
                ) from None
