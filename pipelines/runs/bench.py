"""The run context of a site: paths, store and servers of the steps, from its settings."""

from assets.workbench import Workbench
from ingest_daemon.contract.settings import PostgresSettings, Settings, SiteSettings
from ingest_daemon.stores import open_lake, open_store
from ingest_daemon.stores.settings import StoreSettings
from pipelines.settings import BillingSettings, FigureSettings, ServingSettings


def workbench(settings: Settings) -> Workbench:
    """Everything a run of this site needs; nothing is opened yet but the raw store."""
    return Workbench(
        site=settings.folder,
        utility=settings[SiteSettings].utility,
        zone=settings.zone,
        max_hole=settings[FigureSettings].max_hole,
        store=open_store(settings.folder, settings[StoreSettings]),
        serving_dsn=lambda: serving_dsn(settings),
        billing=settings[BillingSettings].connection,
        billing_overlap_days=settings[BillingSettings].overlap_days,
        language=settings[SiteSettings].language,
        interval_days=settings[ServingSettings].interval_days,
        partitioned=settings[ServingSettings].partitioned,
        engine=settings[FigureSettings].chosen_engine,
        lake_units=lake.at("units") if (lake := open_lake(settings[StoreSettings])) else None,
    )


def serving_dsn(settings: Settings) -> str | None:
    """The PostgreSQL to publish to: the configured one, else the embedded one if it runs."""
    from pipelines.processes.postgres import running_dsn

    return settings[PostgresSettings].dsn or running_dsn(settings.folder)
