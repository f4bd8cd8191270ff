"""One site after `mainflow demo --days 40`, with what the command printed; what happened to it is checked by several files."""

from pathlib import Path
from typing import NamedTuple

import pyodbc

from ingest_daemon.contract.site import Site
from pipelines.simulation import fleet_site
from tests.chain import mainflow

HISTORY_MONTHS = 15
"""Fewer than the command's own: a year to compare with, and three months that have one."""

MARK = "MARK-"
"""Begins every password that the demo is given."""


class Demo(NamedTuple):
    """The site folder, and the output of the first run."""

    site: Path
    output: str

    @property
    def marts(self) -> Path:
        """Its marts.duckdb."""
        return self.site / "marts.duckdb"


def make_demo(site: Path) -> Demo:
    """Run the demo in a new folder, with marked passwords; SMS are on."""
    given = {
        "MAINFLOW_STORE_INFLUX_PASSWORD": f"{MARK}influx",
        "MAINFLOW_SMS_ON": "true",
        "MAINFLOW_SMS_PORT": "0",
        "MAINFLOW_SMS_SECRET": f"{MARK}secret-of-the-gateway",
        "MAINFLOW_SERVERS_ALERT_WEBHOOK": f"http://127.0.0.1:9/robot?key={MARK}robot",
    }
    if "SQLite3" in pyodbc.drivers():
        file = fleet_site.billing_file(Site(site.resolve()))
        given["MAINFLOW_BILLING_CONNECTION"] = f"DRIVER=SQLite3;Database={file};PWD={MARK}billing"
    return Demo(site, mainflow("demo", site, "--days", "40", "--history-months", str(HISTORY_MONTHS), environment=given).stdout)
