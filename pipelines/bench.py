"""The workbench of a site: settings become the paths, store and servers that the steps work with."""

from assets.workbench import Workbench
from ingest_daemon.stores import open_store
from pipelines.settings import Settings


def workbench(settings: Settings) -> Workbench:
    """Everything a run of this site needs; nothing is opened yet but the raw store."""
    return Workbench(
        site=settings.folder,
        utility=settings.site.utility,
        zone=settings.zone,
        max_hole=settings.max_hole,
        store=open_store(settings.folder, settings.store),
        serving_dsn=lambda: serving_dsn(settings),
        billing=settings.billing.connection,
        billing_overlap_days=settings.billing.overlap_days,
    )


def serving_dsn(settings: Settings) -> str | None:
    """The PostgreSQL to publish to: the configured one, else the embedded one if it runs."""
    from pipelines.postgres import running_dsn

    return settings.postgres.dsn or running_dsn(settings.folder)
