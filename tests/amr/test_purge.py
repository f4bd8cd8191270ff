"""Alarms of another system reach the ledger, and old rows go once they are imported: from SQLite and from PostgreSQL."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import polars as pl
import pytest

from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.site import Site
from tests.amr_helpers import (
    Vendor,
    amr_site,
    hours_ago,
    local,
    mainflow,
    map_tags,
    need_driver,
    source_of,
    synced,
    write_registry,
)
from tests.daemon_helpers import alarm_events, delivered, eventually, running

DAY = 24
SQLITE, POSTGRES = "v02", "v03"
from_both = pytest.mark.parametrize("place", [SQLITE, POSTGRES], indirect=True)


class Place(NamedTuple):
    """A site, its other system by name, the database of the alarms, and two terminals of this test alone: tags 17 and 18."""

    site: Site
    vendor: Vendor
    dsn: str
    source: str
    terminal: str
    other: str

    @property
    def tags(self) -> list[tuple[str, str]]:
        return [("17", self.terminal), ("18", self.other)]

    def sync(self) -> str:
        return synced(self.site, self.source)

    def purge(self, *words: str) -> str:
        return mainflow(self.site, "purge", self.source, *words).output

    def stored(self) -> pl.DataFrame:
        return delivered(self.site).filter(pl.col("terminal").is_in([self.terminal, self.other]))

    def events(self, count: int) -> list[tuple[Any, ...]]:
        """Code, state, time and value of the alarm events of the terminal, once there are so many."""

        def found() -> list[tuple[Any, ...]]:
            return [row[1:5] for row in alarm_events(self.dsn) if row[0] == self.terminal]

        eventually(lambda: len(found()) >= count, f"{count} alarm events")
        return found()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[tuple[Site, dict[str, Vendor]]]:
    """One daemon for the module, with a source in SQLite and one in PostgreSQL."""
    need_driver()
    need_driver("PostgreSQL Unicode", "odbc-postgresql")
    root = tmp_path_factory.mktemp("purge")
    vendors = {SQLITE: Vendor(root / "vendor.db"), POSTGRES: Vendor(dsn=postgres)}
    settings = {"pressure_unit": "kPa", "volume_unit": "L", "purge_days": 10}
    site = amr_site(root / "site", [source_of(vendor, name, **settings) for name, vendor in vendors.items()], terminals=20)
    codes = [{"source": name, "code": "LOW", "alarm": "P_LO"} for name in vendors]
    write_registry(site, "amr_alarms", codes)
    site.state.mkdir(exist_ok=True)
    write_json(site.state / "postgres.json", {"dsn": postgres}, durable=False)
    with running(site):
        yield site, vendors


NUMBERS = (f"AMR{number:07}" for number in count(1))


@pytest.fixture
def place(machine: tuple[Site, dict[str, Vendor]], postgres: str, request: pytest.FixtureRequest) -> Place:
    site, vendors = machine
    source = getattr(request, "param", SQLITE)
    for table in ("amr_reading", "amr_alarm"):
        vendors[source].execute(f"delete from {table}")
    for path in (site.state / "amr").glob(f"{source}*"):
        path.unlink()
    made = Place(site, vendors[source], postgres, source, next(NUMBERS), next(NUMBERS))
    map_tags(site, made.tags, source)
    return made


def old(vendor: Vendor, table: str = "amr_reading") -> None:
    """Let what is there look as if it was written long ago."""
    vendor.execute(f"update {table} set written_at = ?", local(hours_ago(20 * DAY)))


def test_alarms_are_ours_by_the_map_unknown_ones_are_other_with_their_text_and_end_when_they_are_cleared(place: Place) -> None:
    raised, ended = hours_ago(3), hours_ago(1)
    place.vendor.write(
        "amr_alarm",
        [
            {"tag": "17", "alarm_code": "LOW", "raised_at": local(raised), "alarm_value": 120, "alarm_text": "低压"},
            {"tag": "17", "alarm_code": "E99", "raised_at": local(hours_ago(2)), "alarm_value": None, "alarm_text": "箱内进水"},
            {"tag": "17", "alarm_code": "BATT", "raised_at": local(hours_ago(-5)), "alarm_value": None, "alarm_text": "future"},
        ],
    )
    told = place.sync()
    assert "2 报警变化" in told and "0 拒 refused" in told  # the one of a time to come waits for it
    events = place.events(2)
    assert [(code, state, value) for code, state, _, value in events] == [("P_LO", "raised", 0.12), ("OTHER", "raised", None)]
    assert events[0][2] == raised
    shown = " ".join(mainflow(place.site, "tags", place.source).output.split())
    assert "E99" in shown and "箱内进水" in shown
    place.vendor.execute(
        "update amr_alarm set cleared_at = ?, written_at = ? where alarm_code = 'LOW'", local(ended), local(hours_ago(0))
    )
    assert "3 报警变化" in place.sync()  # every change since it began: the same word is the same event
    assert place.events(3)[-1][:3] == ("P_LO", "cleared", ended)
    came = "update amr_alarm set raised_at = ?, written_at = ? where alarm_code = 'BATT'"
    place.vendor.execute(came, local(hours_ago(0.5)), local(hours_ago(0)))
    place.sync()
    assert place.events(4)[-1][:2] == ("BATT", "raised")


@from_both
def test_only_old_rows_go_whose_readings_are_in_the_store_and_alarms_that_are_over_and_delivered(place: Place) -> None:
    vendor = place.vendor
    imported = [hours_ago(20 * DAY), hours_ago(19 * DAY), hours_ago(9 * DAY)]
    for number, at in enumerate(imported):
        vendor.read("17", at, 1000.0 * number)
    vendor.read("unmapped", hours_ago(20 * DAY), 5.0)
    vendor.read("18", hours_ago(20 * DAY), None, pressure=None)  # refused: no value
    vendor.write(
        "amr_alarm",
        [
            {"tag": "17", "alarm_code": "LOW", "raised_at": local(hours_ago(20 * DAY)), "cleared_at": local(hours_ago(19 * DAY))},
            {"tag": "17", "alarm_code": "BATT", "raised_at": local(hours_ago(20 * DAY)), "cleared_at": None},
        ],
    )
    old(vendor)
    old(vendor, "amr_alarm")
    place.sync()
    assert set(place.stored()["forward_m3"]) == {0.0, 1.0, 2.0}
    place.events(3)
    vendor.read("17", hours_ago(18 * DAY), 7000.0)  # not imported yet
    old(vendor)
    counted = place.purge("--dry-run")
    assert "2 读数 readings, 1 报警 alarms 将删除" in counted and vendor.count() == 6
    done = place.purge()
    assert "2 读数 readings, 1 报警 alarms 已删除" in done
    left = vendor.execute("select tag, forward_volume from amr_reading order by row_id")
    assert left == [("17", 2000.0), ("unmapped", 5.0), ("18", None), ("17", 7000.0)]
    assert vendor.execute("select alarm_code from amr_alarm") == [("BATT",)]
    assert "0 读数 readings, 0 报警 alarms 已删除" in place.purge()
    place.sync()
    eventually(lambda: 7.0 in set(place.stored()["forward_m3"]), "what was left is imported")


def test_what_is_not_in_the_store_or_was_changed_since_is_never_deleted(place: Place) -> None:
    vendor, site = place.vendor, place.site
    at = hours_ago(20 * DAY)
    vendor.read("17", at, 1000.0)
    vendor.read("18", hours_ago(1), 1.0)
    old(vendor)
    place.sync()
    place.stored()
    vendor.execute("update amr_reading set pressure = 300 where tag = '17'")  # the store has no pressure of it
    assert "0 读数 readings" in place.purge()
    vendor.execute("update amr_reading set pressure = null, forward_volume = 2000 where tag = '17'")  # nor this volume
    assert "0 读数 readings" in place.purge()
    vendor.execute("update amr_reading set pressure = 300, written_at = ? where tag = '17'", local(hours_ago(0)))
    assert "0 读数 readings" in place.purge()
    place.sync()
    eventually(lambda: 0.3 in set(place.stored()["pressure_mpa"]), "the change is imported")
    old(vendor)
    map_tags(site, [], place.source)
    assert "0 读数 readings" in place.purge()
    map_tags(site, place.tags, place.source)
    assert "1 读数 readings" in place.purge()
    assert vendor.count() == 1


def test_a_kill_between_journal_and_mark_sends_again_what_is_the_same_and_a_purge_meanwhile_takes_nothing(place: Place) -> None:
    vendor, site = place.vendor, place.site
    at: datetime = hours_ago(20 * DAY)
    for minutes in range(4):
        vendor.read("17", at + timedelta(minutes=15 * minutes), 1000.0 * minutes)
    old(vendor)
    place.sync()
    assert place.stored().height == 4
    for path in (site.state / "amr").glob(f"{place.source}*"):  # as a kill before the first mark leaves it
        path.unlink()
    assert "0 读数 readings" in place.purge() and vendor.count() == 4
    assert "4 读数 readings" in place.sync()
    assert place.stored().height == 4
    assert "4 读数 readings" in place.purge() and vendor.count() == 0
