"""The 68 L 68 family beyond its vectors: real frames, both sides against each other, packets, questions, profiles."""

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest_daemon.codec_kit.api import Arrival, Command, CommandType, Frame, UnsupportedCommand
from ingest_daemon.codec_kit.reassembly import Reassembly
from ingest_daemon.codecs import szy206
from ingest_daemon.contract.schema import BEIJING, TIMESTAMP
from ingest_daemon.terminals.profiles import SHIPPED, read_profile
from tests.daemon_helpers import counted, delivered, known_frames, make_site, minutes_ago, running

STATION = "5303810D00"
ADDRESS = bytes.fromhex(STATION)
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=BEIJING)
NOON_US = round(NOON.timestamp() * 1e6)
PROFILES = {name: read_profile(SHIPPED / f"{name}.toml", "szy206") for name in ("szy206-2012", "szy206-2016", "sl427-2021")}


def frame(text: str, data: bytes = b"") -> bytes:
    """A frame around C to AFN in hex and data."""
    return szy206.sealed(bytes.fromhex(text) + data)


def decoded(raw: bytes, profile: Any = None, received_us: int = NOON_US, terminal: str = STATION) -> Any:
    return szy206.decode([Arrival(raw, received_us)], {} if profile is None else {terminal: profile})


def readings_of(result: Any) -> list[dict[str, Any]]:
    rows = result.readings.drop("frame", "terminal").iter_rows(named=True)
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def reasons(result: Any) -> list[str]:
    return list(result.rejected["reason"])


# --- real frames ------------------------------------------------------------------------------------------------------------

REAL: dict[str, dict[str, Any]] = {
    "SZY206-2016: flow5 + total5 + alarm2 + state2 + Tp5": {"flow_unit": "bits"},
    "SZY206-2012 habit: ONE 5-byte value per meter + alarm2 + state2 + Tp5": {"flow_values": "total"},
    "SL/T 427-2021: velocity3 + alarm2 + state2 + Tp7": {"flow_unit": "bits", "time_tag": 7},
}
CODES = {"ac_power_lost": "MAINS", "flow_meter_fault": "SENSOR", "box_door": "DOOR"}


def test_all_seven_real_frames_are_cut_and_read_as_their_sources_have_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = known_frames("szy206-sl427")
    agreed = 0
    for line in lines:
        check_real_frame(bytes.fromhex(line["hex"]), line["expect"])
        agreed += 1
    print(f"{agreed} of {len(lines)}")
    assert capsys.readouterr().out == "7 of 7\n"


def check_real_frame(raw: bytes, expect: dict[str, Any]) -> None:
    cutter = szy206.decoder()
    assert (cutter.feed(raw), cutter.pending) == ([Frame(raw)], 0)
    assert expect["outcome"] == "accept" and raw[1] == expect["L"]
    assert szy206.terminal(raw) == expect["addr_hex"]
    shown = {part.en: part.value for part in szy206.explain(raw)}
    assert shown["CRC"] == f"{expect['crc_recv']} 正确 / good" and expect["crc_calc"] == expect["crc_recv"]
    way = "上行 / up" if expect["dir"] == "up" else "下行 / down"
    assert f"{way}, FCB {expect['fcb']}, {expect['type_code']:X} " in shown["control C"]
    assert shown["function AFN"].startswith(f"{expect['afn']}H")

    result = decoded(raw, szy206.profile(REAL.get(expect["profile"], {})), terminal=expect["addr_hex"])
    if expect["dir"] == "down":
        assert result.readings.is_empty() and "direction is down" in result.rejected["detail"][0]
        return
    assert result.rejected.is_empty()
    if expect["afn"] == "B1":
        assert result.readings["forward_m3"].to_list() == expect["values_m3"]
        assert len(result.readings) == expect["count"]
        first, last = result.readings["ts"].dt.convert_time_zone("Asia/Shanghai").dt.strftime("%Y-%m-%d %Hh").gather([0, -1])
        assert (first, last) == (expect["start"], expect["end"])
        return
    (reading,) = result.readings.iter_rows(named=True)
    if flow := expect.get("instant_flow"):
        assert reading["flow_m3h"] == pytest.approx(flow["value"] * 3600) and flow["unit"] == "m3/s"
    assert reading["forward_m3"] == expect.get("total_m3")
    assert reading["status"] == int(expect["alarm_word_le"], 16) | int(expect["state_word_le"], 16) << 16
    assert result.alarms["active"].to_list() == [[CODES[name] for name in expect["alarms"] if name in CODES]]
    observed = reading["ts"].astimezone(BEIJING)
    if "tp7" in expect:
        assert f"{observed:%Y-%m-%d %H:%M:%S}" == expect["tp7"]["time"]
        assert shown["velocity 1"] == str(expect["velocity_m_s"])
    else:
        assert f"{observed:%S %M %H %d}" == " ".join(expect["tp5"][part] for part in ("sec", "min", "hour", "day"))


# --- who speaks -------------------------------------------------------------------------------------------------------------

SELF_REPORT = frame("B3" + STATION + "C0", bytes.fromhex("0059000000 8261100000 0110 6000 004508090A"))


@pytest.mark.parametrize(
    ("prefix", "verdict"),
    [
        (b"", None),
        (SELF_REPORT[:4], None),
        (SELF_REPORT[:-1], None),
        (SELF_REPORT, True),
        (SELF_REPORT[:20] + SELF_REPORT, True),
        (bytes.fromhex("681F1F68080272"), False),  # M-Bus
        (bytes.fromhex("6868686808"), False),  # M-Bus whose L is 68
        (bytes.fromhex("681044332211003378"), False),  # CJ/T 188
        (bytes.fromhex("7E7E01"), False),  # SL 651
        (bytes.fromhex("68 08 68 30"), False),  # a centre
        (bytes.fromhex("FEFE6810"), False),
        (b"CTRL:&2017", False),
    ],
)
def test_the_first_bytes_tell_the_family_from_its_neighbours(prefix: bytes, verdict: bool | None) -> None:
    assert szy206.sniff(prefix) is verdict


def test_many_frames_in_one_piece_come_out_one_by_one() -> None:
    cutter = szy206.decoder()
    assert cutter.feed(SELF_REPORT * 2000) == [Frame(SELF_REPORT)] * 2000


# --- both sides against each other ------------------------------------------------------------------------------------------


@st.composite
def measured(draw: st.DrawFn) -> pl.DataFrame:
    """Readings that the wire carries exactly, none older than a month at `NOON`."""
    count = draw(st.integers(1, 5))
    seconds = draw(st.lists(st.integers(0, 27 * 86400), min_size=count, max_size=count, unique=True))
    columns: dict[str, Any] = {"ts": [NOON.astimezone(UTC) - timedelta(seconds=each) for each in sorted(seconds, reverse=True)]}
    limits = {"flow_m3h": (-999_999_999, 999_999_999, 1000), "forward_m3": (0, 7_999_999_999, 1)}
    limits |= {"pressure_mpa": (0, 99_999_999, 100_000), "battery_v": (0, 9999, 100)}
    for field, (low, high, divisor) in limits.items():
        whole = st.none() | st.integers(low, high)
        columns[field] = [
            None if each is None else each / divisor for each in draw(st.lists(whole, min_size=count, max_size=count))
        ]
    return pl.DataFrame(columns, schema={"ts": TIMESTAMP, **dict.fromkeys(limits, pl.Float64)})


@given(readings=measured(), name=st.sampled_from(sorted(PROFILES)), fcb=st.integers(1, 3), alarm=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_a_station_reports_is_what_is_read_whatever_its_profile_and_however_often_it_repeats(
    readings: pl.DataFrame, name: str, fcb: int, alarm: bool
) -> None:
    profile = PROFILES[name]
    sent = readings.drop("flow_m3h") if profile.flow_values == "total" else readings
    frames = szy206.reports(STATION, sent, profile, active=["DOOR", "Q_HI"], alarm=alarm, fcb=fcb)
    cutter = szy206.decoder()
    assert cutter.feed(b"".join(frames)) == [Frame(raw) for raw in frames]
    assert all(szy206.is_alarm(Arrival(raw), profile) for raw in frames)
    quiet = szy206.reports(STATION, sent, profile, active=[], alarm=alarm, fcb=fcb)
    assert [szy206.is_alarm(Arrival(raw), profile) for raw in quiet] == [alarm] * len(quiet)
    result = szy206.decode([Arrival(raw, NOON_US) for raw in frames], {STATION: profile})
    assert result.rejected.is_empty()
    assert result.alarms["active"].to_list() == [["Q_HI", "DOOR"]] * len(frames)
    fields = [column for column in sent.columns if column != "ts"]
    came = result.readings.group_by("ts").agg(pl.col(fields).drop_nulls().first()).sort("ts")
    assert_frame_equal(came, sent.filter(pl.any_horizontal(pl.col(fields).is_not_null())), check_exact=True)


def test_a_value_that_the_wire_cannot_carry_is_refused_with_its_name() -> None:
    at = pl.Series("ts", [NOON.astimezone(UTC)], TIMESTAMP)
    for field, value, says in (
        ("forward_m3", 1.5, "steps of 1"),
        ("forward_m3", -1.0, "out of the range"),
        ("battery_v", 100.0, "range"),
    ):
        with pytest.raises(ValueError, match=f"{field}.*{says}"):
            szy206.reports(STATION, pl.DataFrame([at, pl.Series(field, [value])]))
    with pytest.raises(ValueError, match=r"MAG.*no bit"):
        szy206.reports(STATION, pl.DataFrame([at]), active=["MAG"])
    with pytest.raises(ValueError, match="expected 10 digits"):
        szy206.reports("123", pl.DataFrame([at]))


@pytest.mark.parametrize(
    ("last_byte", "unit", "flow"),
    [
        ("00", "bits", 5.9 * 3600),
        ("30", "bits", 5.9),
        ("C0", "bits", -5.9 * 3600),
        ("F0", "bits", -5.9),
        ("00", "m3/h", 5.9),
        ("F0", "m3/h", -5.9),
        ("F0", "m3/s", -5.9 * 3600),
        ("09", "m3/h", 900_005.9),
        ("40", "m3/h", None),
        ("10", "bits", None),
        ("0A", "m3/h", None),
    ],
)
def test_sign_and_unit_of_a_flow_are_read_by_the_stations_rule(last_byte: str, unit: str, flow: float | None) -> None:
    raw = frame("B3" + STATION + "C0", bytes.fromhex(f"00590000{last_byte} 0800000000 0000 2000 0045080900"))
    result = decoded(raw, szy206.profile({"flow_unit": unit}))
    assert result.readings["flow_m3h"].to_list() == [pytest.approx(flow) if flow is not None else None]
    assert result.readings["forward_m3"].to_list() == [8.0]
    assert reasons(result) == ([] if flow is not None else ["BAD_BODY"])


@pytest.mark.parametrize("nothing", ["AA", "FF"])
def test_a_value_of_aa_or_ff_is_none_and_not_zero(nothing: str) -> None:
    raw = frame("B3" + STATION + "C0", bytes.fromhex(nothing * 5 + "0800000000 0000 2000 0045080900"))
    (reading,) = readings_of(decoded(raw))
    assert {"flow_m3h": reading.get("flow_m3h"), "forward_m3": reading["forward_m3"]} == {"flow_m3h": None, "forward_m3": 8.0}


# --- times ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "received", "observed"),
    [
        ("0000120100", "2026-07-01T12:00:00", "2026-07-01T12:00:00"),
        ("0010120100", "2026-07-01T12:00:00", "2026-07-01T12:10:00"),  # ten minutes ahead: a clock that is fast
        ("0111120100", "2026-07-01T12:00:00", "2026-06-01T12:11:01"),  # more than that: a month ago
        ("0000123000", "2026-07-01T12:00:00", "2026-06-30T12:00:00"),
        ("0000123100", "2026-07-01T12:00:00", "2026-05-31T12:00:00"),  # June has no 31st
        ("0000123000", "2026-03-05T12:00:00", "2026-01-30T12:00:00"),  # neither has February a 30th
        ("0000122900", "2028-03-05T12:00:00", "2028-02-29T12:00:00"),
        ("0005000100", "2026-06-30T23:58:00", "2026-07-01T00:05:00"),  # over midnight and the end of a month
        ("0000123100", "2026-01-01T00:00:00", "2025-12-31T12:00:00"),
        ("0060120100", "2026-07-01T12:00:00", None),
        ("0000240100", "2026-07-01T12:00:00", None),
        ("00001200FF", "2026-07-01T12:00:00", None),
        ("0A00120100", "2026-07-01T12:00:00", None),
    ],
)
def test_a_day_without_month_is_the_latest_that_is_not_in_the_future(tag: str, received: str, observed: str | None) -> None:
    raw = frame("B3" + STATION + "C0", bytes.fromhex("0059000000 0800000000 0020 2000" + tag))
    came = datetime.fromisoformat(received).replace(tzinfo=BEIJING)
    result = decoded(raw, received_us=round(came.timestamp() * 1e6))
    expected = [] if observed is None else [datetime.fromisoformat(observed).replace(tzinfo=BEIJING)]
    assert result.readings["ts"].to_list() == result.alarms["event_at"].to_list() == expected
    assert reasons(result) == ([] if observed else ["BAD_TIME"])


@pytest.mark.parametrize(
    ("size", "tag", "observed"),
    [
        (0, "", NOON),
        (6, "301514120526", datetime(2026, 5, 12, 14, 15, 30, tzinfo=BEIJING)),
        (7, "30151412052605", datetime(2026, 5, 12, 14, 15, 30, tzinfo=BEIJING)),
        (7, "30151412130000", None),
        (7, "00000001010000", None),  # a clock that was reset
    ],
)
def test_a_time_tag_has_the_length_of_the_profile(size: int, tag: str, observed: datetime | None) -> None:
    raw = frame("B3" + STATION + "C0", bytes.fromhex("0059000000 0800000000 0020 2000" + tag))
    result = decoded(raw, szy206.profile({"time_tag": size}))
    assert result.readings["ts"].to_list() == ([observed] if observed else [])
    assert reasons(result) == ([] if observed else ["BAD_TIME"])


def test_an_alarm_report_whose_time_cannot_be_read_raises_its_alarm_when_it_came() -> None:
    raw = frame("B3" + STATION + "81", bytes.fromhex("0020 0059000000 0800000000 2000 0060990100"))
    result = decoded(raw)
    assert list(result.alarms.select("event_at", "active").iter_rows()) == [(NOON, ["DOOR"])]
    assert result.readings.is_empty() and reasons(result) == ["BAD_TIME"]


def test_an_alarm_report_may_have_its_word_after_the_values() -> None:
    raw = frame("B3" + STATION + "81", bytes.fromhex("0059000000 0800000000 0020 2000 0045080900"))
    result = decoded(raw, szy206.profile({"alarm_report": "word-last"}))
    assert result.alarms["active"].to_list() == [["DOOR"]]
    assert result.readings["flow_m3h"].to_list() == [5.9]


def test_a_frame_that_does_not_fit_its_profile_gives_neither_reading_nor_alarm_and_says_which_settings_to_look_at() -> None:
    result = decoded(bytes.fromhex("681568B40102030405C05545040020700030151412052600AD16"))
    assert result.readings.is_empty() and result.alarms.is_empty()
    assert "time_tag" in result.rejected["detail"][0]


# --- packets ----------------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_message_in_packets_reads_like_the_message_in_one_whether_or_not_each_packet_repeats_its_time(
    data: st.DataObject,
) -> None:
    body, tag = bytes.fromhex("0059000000 8261100000 0110 6000"), bytes.fromhex("004508090A")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), min_size=1, max_size=4)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    repeated = data.draw(st.booleans())
    numbers = range(len(pieces), 0, -1)
    packets = [
        frame(f"F3{number:02X}{STATION}C0", piece + (tag if repeated or number == 1 else b""))
        for number, piece in zip(numbers, pieces, strict=True)
    ]
    waiting = Reassembly()
    whole = b""
    for raw in packets:
        place = szy206.packet(raw)
        assert place is not None and szy206.packet(SELF_REPORT) is None
        assert whole == b""
        whole = waiting.take("szy206", place, raw, 0.0).raw
    assert whole == b"".join(packets)
    assert_frame_equal(decoded(whole).readings, decoded(SELF_REPORT).readings)
    assert szy206.terminal(whole) == STATION
    parts = szy206.explain(whole)
    assert [part.value for part in parts if part.en == "packet number, counting down to 1"] == [str(number) for number in numbers]
    assert [part.offset for part in parts if part.en == "end"] == [
        sum(map(len, packets[: number + 1])) - 1 for number in range(len(packets))
    ]
    assert b"".join(part.raw for part in parts) == whole
    assert szy206.reply(whole, NOON, None) == frame(f"7001{STATION}C000")


def test_a_packet_with_the_number_0_is_of_no_message_and_is_told() -> None:
    raw = frame(f"F300{STATION}C0", bytes(19))
    assert szy206.packet(raw) is None
    assert "packet 0" in decoded(raw).rejected["detail"][0]


def test_a_repeated_packet_belongs_to_the_same_message_though_its_fcb_differs() -> None:
    assert szy206.packet(frame(f"F302{STATION}C0", b"1")) == szy206.packet(frame(f"D302{STATION}C0", b"1"))


# --- acknowledgements and questions -----------------------------------------------------------------------------------------


def test_an_acknowledgement_never_switches_the_mode_and_needs_a_zone_where_it_sets_the_clock() -> None:
    for function in ("C0", "81", "82", "84"):
        reply = szy206.reply(frame(f"B3{STATION}{function}", bytes(20)), NOON, PROFILES["sl427-2021"])
        assert reply == frame(f"30{STATION}{function}00", bytes.fromhex("00001201072600"))
    assert szy206.reply(frame(f"B3{STATION}B0", bytes(14)), NOON, None) is None
    assert szy206.reply(frame(f"33{STATION}C000"), NOON, None) is None
    with pytest.raises(ValueError, match="no zone"):
        szy206.reply(SELF_REPORT, NOON.replace(tzinfo=None), PROFILES["sl427-2021"])


def asked(kind: CommandType, profile: Any = None, **more: Any) -> list[bytes]:
    return szy206.requests(Command(kind, STATION, "", NOON, **more), profile)


def test_present_values_are_asked_for_by_type() -> None:
    assert asked(CommandType.NOW) == [frame(f"33{STATION}B0")]
    everything = szy206.profile({"now": ["flow", "pressure", "voltage"]})
    assert asked(CommandType.NOW, everything) == [frame(f"{control}{STATION}B0") for control in ("33", "3F", "3D")]


def hours(start: int, end: int) -> dict[str, Any]:
    day = datetime(2026, 6, 30, tzinfo=BEIJING)
    return {"start": day + timedelta(minutes=start), "end": day + timedelta(minutes=end)}


@pytest.mark.parametrize(
    ("span", "profile", "field", "spans"),
    [
        (hours(0, 180), {}, "forward_m3", [("00", "02")]),
        (hours(30, 181), {}, "forward_m3", [("00", "03")]),
        (hours(0, 24 * 60), {}, "forward_m3", [("00", "06"), ("07", "13"), ("14", "20"), ("21", "23")]),
        (hours(0, 24 * 60), {"step_min": 60}, "pressure_mpa", [("00", "23")]),
        (hours(0, 120), {"step_min": 1}, "forward_m3", [("00", "00"), ("01", "01")]),
        (hours(60, 60), {}, "forward_m3", []),
    ],
)
def test_stored_values_are_asked_for_in_as_many_hours_as_one_answer_holds(
    span: dict[str, Any], profile: dict[str, Any], field: str, spans: Sequence[tuple[str, str]]
) -> None:
    code = {"forward_m3": 2, "pressure_mpa": 11}[field]
    head = f"{0x30 | code:02X}{STATION}B1{code << 4 | 1:02X}"
    expected = [frame(f"{head}{first}300626{last}300626") for first, last in spans]
    assert asked(CommandType.HISTORY, szy206.profile(profile), field=field, **span) == expected


@pytest.mark.parametrize("kind", [kind for kind in CommandType if kind not in (CommandType.NOW, CommandType.HISTORY)])
def test_nothing_else_can_be_asked(kind: CommandType) -> None:
    with pytest.raises(UnsupportedCommand, match="now and history only"):
        asked(kind)


def test_a_question_that_makes_no_sense_is_refused() -> None:
    for more, says in (({"field": "signal", **hours(0, 60)}, "history of signal"), ({}, "expected both times")):
        with pytest.raises(UnsupportedCommand, match=says):
            asked(CommandType.HISTORY, **more)
    with pytest.raises(UnsupportedCommand, match="expected 10 digits"):
        szy206.requests(Command(CommandType.NOW, "", "", NOON), None)


def test_an_answer_is_known_by_address_function_type_and_hours() -> None:
    (now,), (stored,) = asked(CommandType.NOW), asked(CommandType.HISTORY, **hours(0, 60))
    span = bytes.fromhex("210030062600300626")
    assert szy206.answers(now, frame(f"A3{STATION}B0", bytes(14)))
    assert szy206.answers(stored, frame(f"B2{STATION}B1", span + bytes(30)))
    assert szy206.answers(stored, frame(f"F202{STATION}B1", span + bytes(5)) + frame(f"F201{STATION}B1", bytes(25)))
    for other in (f"BF{STATION}B0", f"33{STATION}B0", "B35303810D01B0", f"B3{STATION}C0"):
        assert not szy206.answers(now, frame(other, bytes(14)))
    assert not szy206.answers(stored, frame(f"B2{STATION}B1", span.replace(b"\x30", b"\x29") + bytes(30)))


def test_the_answers_of_one_round_are_one_reading() -> None:
    flow = frame(f"B3{STATION}B0", bytes.fromhex("0059000000 8261100000 0200 2000"))
    pressure = frame(f"BF{STATION}B0", bytes.fromhex("45230100 0200 2000"))
    result = decoded(flow + pressure)
    status = 0x20_0002
    assert readings_of(result) == [
        {"ts": NOON, "flow_m3h": 5.9, "forward_m3": 106182.0, "pressure_mpa": 0.12345, "status": status}
    ]
    assert list(result.alarms.select("event_at", "active").iter_rows()) == [(NOON, ["BATT"])]


# --- stored values ----------------------------------------------------------------------------------------------------------


def stored(code: int, span: str, records: str) -> bytes:
    return frame(f"B{code:X}{STATION}B1{code:X}1{span}", bytes.fromhex(records))


def test_stored_pressures_stand_a_step_apart_and_ff_is_none() -> None:
    raw = stored(11, "0030062600300626", "45230100 FFFFFFFF 46230100 47230100")
    start = datetime(2026, 6, 30, tzinfo=BEIJING)
    assert readings_of(decoded(raw, szy206.profile({"step_min": 15}))) == [
        {"ts": start + timedelta(minutes=15 * number), "pressure_mpa": value}
        for number, value in ((0, 0.12345), (2, 0.12346), (3, 0.12347))
    ]


def test_the_rounds_of_a_long_history_are_all_read() -> None:
    raw = stored(2, "0030062600300626", "0100000000" * 6) + stored(2, "0130062601300626", "0200000000" * 6)
    assert decoded(raw).readings["forward_m3"].to_list() == [1.0] * 6 + [2.0] * 6


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (stored(2, "0030062600300626", "0100000000" * 7), "step_min"),
        (stored(2, "0030062600300626", "010000000002"), "values of|of 5 bytes"),
        (stored(2, "0130062600300626", "0100000000"), "hours that are times"),
        (stored(2, "0031062600300626", "0100000000"), "hours that are times"),
        (stored(3, "0030062600300626", "010000"), "data code 3"),
        (frame(f"B2{STATION}B121"), "at least 9"),
    ],
)
def test_stored_values_that_cannot_be_placed_are_kept_aside(raw: bytes, says: str) -> None:
    result = decoded(raw)
    assert result.readings.is_empty() and reasons(result) == ["BAD_BODY"]
    assert result.rejected.filter(pl.col("detail").str.contains(says)).height == 1


def test_one_stored_value_that_is_no_bcd_does_not_spoil_the_others() -> None:
    result = decoded(stored(2, "0030062600300626", "0100000000 0A00000000 0300000000"))
    assert result.readings["forward_m3"].to_list() == [1.0, 3.0]
    assert "value 2" in result.rejected["detail"][0]


# --- profiles ---------------------------------------------------------------------------------------------------------------


def test_the_shipped_profile_of_2016_is_the_default() -> None:
    assert PROFILES["szy206-2016"] == szy206.profile({})


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"colour": 1}, "colour: no setting.*flow_values"),
        ({"flow_values": "level"}, "flow_values is 'level'; allowed: flow.total, flow, total"),
        ({"time_tag": 4}, "time_tag is 4; allowed: 0, 5, 6, 7"),
        ({"time_tag": False}, "time_tag is False"),
        ({"ack_time": 1}, "ack_time is 1"),
        ({"step_min": 7}, "step_min is 7"),
        ({"step_min": 0}, "step_min is 0"),
        ({"now": []}, "now is"),
        ({"now": ["level"]}, "now is .*flow, pressure, voltage"),
        ({"alarms": ["Q_REV"]}, "alarms is"),
        ({"alarms": {"16": "Q_REV"}}, "bit '16'; allowed: 0 to 15"),
        ({"alarms": {"14": "REV"}}, "code 'REV' of bit 14.*Q_REV"),
    ],
)
def test_a_setting_that_is_none_is_refused_with_what_is_allowed(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        szy206.profile(table)


def test_a_bit_can_be_given_another_alarm_or_none() -> None:
    profile = szy206.profile({"alarms": {"14": "Q_REV", "15": "MAG", "0": "", "8": "P_LO"}})
    assert profile.active(0xC101) == ["P_LO", "Q_REV", "MAG"]
    assert profile.active(0x00A0) == ["SENSOR"]


@given(raw=st.binary(min_size=12, max_size=80), name=st.sampled_from(sorted(PROFILES)))
@settings(max_examples=100, deadline=None)
def test_no_content_of_a_good_frame_makes_the_decoder_of_values_fail(raw: bytes, name: str) -> None:
    for head in (f"B3{STATION}C0", f"BF{STATION}81", f"B2{STATION}B1", f"BD{STATION}84", f"F302{STATION}C0", f"B3{STATION}FF"):
        szy206.decode([Arrival(frame(head, raw), NOON_US), Arrival(raw, NOON_US)], {STATION: PROFILES[name]})
        assert b"".join(part.raw for part in szy206.explain(frame(head, raw))) == frame(head, raw)


# --- a real daemon -----------------------------------------------------------------------------------------------------------


def test_stations_of_both_issues_call_in_are_known_by_their_first_bytes_acknowledged_by_their_profiles_and_stored(
    tmp_path: Path,
) -> None:
    site = make_site(tmp_path, "data_protocol = 'auto'\n")
    newer = "3101150100"
    (site.registry / "terminals.csv").write_text(
        f"terminal,meter,protocol,profile\n{STATION},M1,szy206,szy206-2016\n{newer},M2,szy206,sl427-2021\n"
    )
    at = minutes_ago(15)
    sent = pl.DataFrame({"ts": [at], "flow_m3h": [12.345], "forward_m3": [106182.0], "pressure_mpa": [0.31]})
    flow, pressure = szy206.reports(STATION, sent, PROFILES["szy206-2016"])
    body, tag = flow[10:-7], flow[-7:-2]
    packets = [frame(f"F302{STATION}C0", body[:7]), frame(f"F301{STATION}C0", body[7:] + tag)]
    alarms = szy206.reports(newer, sent.drop("pressure_mpa"), PROFILES["sl427-2021"], active=["Q_HI"], alarm=True)
    with running(site) as daemon:
        for pieces, answers in (
            ([szy206.link_test(STATION, 0xF0), *packets, pressure], ["3002F0", "7002C000", "7001C000", "30C000"]),
            ([szy206.link_test(newer, 0xF0), *alarms], ["3002F0", "308100"]),
        ):
            with socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10) as line:
                cutter, came = szy206.decoder(), list[bytes]()
                for piece, answer in zip(pieces, answers, strict=True):
                    line.sendall(piece)
                    while len(came) < pieces.index(piece) + 1:
                        came += [item.raw for item in cutter.feed(line.recv(4096)) if isinstance(item, Frame)]
                    control = 4 if came[-1][3] & 0x40 else 3
                    said = came[-1][3 : control + 1] + came[-1][control + 6 :]
                    assert said.hex().upper().startswith(answer)
                assert szy206.terminal(came[-1]) == szy206.terminal(pieces[-1])
        rows = delivered(site).sort("terminal").to_dicts()
        counted(site, "refused", 0)
    found = {row["terminal"]: (row["ts"], row["flow_m3h"], row["forward_m3"], row["pressure_mpa"]) for row in rows}
    assert found == {STATION: (at, 12.345, 106182.0, 0.31), newer: (at, 12.345, 106182.0, None)}
