"""The interface of a codec: the types between sockets, journal and raw store. No protocol's detail, no I/O.

A protocol is one module or package in `codecs/`, loaded by its name, with the functions of `Codec`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon.contract.schema import FIELDS, TIMESTAMP, Reason


class Frame(NamedTuple):
    """One whole frame with a good checksum, exactly as received."""

    raw: bytes


class Rejected(NamedTuple):
    """Bytes that are no frame, with the reason and a sentence that names what was expected."""

    raw: bytes
    reason: Reason
    detail: str


class Decoder(Protocol):
    """Cuts one connection's byte stream into frames. Never raises; never holds more than `MAX_FRAME` bytes.

    The bytes of all frames and rejections plus `pending` are exactly the bytes fed, in order.
    """

    @property
    def pending(self) -> int:
        """Bytes held back because the frame is not complete yet."""
        ...

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        """Take received bytes, glued or split anywhere. Returns the frames and rejections that are complete."""
        ...


class Decoded(NamedTuple):
    """The content of a group of frames, in columns.

    `readings`: `frame` (index in the group), `terminal`, `ts`, and the fields of `schema.FIELDS`.
    `alarms`: `frame`, `terminal`, `event_at`, `active` (list of alarm codes set in the alarm word; empty: all
    clear) and the fields of `schema.FIELDS` seen in the same frame (for value); a row a frame that carries an alarm word.
    `clocks`: `frame`, `terminal`, `sent_at` (the device's clock when it sent).
    `rejected`: `frame`, `reason`, `detail`: frames with a good checksum whose content cannot be used.
    """

    readings: pl.DataFrame
    alarms: pl.DataFrame
    clocks: pl.DataFrame
    rejected: pl.DataFrame


_FIELDS = {field.name: field.dtype for field in FIELDS}
NOTHING = Decoded(
    pl.DataFrame(schema={"frame": pl.Int64, "terminal": pl.String, "ts": TIMESTAMP, **_FIELDS}),
    pl.DataFrame(
        schema={"frame": pl.Int64, "terminal": pl.String, "event_at": TIMESTAMP, "active": pl.List(pl.String), **_FIELDS}
    ),
    pl.DataFrame(schema={"frame": pl.Int64, "terminal": pl.String, "sent_at": TIMESTAMP}),
    pl.DataFrame(schema={"frame": pl.Int64, "reason": pl.String, "detail": pl.String}),
)
"""The decoding of no frames: the tables of every codec have these columns."""


def rejections(refused: Iterable[tuple[int, str, str]]) -> pl.DataFrame:
    """`Decoded.rejected` of frames, reasons and details, in the order of the frames."""
    rows = sorted(((number, str(reason), detail) for number, reason, detail in refused), key=lambda row: row[0])
    return pl.DataFrame(rows, schema=NOTHING.rejected.schema, orient="row")


def together(parts: Iterable[Decoded]) -> Decoded:
    """Parts of one group as a whole, in the order of its frames; of no parts `NOTHING`."""
    tables = zip(NOTHING, *parts, strict=True)
    return Decoded(*(pl.concat(several).sort("frame", maintain_order=True) for several in tables))


def renumbered(part: Decoded, numbers: NDArray[np.int64]) -> Decoded:
    """The part with each `frame` replaced by its number in a larger group; `numbers`: one for each frame of the part."""
    return Decoded(*(table.with_columns(frame=pl.Series(numbers[table["frame"].to_numpy()], dtype=pl.Int64)) for table in part))


class ExplainedField(NamedTuple):
    """One explained piece of a frame: offset, bytes, name in both languages, value and unit."""

    offset: int
    raw: bytes
    zh: str
    en: str
    value: str
    unit: str


class Arrival(NamedTuple):
    """A frame with facts that its bytes may not hold: its time of receipt, and the terminal and requests that it answers.

    `raw`: one frame, the packets of one message in order, or the answers of one round of polling in the order of `requests`.
    `received_us`: µs since 1970 UTC. `terminal`: the polled terminal; empty where the frame itself names its sender.
    """

    raw: bytes
    received_us: int = 0
    terminal: str = ""
    requests: tuple[bytes, ...] = ()


class Packet(NamedTuple):
    """A frame's place in a message of several packets.

    `key`: the common features of the packets of one message. `number`: from 1 up to `total`; where `total` is None the numbers
    count down to 1 and the highest is the first.
    """

    key: bytes
    number: int
    total: int | None


class CommandType(StrEnum):
    """The commands to terminals. Erasing, resetting and changing a password are not among them and never will be."""

    NOW = "now"
    HISTORY = "history"
    CLOCK = "clock"
    SET_CLOCK = "set-clock"
    VERSION = "version"
    STATUS = "status"
    EVENTS = "events"
    PARAMETERS = "parameters"


class Command(NamedTuple):
    """A command to a terminal. `address`: the meter's on its link. `start`, `end`, `field` (of `schema.FIELDS`): for history.

    `password`: the registered one; empty for the profile's.
    """

    kind: CommandType
    terminal: str
    address: str
    now: datetime
    start: datetime | None = None
    end: datetime | None = None
    field: str = "forward_m3"
    password: str = ""


class UnsupportedCommand(ValueError):
    """The protocol or the terminal's profile does not support the command; the text names the supported ones."""


class NumberShape(NamedTuple):
    """The numbers that can name a terminal or a meter: a regular expression for the whole of one, and the same in words.

    `zh`: these in Chinese.
    """

    pattern: str
    words: str
    zh: str


class Codec(Protocol):
    """The functions of a module in `codecs/`. All pure: no socket, clock, file, logger or database.

    Only `MAX_FRAME`, `decoder`, `terminal`, `decode` and `explain` are required; `codecs.load` replaces the functions that a
    module leaves out by those of `defaults`. `profile` arguments are results of the module's own `profile`, or None for its
    defaults.
    """

    MAX_FRAME: int
    """Longest frame in bytes; the bound of every buffer."""

    POLLED: bool
    """Whether the terminals send only answers: through a DTU that calls in, or at an address that we dial."""

    TERMINAL_NUMBER: NumberShape
    """The shape of a terminal's number in the registry."""

    LINK_ADDRESS: NumberShape
    """The shape of a meter's address on its link."""

    def decoder(self) -> Decoder:
        """A decoder for a new connection."""
        ...

    def sniff(self, prefix: bytes) -> bool | None:
        """Whether a connection that begins with these bytes uses this protocol; None: more bytes are needed to decide."""
        ...

    def terminal(self, frame: bytes) -> str:
        """The terminal (station) number that sent the frame; of a polled protocol the address on the link ("" for none)."""
        ...

    def other_stations(self, frame: bytes) -> tuple[str, ...]:
        """The stations beside `terminal` for which `decode` may give rows, each once; nearly always none. Called for every frame.

        `frame`: one frame, a message of several packets, or the answers of one round. Never raises.
        """
        ...

    def password(self, frame: bytes) -> str:
        """The password that the frame carries; "" where there is none."""
        ...

    def is_alarm(self, arrival: Arrival, profile: Any) -> bool:
        """Whether it carries an alarm that is set and must overtake the backlog. Called for every message: quick."""
        ...

    def reply(self, frame: bytes, now: datetime, profile: Any) -> bytes | None:
        """The acknowledgement to send once the frame is safe on disk; None where the protocol has none.

        Called for each packet as it comes, and for the whole message in place of the packet that completed it.
        """
        ...

    def packet(self, frame: bytes) -> Packet | None:
        """The frame's place in a message of several packets; None for a message of its own."""
        ...

    def ask_again(self, frame: bytes, number: int, now: datetime) -> bytes | None:
        """The request to the sender of `frame` to repeat packet `number` of its message; None where there is no such request."""
        ...

    def profile(self, table: Mapping[str, Any]) -> Any:
        """A station's settings from a TOML table (`{}`: the defaults). Raises `ValueError` naming key and allowed values."""
        ...

    def requests(self, ask: Command, profile: Any) -> list[bytes]:
        """The frames of the command, to be sent one after the other. Raises `UnsupportedCommand`."""
        ...

    def answers(self, request: bytes, frame: bytes) -> bool:
        """Whether the frame answers the request (an error of the terminal is an answer, too)."""
        ...

    def identity(self, request: bytes) -> bytes:
        """The part of a request that its answer reveals: requests with answers of the same look have the same identity."""
        ...

    def follow_up(self, request: bytes, frame: bytes) -> bytes | None:
        """The next request after an answer that is incomplete; None after a complete one."""
        ...

    def decode(self, arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
        """Decode a group at once, in columns; `profiles` by terminal number. Never raises: unusable content is `rejected`."""
        ...

    def rounds(self, frames: Sequence[bytes], profile: Any) -> list[Arrival]:
        """Frames without their requests as arrivals; those of a polled protocol in rounds, with the requests of a usual poll."""
        ...

    def unused(self, arrival: Arrival) -> list[str]:
        """Descriptions, for people, of values that readings leave out by design, such as last month's total."""
        ...

    def explain(self, frame: bytes) -> list[ExplainedField]:
        """Every byte of the frame explained, in order, even if its checksum is wrong."""
        ...
