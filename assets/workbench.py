"""What making a table needs: the site's paths, zone, raw store, warehouse and servers. Built once a run by `pipelines`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from assets.engines import LOCAL, Engine
from assets.publication import INTERVAL_DAYS
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import RawStore
from ingest_daemon.stores.storage import LocalStorage, Storage


@dataclass(frozen=True, slots=True)
class Workbench:
    """The tools of a run.

    `serving_dsn` gives the connection string of the PostgreSQL to publish to, None where the site serves nothing;
    `interval_days` are the days of intervals that it keeps, `partitioned` says whether its great tables get native partitions;
    `billing` is the ODBC connection string, empty where there is no billing system; `engine` computes many days at once;
    `lake_units` is where a lake has the intervals.
    """

    site: Site
    utility: str
    zone: ZoneInfo
    max_hole: timedelta
    store: RawStore
    serving_dsn: Callable[[], str | None]
    billing: str
    billing_overlap_days: int
    language: str = "zh"
    interval_days: int = INTERVAL_DAYS
    partitioned: bool = False
    engine: Engine = LOCAL
    lake_units: Storage | None = None

    @property
    def unit_files(self) -> Storage:
        """Where intervals and histograms lie: in the lake, else beside the warehouse."""
        return self.lake_units or LocalStorage(self.site.units)
