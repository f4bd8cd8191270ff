"""Dagster's code location: everything that its pages show and its daemon runs, for the site in `MAINFLOW_SITE`.

Without a site the definitions load with the default settings, for inspection; a run then fails and names the variable to set.
"""

import os
import warnings
from zoneinfo import ZoneInfo

import dagster as dg

from assets import graph
from ingest_daemon.contract.settings import SiteSettings
from pipelines.jobs import JOBS
from pipelines.resources import RESOURCES, SITE, site_settings
from pipelines.schedules import schedules
from pipelines.sensors import touched_days
from pipelines.settings import BillingSettings, ReportSettings

# Single-run backfills have been "beta" for years; the warning would fill every run's log.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def definitions() -> dg.Definitions:
    """The definitions for the site of the environment. Raises `SettingError`."""
    settings = site_settings() if SITE in os.environ else None
    zone = settings.zone if settings else ZoneInfo(SiteSettings().zone)
    billing, reports = (
        (settings[BillingSettings], settings[ReportSettings]) if settings else (BillingSettings(), ReportSettings())
    )
    return dg.Definitions(
        assets=graph.assets(zone),
        jobs=JOBS,
        schedules=schedules(billing, reports, str(zone)),
        sensors=[touched_days],
        resources=RESOURCES,
        # One process a run: the steps share one database file, and starting a process for each costs more than most steps do.
        executor=dg.in_process_executor,
    )


defs = definitions()
