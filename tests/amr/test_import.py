"""Another system's tables are imported: by the real command, through a real ODBC driver, into a real daemon."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from ingest_daemon.codecs import amr
from ingest_daemon.contract.site import Site
from tests.amr_helpers import (
    NAME,
    PASSWORD,
    Vendor,
    amr_site,
    hours_ago,
    local,
    mainflow,
    map_tags,
    need_driver,
    source_of,
    synced,
)
from tests.daemon_helpers import Client, Daemon, delivered, eventually, kept, running

TAGS = [("FT_101.PV", "AMR0000001"), ("FT_102.PV", "AMR0000002")]


class Place(NamedTuple):
    """A site with its daemon, and the other system."""

    site: Site
    daemon: Daemon
    vendor: Vendor


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One daemon for the module: its start takes longer than an import."""
    need_driver()
    root = tmp_path_factory.mktemp("amr")
    vendor = Vendor(root / "vendor.db")
    site = amr_site(root / "site", [source_of(vendor)])
    with running(site) as daemon:
        yield Place(site, daemon, vendor)


@pytest.fixture
def place(machine: Place) -> Place:
    """The same with empty tables, nothing imported and nothing in the store that a test would meet."""
    for table in ("amr_reading", "amr_alarm"):
        machine.vendor.execute(f"delete from {table}")
    for path in (machine.site.state / "amr").glob(f"{NAME}*"):
        path.unlink()
    map_tags(machine.site, TAGS)
    return machine


def points(site: Site, terminal: str = "AMR0000001") -> dict[datetime, float | None]:
    """The registers in the store by time, once everything is forwarded."""
    return dict(delivered(site).filter(terminal=terminal).select("ts", "forward_m3").iter_rows())


def test_a_row_becomes_a_reading_of_its_terminal_with_channel_amr_and_what_is_missing_stays_missing(place: Place) -> None:
    at = hours_ago(1)
    place.vendor.read("FT_101.PV", at, 1234.5, flow=7.25, battery_v=3.6, signal_level=21, status_word=5)
    assert "1 读数 readings" in synced(place.site)
    row = delivered(place.site).filter(terminal="AMR0000001", ts=at).to_dicts()[0]
    assert (row["channel"], row["forward_m3"], row["flow_m3h"], row["battery_v"]) == ("amr", 1234.5, 7.25, 3.6)
    assert (row["signal"], row["status"], row["reverse_m3"], row["pressure_mpa"]) == (21, 5, None, None)


def test_a_sync_again_sends_nothing_a_duplicate_is_the_same_reading_and_a_correction_wins_and_is_told(place: Place) -> None:
    at = hours_ago(2)
    place.vendor.read("FT_101.PV", at, 500.0)
    synced(place.site)
    assert "0 读数 readings" in synced(place.site)
    place.vendor.read("FT_101.PV", at, 500.0)
    assert "1 读数 readings" in synced(place.site)
    before = len(kept(place.site, "CONFLICT"))
    place.vendor.execute(
        "update amr_reading set forward_volume = 501.5, written_at = ? where row_id = 1", local(datetime.now(UTC))
    )
    place.vendor.execute("update amr_reading set forward_volume = 501.5 where forward_volume = 500.0")
    synced(place.site)
    eventually(lambda: points(place.site).get(at) == 501.5, "the correction is stored")
    assert len(kept(place.site, "CONFLICT")) > before


def test_a_row_that_is_committed_late_below_the_mark_is_found(place: Place) -> None:
    first, second = hours_ago(3), hours_ago(2.5)
    place.vendor.write("amr_reading", [{"row_id": 9001, "tag": "FT_101.PV", "read_at": local(second), "forward_volume": 2.0}])
    synced(place.site)
    place.vendor.write("amr_reading", [{"row_id": 9000, "tag": "FT_101.PV", "read_at": local(first), "forward_volume": 1.0}])
    assert "1 读数 readings" in synced(place.site)
    assert points(place.site)[first] == 1.0


def test_rows_of_a_tag_wait_until_it_is_mapped_and_come_with_their_own_times_where_the_map_holds(place: Place) -> None:
    times = [hours_ago(hours) for hours in (80, 50, 4)]
    for number, at in enumerate(times):
        place.vendor.read("NEU_7", at, 10.0 + number)
    assert "3 行待标签对应" in synced(place.site)
    shown = mainflow(place.site, "tags").output
    assert "NEU_7" in shown and local(datetime.now(UTC))[:11] in shown
    assert "3" in next(line for line in shown.splitlines() if "NEU_7" in line)
    map_tags(place.site, [*TAGS, ("NEU_7", "AMR0000003", local(times[1])[:10])])
    place.vendor.read("NEU_7", hours_ago(3), 13.0)
    assert "3 读数 readings" in synced(place.site)
    assert points(place.site, "AMR0000003") == {times[1]: 11.0, times[2]: 12.0, hours_ago(3): 13.0}
    assert "1 行待标签对应" in synced(place.site)  # the one before the map began waits on
    map_tags(place.site, [*TAGS, ("NEU_7", "AMR0000003")])
    synced(place.site)
    assert points(place.site, "AMR0000003")[times[0]] == 10.0
    assert "NEU_7" not in mainflow(place.site, "tags").output


WRONG: list[tuple[dict[str, object], str]] = [
    ({"read_at": "gestern"}, "read_at is gestern; expected a time"),
    ({"forward_volume": "4.320,5"}, "forward_volume is 4.320,5; expected a number"),
    ({"pressure": "n/a"}, "pressure is n/a; expected a number"),
    ({"signal_level": 1.5}, "signal_level is 1.5; expected a number"),
    ({"tag": " "}, "tag is empty; expected the name of a meter"),
    ({"forward_volume": None}, "there is no value in the row"),
]


def test_rows_that_cannot_be_used_are_told_with_their_reason_and_stop_no_other(place: Place) -> None:
    good = hours_ago(5)
    row = {"tag": "FT_102.PV", "read_at": local(hours_ago(6)), "forward_volume": 1.0, "pressure": None, "signal_level": None}
    rows = [{**row, **wrong} for wrong, _ in WRONG]
    place.vendor.write("amr_reading", [*rows, {**row, "read_at": local(good), "forward_volume": 77.0}])
    assert "1 读数 readings" in (told := synced(place.site)) and f"{len(WRONG)} 拒 refused" in told
    assert points(place.site, "AMR0000002")[good] == 77.0
    shown = " ".join(mainflow(place.site, "tags").output.split())
    assert [reason for _, reason in WRONG if reason not in shown] == []


def test_an_imported_frame_is_taken_from_this_machines_socket_only(place: Place) -> None:
    readings = pl.DataFrame({"ts": [hours_ago(7)], "forward_m3": [9.0]})
    (raw,) = amr.readings_frames("AMR0000001", readings, 0)
    client = Client(place.daemon.data_port)
    client.send(raw)
    assert client.is_silent(0.3)
    assert hours_ago(7) not in points(place.site)
    assert place.site.import_socket.stat().st_mode & 0o077 & 0o022 == 0  # who may not write may not connect


def test_wrong_credentials_end_the_sync_in_words_without_the_password(place: Place) -> None:
    shown = place.site.settings.read_text()
    try:
        place.site.settings.write_text(shown.replace("DRIVER=SQLite3", "DRIVER=Nirgends"))
        failed = mainflow(place.site, "sync")
    finally:
        place.site.settings.write_text(shown)
    assert failed.exit_code == 1 and "driver or data source of the v02 connection is not there" in failed.output
    assert PASSWORD not in failed.output


def test_nothing_new_for_two_periods_is_told_by_sync_and_status(place: Place) -> None:
    place.vendor.read("FT_101.PV", hours_ago(1), 1.0)
    synced(place.site)
    path = place.site.state / "amr" / f"{NAME}.json"
    told = json.loads(path.read_text())
    told["last_new_at"] = (datetime.now(UTC) - timedelta(minutes=31)).isoformat()
    path.write_text(json.dumps(told))
    late = mainflow(place.site, "sync")
    assert late.exit_code == 1 and "nothing new for longer than two periods" in late.output
    place.vendor.read("FT_101.PV", hours_ago(0.5), 2.0)
    synced(place.site)


def test_without_a_daemon_nothing_is_read_and_nothing_counts_as_imported(tmp_path: Path) -> None:
    need_driver()
    vendor = Vendor(tmp_path / "vendor.db")
    site = amr_site(tmp_path / "site", [source_of(vendor)], tags=TAGS)
    vendor.read("FT_101.PV", hours_ago(1), 3.0)
    away = mainflow(site, "sync")
    assert away.exit_code == 1 and "the daemon does not listen" in away.output
    assert not (site.state / "amr" / f"{NAME}.json").exists()
