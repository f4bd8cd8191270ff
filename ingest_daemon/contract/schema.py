"""The contract of the raw layer: names, units and types of readings, alarms and reasons.

Every other room takes these names from here. No logic, no imports from the project.
"""

from datetime import timedelta, timezone
from enum import StrEnum
from typing import NamedTuple

import polars as pl

MEASUREMENT = "reading"
"""InfluxDB measurement of a reading; its one tag is `terminal` (the terminal number)."""

TERMINAL_TAG = "terminal"

BEIJING = timezone(timedelta(hours=8), "Asia/Shanghai")
"""Chinese water telemetry speaks Beijing time without a zone on the wire (docs/domain.md#time-on-the-wire)."""


class Field(NamedTuple):
    """One typed field of a reading: column name, unit as printed, Polars type."""

    name: str
    unit: str
    dtype: pl.DataType


FIELDS: tuple[Field, ...] = (
    Field("forward_m3", "m³", pl.Float64()),
    Field("reverse_m3", "m³", pl.Float64()),
    Field("flow_m3h", "m³/h", pl.Float64()),
    Field("pressure_mpa", "MPa", pl.Float64()),
    Field("battery_v", "V", pl.Float64()),
    Field("signal", "", pl.Int64()),
    Field("status", "", pl.Int64()),
)
"""The fields that a meter may report; each may be null (missing is not zero)."""

TIMESTAMP = pl.Datetime("us", "UTC")

READING: dict[str, pl.DataType] = {
    "terminal": pl.String(),
    "ts": TIMESTAMP,
    **{field.name: field.dtype for field in FIELDS},
    "received_at": TIMESTAMP,
    "channel": pl.String(),
    "stream": pl.String(),
    "frame": pl.Int64(),
}
"""A reading: terminal number, device time (UTC), fields, receive time, channel, journal position (`frame` within `stream`).

The key is (`terminal`, `ts`): the same reading twice is the same point; of two that differ the later arrival
wins, field by field, and the contradiction is kept in the ledger (`Reason.CONFLICT`).
"""


class Channel(StrEnum):
    """The way a frame came in."""

    TCP = "tcp"
    SMS = "sms"
    AMR = "amr"
    MANUAL = "manual"


class Reason(StrEnum):
    """Why bytes or readings were kept aside instead of stored."""

    BAD_CRC = "BAD_CRC"
    BAD_LENGTH = "BAD_LENGTH"
    NOISE = "NOISE"
    UNKNOWN_LINK = "UNKNOWN_LINK"
    LATE_ANSWER = "LATE_ANSWER"
    BAD_BODY = "BAD_BODY"
    BAD_TIME = "BAD_TIME"
    FUTURE_TIME = "FUTURE_TIME"
    OLD_TIME = "OLD_TIME"
    NOT_INSTALLED = "NOT_INSTALLED"
    REMOVED = "REMOVED"
    UNKNOWN_TERMINAL = "UNKNOWN_TERMINAL"
    CONFLICT = "CONFLICT"
    STORE_REFUSED = "STORE_REFUSED"
    WRONG_PASSWORD = "WRONG_PASSWORD"
    FOREIGN_STATION = "FOREIGN_STATION"
    FOREIGN_SENDER = "FOREIGN_SENDER"
    REPLAYED = "REPLAYED"


DOUBTS: dict[str, str] = {
    Reason.UNKNOWN_LINK: "no protocol begins like this, and no link of registry/terminals.csv (column link) is in it",
    Reason.WRONG_PASSWORD: "the frame's password is not the registered one",
    Reason.FOREIGN_STATION: "the frame names another station than those that this connection spoke for",
    Reason.FOREIGN_SENDER: "the SMS came from another number than the registered one",
    Reason.REPLAYED: "the same bytes came before over another connection",
}
"""Reasons for which the server lets a frame be kept aside although its bytes are good, and what they say."""


ALARM_STATES = ("raised", "cleared")
ALARM_ORIGINS = ("device", "server")
