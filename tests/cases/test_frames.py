"""Cases of one frame: what would be stored of it and what is refused; two of them with a real daemon."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ingest_daemon import operations
from tests.cases import covers, reception
from tests.daemon_helpers import Client, eventually, kept, make_site, running, stored
from tests.meters import Dtu, modbus_meters

FRAMES = [case for case in reception().values() if case["kind"] == "frame"]
COMPLAINTS = {
    "MB-NAN": "flow record 05 3B",
    "MB-INF": "flow record 05 3B",
    "MB-TORN": "records from byte 39 on do not add up",
    "MB-BCD": "volume record 0C 13 76A83482 at byte 19: the digits 8234A876 are no BCD",
    "MB-CI78": "CI is 78",
    "CJ-LORA": "data 901F have 26 bytes",
}
"""By case: words of the complaint; the others have none."""


def seen(case: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The readings of a case, and all that is refused of it."""
    result = operations.preview(bytes.fromhex(case["hex"]), case["protocol"], "", datetime.now(UTC))
    return result.readings, "; ".join(refusal.detail for refusal in result.refused)


def allowed(value: Any) -> list[float | None]:
    """The values that a case allows: a number, null, or "65.556 (…) or none"."""
    if not isinstance(value, str):
        return [value]
    number = re.match(r"[\d.]+", value)
    assert number and value.endswith("or none")
    return [float(number[0]), None]


@covers(*(case["id"] for case in FRAMES))
@pytest.mark.parametrize("case", FRAMES, ids=[case["id"] for case in FRAMES])
def test_a_frame_gives_the_reading_and_the_complaint_that_are_right(case: dict[str, Any]) -> None:
    expect = case["expect"]
    readings, complaint = seen(case)
    assert len(readings) == ("accept" in expect["outcome"])
    assert COMPLAINTS.get(case["id"], "") in complaint
    assert bool(complaint) == (case["id"] in COMPLAINTS)
    for name in ("forward_m3", "flow_m3h"):
        if name in expect and readings:
            value = readings[0][name]
            assert any(value == other or other == pytest.approx(value, abs=5e-4) for other in allowed(expect[name]))
            assert str(value) != expect.get("not_")
            if value is None:
                assert complaint


# --- real daemon ----------------------------------------------------------------------------------------------------------------

OWN_MAP = """
protocol = "modbus_rtu"
[[registers]]
field = "forward_m3"
address = 0
type = "u32"
[[registers]]
field = "reverse_m3"
address = 2
type = "s32"
[[registers]]
field = "flow_m3h"
address = 4
type = "f32"
[[registers]]
field = "pressure_mpa"
address = 6
type = "u16"
scale = 0.001
"""
LINK = "861234567890001"
COLUMNS = "terminal,meter,protocol,profile,link,address,step_min,q4_m3h\n"


def daemon_with(tmp_path: Path, line: str, profile: str = "") -> Any:
    """A site with one terminal on a link, and its own register map."""
    site = make_site(tmp_path / "site", "data_protocol = 'auto'\n[poll]\nanswer_s = 1\ntries = 1\nspread_s = 0\n")
    (site.registry / "profiles").mkdir()
    (site.registry / "profiles" / "own.toml").write_text(profile or OWN_MAP)
    (site.registry / "terminals.csv").write_text(COLUMNS + line)
    return running(site)


@covers("MB-SENTINEL")
def test_registers_that_hold_the_code_of_no_value_give_no_values_and_say_so(tmp_path: Path) -> None:
    with (
        daemon_with(tmp_path, f"T6A,M1,modbus_rtu,own,{LINK},1,1,20\n") as daemon,
        modbus_meters({1: [0xFFFF] * 8}, rtu=True) as line,
    ):
        dtu = Dtu(daemon.data_port, LINK.encode(), line)
        eventually(lambda: kept(daemon.site, "BAD_BODY"), "the round is kept aside")
        dtu.close()
        assert stored(daemon.site).is_empty()
        detail = kept(daemon.site, "BAD_BODY")[0]["detail"]
        for field in ("forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa"):
            assert f"{field}: all registers of its answer are FFFF" in detail


@covers("MB-SENTINEL")
def test_a_profile_names_the_code_of_no_value_and_the_other_fields_are_stored(tmp_path: Path) -> None:
    named = OWN_MAP.replace('type = "s32"\n', 'type = "s32"\nmissing = ["FFFFFFFF"]\n')
    with (
        daemon_with(tmp_path, f"T6A,M1,modbus_rtu,own,{LINK},1,1,20\n", named) as daemon,
        modbus_meters({1: [0, 7, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0]}, rtu=True) as line,
    ):
        dtu = Dtu(daemon.data_port, LINK.encode(), line)
        eventually(lambda: not stored(daemon.site).is_empty(), "a reading is stored")
        dtu.close()
        row = stored(daemon.site).row(0, named=True)
        assert [row[name] for name in ("forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa")] == [7.0, None, None, None]
        detail = kept(daemon.site, "BAD_BODY")[0]["detail"]
        assert "reverse_m3" not in detail
        assert "flow_m3h: register 4 is no f32 that can be used: FFFFFFFF" in detail
        assert "pressure_mpa: register 6 holds a code of no value" in detail


def mbus_frame(records: str) -> bytes:
    raw = bytes.fromhex("080572785634127205010710000000" + records)
    return bytes((0x68, len(raw), len(raw), 0x68)) + raw + bytes((sum(raw) & 0xFF, 0x16))


@covers("MB-TRUNC")
def test_the_whole_frame_behind_a_truncated_one_is_stored(tmp_path: Path) -> None:
    whole = mbus_frame("041300100000" + "441300000000" * 20)
    with daemon_with(tmp_path, f"T6A,M1,mbus,,{LINK},5,1,20\n") as daemon:
        client = Client(daemon.data_port)
        client.send(LINK.encode())
        answer_mbus(client, [whole[:80], whole])
        eventually(lambda: not stored(daemon.site).is_empty(), "a reading is stored")
        client.close()
        assert stored(daemon.site)["forward_m3"].to_list() == [4.096]


def answer_mbus(client: Client, answers: list[bytes]) -> None:
    """Answer the reset of the link with E5 and the question with the answers, one behind the other."""
    assert client.socket.recv(5) == bytes.fromhex("1040054516")
    client.send(b"\xe5")
    assert client.socket.recv(5) == bytes.fromhex("107B058016")
    for answer in answers:
        client.send(answer)


def test_a_record_that_is_no_number_costs_its_field_in_the_store_too(tmp_path: Path) -> None:
    with daemon_with(tmp_path, f"T6A,M1,mbus,,{LINK},5,1,20\n") as daemon:
        client = Client(daemon.data_port)
        client.send(LINK.encode())
        answer_mbus(client, [mbus_frame("04138E8A4000053B0000C07F")])
        eventually(lambda: not stored(daemon.site).is_empty(), "a reading is stored")
        client.close()
        row = stored(daemon.site).row(0, named=True)
        assert (row["forward_m3"], row["flow_m3h"], row["status"]) == (4229.774, None, 0)
        assert "flow record 05 3B 0000C07F at byte 25: NaN" in kept(daemon.site, "BAD_BODY")[0]["detail"]
