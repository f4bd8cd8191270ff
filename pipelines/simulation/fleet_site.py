"""A simulated fleet in a site folder: its identity, its rows in the registry, its truth and its billing database."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from assets import calendar
from ingest_daemon.contract import registry_files as registry
from ingest_daemon.contract.files import read_json
from ingest_daemon.contract.site import Site
from simulator import fleet as fleets
from simulator.fleet import Fleet


def truth_folder(site: Site) -> Path:
    """The folder of the simulator's truth."""
    return site.root / "truth"


def billing_file(site: Site) -> Path:
    """The simulated billing database."""
    return site.root / "billing.sqlite"


def fleet_of(site: Site, zone: ZoneInfo, seed: int, days: int, history_months: int = 0) -> Fleet:
    """The site's fleet: the one simulated before, else a new one over the local days up to the last midnight.

    A second simulation sends the same readings again instead of contradicting the first.
    """
    note = truth_folder(site) / "fleet.json"
    if earlier := read_json(note):
        until = datetime.fromisoformat(earlier["until"])
        return fleets.make(earlier["seed"], earlier["days"], until, zone, earlier.get("history_months", 0))
    until = calendar.midnight(datetime.now(zone).date(), zone)
    fleet = fleets.make(seed, days, until, zone, history_months)
    note.parent.mkdir(parents=True, exist_ok=True)
    content = {"seed": seed, "days": days, "until": until.astimezone(UTC).isoformat(), "history_months": history_months}
    note.write_text(json.dumps(content))
    return fleet


def settle(site: Site, fleet: Fleet) -> None:
    """Write the fleet's registry rows, truth and billing database into the site."""
    from simulator import billing
    from simulator.truth import write_truth

    registry.merge(site.registry, fleets.registry(fleet))
    write_truth(fleet, truth_folder(site))
    billing_file(site).unlink(missing_ok=True)
    tables = billing.tables(fleet)
    billing.write_billing(tables, billing_file(site))
    billing.accounts(tables).write_parquet(truth_folder(site) / "accounts.parquet")


def days_of(fleet: Fleet) -> int:
    """Number of local days of the fleet's data."""
    return round((fleet.until - fleet.at(0)) / timedelta(days=1))
