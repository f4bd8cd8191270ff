"""Dagster's code location: everything that its pages show and its daemon runs, for the site in `MAINFLOW_SITE`.

Without a site the definitions load with the default settings, for inspection; a run then fails and names the variable to set.
"""

import os
import warnings
from contextlib import suppress
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from assets import graph
from ingest_daemon.contract.settings import Settings, SiteSettings
from ingest_daemon.stores import StoreAway
from pipelines.orchestration import amr
from pipelines.orchestration.jobs import JOBS
from pipelines.orchestration.resources import RESOURCES, SITE, site_settings
from pipelines.orchestration.schedules import schedules
from pipelines.orchestration.sensors import sensors
from pipelines.runs import touched
from pipelines.runs.bench import workbench
from pipelines.settings import BackupSettings, BillingSettings, OutputSettings, ReportSettings

# Single-run backfills have been "beta" for years; the warning would fill every run's log.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


UNKNOWN = timedelta(days=400)
"""Partitions of a site without readings begin so long ago: its terminals may deliver what they have kept."""


def definitions() -> dg.Definitions:
    """The definitions for the site of the environment. Raises `SettingError`."""
    settings = site_settings() if SITE in os.environ else None
    zone = settings.zone if settings else ZoneInfo(SiteSettings().zone)
    billing, reports, outputs, backups = (
        (settings[BillingSettings], settings[ReportSettings], settings[OutputSettings], settings[BackupSettings])
        if settings
        else (BillingSettings(), ReportSettings(), OutputSettings(), BackupSettings())
    )
    first_day = _first_day(settings) if settings else None
    days = graph.partitions(zone, first_day or datetime.now(zone).date() - UNKNOWN)
    return dg.Definitions(
        assets=graph.assets(days),
        jobs=[*JOBS, *(amr.jobs_of(settings) if settings else [])],
        schedules=[
            *schedules(billing, reports, outputs, backups, str(zone), days),
            *(amr.schedules_of(settings) if settings else []),
        ],
        sensors=[*sensors(days), *(amr.sensors_of(settings) if settings else [])],
        resources=RESOURCES,
        # One process a run: the steps share one database file, and starting a process for each costs more than most steps do.
        executor=dg.in_process_executor,
    )


def _first_day(settings: Settings) -> date | None:
    """The first day that has readings. One that comes later becomes a partition when Dagster starts again."""
    bench = workbench(settings)
    with suppress(StoreAway):
        touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole)
    return touched.first_day(bench.site.state)


defs = definitions()
