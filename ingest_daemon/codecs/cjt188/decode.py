"""Decodes a group of answers into the columns of `Decoded`: the usable ones, the layouts of their data, the tables."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from ingest_daemon.codec_kit.api import Arrival, Decoded, Frame, rejections
from ingest_daemon.codec_kit.framer import Fault, Framer
from ingest_daemon.codecs.cjt188.framing import (
    CLOCK,
    ERROR,
    FLOWS,
    FRAME_FORMAT,
    FREEZES,
    FUNCTION,
    HEADER,
    LITRES,
    M3,
    MONTHS,
    ODD_ANSWER,
    PRESENT,
    READ,
    VOLUMES,
    WAKE,
    apart,
    sum_of,
    terminal,
)
from ingest_daemon.codecs.cjt188.profile import Profile
from ingest_daemon.contract.schema import BEIJING, FIELDS, TIMESTAMP, Reason

_NAMES = [field.name for field in FIELDS]
_ANSWERS: dict[str, Any] = {
    "frame": pl.Int64,
    "place": pl.Int64,
    "terminal": pl.String,
    "received": TIMESTAMP,
    "layout": pl.String,
    "hex": pl.String,
    "high_clock": pl.Boolean,
    "litre_decimals": pl.Int64,
    "pressure_unit": pl.String,
    "map": pl.Int64,
}
"""An answer a row: `place` in its round, `layout` of its data (`hex`), settings from the meter's profile (`map`: status map)."""


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Decode a group at once, in columns (see `Decoded`): a reading for each answer, of its terminal or else the meter's address.

    Present readings alone give alarms and a status. Never raises: errors, echoed requests and unknown layouts are `rejected`.
    """
    rows: list[tuple[Any, ...]] = []
    refused: list[tuple[int, Reason, str]] = []
    maps: dict[tuple[tuple[int, str], ...], int] = {}
    for number, arrival in enumerate(arrivals):
        for place, frame in enumerate(_frames(arrival.raw)):
            settings: Profile = profiles.get(arrival.terminal or terminal(frame)) or Profile()
            layout = _layout(frame, settings)
            if not isinstance(layout, str):
                refused.append((number, *layout))
            elif layout:
                parts = apart(frame)
                received = datetime.fromtimestamp(arrival.received_us // 1000 / 1000, UTC)
                status_map = maps.setdefault(settings.status, len(maps))
                differs = settings.high_clock, settings.litre_decimals, settings.pressure_unit, status_map
                rows.append((number, place, arrival.terminal or parts.address, received, layout, parts.data.hex(), *differs))
    table = pl.DataFrame(rows, schema=_ANSWERS, orient="row")
    answers = pl.concat([read(table.filter(layout=layout)) for layout, read in _READERS.items()]).sort("frame", "place")
    faults = _faults(answers)
    fatal = faults.filter("fatal").select(pl.struct("frame", "place")).to_series()
    good = answers.filter(~pl.struct("frame", "place").is_in(fatal.implode()))
    present = good.filter(pl.col("status").is_not_null())
    return Decoded(
        good.filter(pl.col("ts").is_not_null(), pl.any_horizontal(pl.col(_NAMES).is_not_null())).select(
            "frame", "terminal", "ts", *_NAMES
        ),
        present.select("frame", "terminal", pl.col("ts").alias("event_at"), _active(present, list(maps)), *_NAMES),
        good.filter(pl.col("sent_at").is_not_null()).select("frame", "terminal", "sent_at"),
        pl.concat([rejections(refused), faults.drop("place", "fatal")]).sort("frame", maintain_order=True),
    )


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """Whether a status bit is set that the meter's profile maps to an alarm. Never raises."""
    settings: Profile = profile or Profile()
    return any(_is_alarm(frame, settings) for frame in _frames(arrival.raw))


def _is_alarm(frame: bytes, settings: Profile) -> bool:
    layout = _layout(frame, settings)
    start = _STATUS_AT.get(layout) if isinstance(layout, str) else None
    return start is not None and bool(_codes(int.from_bytes(apart(frame).data[start : start + 2], "little"), settings.status))


def _frames(raw: bytes) -> list[bytes]:
    """The frames of an arrival: nearly always one, in a round of polling the answers; other bytes are left out."""
    return [piece.raw for piece in Framer(FRAME_FORMAT).feed(raw) if isinstance(piece, Frame)]


def _layout(frame: bytes, settings: Profile) -> str | Fault:
    """The layout of an answer's data, "" where they hold no measurement; or the fault for which they cannot be used."""
    body = frame.lstrip(WAKE)
    parts = apart(frame)
    if not settings.data_sum and body[-2] != sum_of(body[:-2]):
        detail = f"checksum is {body[-2]:02X}, which is the sum of the data field only, expected {sum_of(body[:-2]):02X}"
        return Reason.BAD_CRC, f'{detail}; for a meter that sums like this its profile says checksum = "data"'
    if not parts.is_answer:
        return Reason.BAD_BODY, f"control is {parts.control:02X}: a request, perhaps our own come back, expected an answer"
    if parts.control != ODD_ANSWER and parts.control & ERROR:
        return Reason.BAD_BODY, f"the meter refused: control {parts.control:02X}, error code {body[HEADER:-2][-1:].hex().upper()}"
    if parts.control == ODD_ANSWER or parts.control & FUNCTION != READ:
        return ""
    if 0x20 <= parts.meter_type < 0x40:
        return Reason.BAD_BODY, f"meter type is {parts.meter_type:02X}: heat and gas are not read, expected water (10 to 19)"
    size = len(parts.data)
    layouts = {(PRESENT, 19): settings.layout, (PRESENT, 6): "short", (CLOCK, 7): "clock"}
    if parts.identifier in FREEZES and size == 23:
        return "freeze"
    if layout := layouts.get((parts.identifier, size)):
        return layout
    if body[10] == 9 and parts.identifier == CLOCK:
        return Reason.BAD_BODY, "the clock came without a request number"
    if parts.identifier not in (PRESENT, CLOCK, *FREEZES):
        detail = f"data {parts.identifier:04X} are not read"
        months = ": a register of a past month comes without a time" if parts.identifier in MONTHS else ""
        return Reason.BAD_BODY, detail + months
    return Reason.BAD_BODY, f"data {parts.identifier:04X} have {size} bytes, expected 19 or 6 of 901F, 7 of 907F, 23 of a freeze"


def _digits(offset: int, size: int) -> pl.Expr:
    """The digits of a value, high byte first."""
    return pl.concat_str([pl.col("hex").str.slice(2 * byte, 2) for byte in range(offset + size - 1, offset - 1, -1)])


def _whole(offset: int, size: int) -> pl.Expr:
    """A BCD number; null where the digits are none."""
    return _digits(offset, size).cast(pl.Int64, strict=False)


def _byte(offset: int) -> pl.Expr:
    return pl.col("hex").str.slice(2 * offset, 2)


def _moment(digits: pl.Expr) -> pl.Expr:
    """YYYYMMDDhhmmss of Beijing in UTC; null where it is no time, or that of a clock that was never set."""
    local = digits.str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False)
    sound = local.is_between(datetime(2000, 1, 2), datetime(2100, 1, 1), closed="left")
    utc = (local - (BEIJING.utcoffset(None) or timedelta())).dt.replace_time_zone("UTC")
    return pl.when(sound).then(utc).otherwise(None).cast(TIMESTAMP)


def clock(offset: int) -> pl.Expr:
    """A clock of 7 bytes, low byte first or, by some makers, high byte first; the profile decides which is tried first."""
    low, high = _moment(_digits(offset, 7)), _moment(pl.col("hex").str.slice(2 * offset, 14))
    return pl.when(pl.col("high_clock")).then(pl.coalesce(high, low)).otherwise(pl.coalesce(low, high))


def _code(code: int) -> pl.Expr:
    return pl.lit(f"{code:02x}")


def _factor(unit: pl.Expr, units: Mapping[int, tuple[int, str]]) -> pl.Expr:
    """The factor of a unit code; null for an unknown one."""
    return unit.replace_strict(
        {f"{code:02x}": factor for code, (factor, _) in units.items()}, default=None, return_dtype=pl.Int64
    )


def _volume(offset: int, unit: pl.Expr) -> pl.Expr:
    """A volume of 4 bytes in m³: 2 decimals, or those of the profile in litres."""
    in_litres = unit.is_in([f"{code:02x}" for code in LITRES])
    divisor = pl.when(in_litres).then(1000 * pl.lit(10).pow(pl.col("litre_decimals"))).otherwise(100)
    return _whole(offset, 4) * _factor(unit, VOLUMES) / divisor


def _flow(offset: int, unit: pl.Expr) -> pl.Expr:
    """A flow of 4 bytes with 4 decimals in m³/h."""
    return _whole(offset, 4) * _factor(unit, FLOWS) / 10_000_000


def _said(
    table: pl.DataFrame,
    raw: pl.Expr,
    ts: pl.Expr,
    status: int | None,
    sent_at: pl.Expr,
    doubt: pl.Expr | None = None,
    **fields: pl.Expr,
) -> pl.DataFrame:
    """The values of answers. `raw`: volume and unit as received; `status`: offset of its bytes; `doubt`: complaint on others."""
    nothing = pl.lit(None, pl.Int64)
    word = nothing if status is None else _byte(status).str.to_integer(base=16) + _byte(status + 1).str.to_integer(base=16) * 256
    given = {**fields, "status": word}
    return table.select(
        "frame",
        "place",
        "terminal",
        "map",
        "layout",
        raw.alias("raw"),
        (pl.lit(None, pl.String) if doubt is None else doubt).alias("doubt"),
        ts.cast(TIMESTAMP).alias("ts"),
        sent_at.cast(TIMESTAMP).alias("sent_at"),
        *(given.get(field.name, pl.lit(None)).cast(field.dtype).alias(field.name) for field in FIELDS),
    )


_STATUS_AT = {"standard": 17, "short": 4, "rd-w10": 17}
"""Offset of the status in the layouts that have one."""


def _full(table: pl.DataFrame) -> pl.DataFrame:
    raw = pl.col("hex").str.slice(0, 10)
    return _said(table, raw, pl.col("received"), _STATUS_AT["standard"], clock(10), forward_m3=_volume(0, _byte(4)))


def _short(table: pl.DataFrame) -> pl.DataFrame:
    raw = pl.col("hex").str.slice(0, 8) + _code(M3)
    return _said(table, raw, pl.col("received"), _STATUS_AT["short"], pl.lit(None), forward_m3=_volume(0, _code(M3)))


def _rd_w10(table: pl.DataFrame) -> pl.DataFrame:
    """Volume 4 (m³), its fraction 3, flow 3 (unused: its decimals are not known), temperature 1, ss mm hh DD MM YY, status 2."""
    raw = pl.col("hex").str.slice(0, 14)
    forward = (_whole(0, 4) * 1_000_000 + _whole(4, 3)) / 1_000_000
    return _said(table, raw, pl.col("received"), _STATUS_AT["rd-w10"], _moment(pl.lit("20") + _digits(11, 6)), forward_m3=forward)


def _freeze(table: pl.DataFrame) -> pl.DataFrame:
    pressure = pl.when(pl.col("pressure_unit") == "").then(0).otherwise(_whole(20, 3))  # without a unit it is not used
    kilopascals = pl.when(pl.col("pressure_unit") == "kPa").then(1000).when(pl.col("pressure_unit") == "MPa").then(1)
    return _said(
        table,
        pl.col("hex").str.slice(14, 10),
        clock(0),
        None,
        pl.lit(None),
        _doubt({"flow": (12, 4, _flow(12, _byte(16))), "pressure": (20, 3, pressure)}),
        forward_m3=_volume(7, _byte(11)),
        flow_m3h=_flow(12, _byte(16)),
        pressure_mpa=_whole(20, 3) / (100 * kilopascals),
    )


def _doubt(values: Mapping[str, tuple[int, int, pl.Expr]]) -> pl.Expr:
    """The complaint about values that are no number, by name: offset, bytes, value (null for none). All FF is no value."""
    parts = []
    for name, (offset, size, value) in values.items():
        raw = pl.col("hex").str.slice(2 * offset, 2 * size)
        complaint = pl.format("{} is {}, expected BCD digits", pl.lit(name), raw.str.to_uppercase())
        parts.append(pl.when(value.is_null() & (raw != "ff" * size)).then(complaint))
    text = pl.concat_str(parts, separator="; ", ignore_nulls=True)
    return pl.when(text != "").then(text)


def _time_only(table: pl.DataFrame) -> pl.DataFrame:
    return _said(table, pl.lit("ff"), pl.lit(None), None, clock(0))


_READERS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "standard": _full,
    "short": _short,
    "rd-w10": _rd_w10,
    "freeze": _freeze,
    "clock": _time_only,
}


def _faults(said: pl.DataFrame) -> pl.DataFrame:
    """`frame`, `place`, `reason`, `detail` of answers with unusable parts, and whether the whole answer is unusable (`fatal`).

    A volume of all FF is absent, and no fault. One that is no BCD costs its field; a unit that is none of volume means that the
    data have another layout.
    """
    absent = pl.col("raw").str.starts_with("ffffffff") | (pl.col("layout") == "clock")
    shown = pl.col("raw").str.to_uppercase()
    volume = pl.format("volume and unit are {}, expected BCD digits and a unit of volume (29-2E)", shown)
    is_volume = (pl.col("layout") == "rd-w10") | pl.col("raw").str.slice(8, 2).is_in([f"{unit:02x}" for unit in VOLUMES])
    bad_volume = said.filter(pl.col("forward_m3").is_null() & ~absent)
    bad_time = said.filter(
        (pl.col("layout") == "freeze") & pl.col("ts").is_null() & (pl.col("forward_m3").is_not_null() | absent)
    )
    place = ["frame", "place"]
    no_time = pl.lit("the time of the freeze is none")
    return pl.concat(
        [
            bad_volume.select(*place, reason=pl.lit(Reason.BAD_BODY.value), detail=volume, fatal=~is_volume),
            bad_time.select(*place, reason=pl.lit(Reason.BAD_TIME.value), detail=no_time, fatal=pl.lit(True)),
            said.drop_nulls("doubt").select(*place, reason=pl.lit(Reason.BAD_BODY.value), detail="doubt", fatal=pl.lit(False)),
        ]
    )


def _active(present: pl.DataFrame, maps: list[tuple[tuple[int, str], ...]]) -> pl.Series:
    """The alarm codes of each status, as its meter's profile maps them."""
    codes = [_codes(word, maps[place]) for word, place in present.select("status", "map").iter_rows()]
    return pl.Series("active", codes, pl.List(pl.String))


def _codes(word: int, status_map: tuple[tuple[int, str], ...]) -> list[str]:
    """The alarm codes of a status; a byte FF is one that the meter does not fill."""
    filled = sum(0xFF << shift for shift in (0, 8) if word >> shift & 0xFF != 0xFF)
    return sorted({code for bit, code in status_map if word & filled & 1 << bit})
