"""What a command made, reported to Dagster's instance of the site, so that its catalogue shows the truth whoever made a table."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
import duckdb

from assets.graph import PUBLISHED, metadata_of
from assets.tables import Made, Step
from ingest_daemon.contract.site import Site

DAYS = 1
"""The newest partitions of a run that are reported: each table has an event for each, of ten milliseconds."""


def report(
    site: Site, connection: duckdb.DuckDBPyConnection, made: Sequence[tuple[Step, Made]], days: list[date], published: int
) -> None:
    """One materialization for each table that was made, and for each of its partitions among the newest days."""
    partitions = [day.isoformat() for day in sorted(days)[-DAYS:]]
    with dg.DagsterInstance.from_config(str(site.dagster)) as instance:
        for step, result in made:
            metadata = metadata_of(connection, step, result, days)
            for partition in partitions if step.daily else [None]:
                _report(instance, step.name, partition, metadata)
        for partition in partitions:
            _report(instance, PUBLISHED, partition, {"rows_published": published, "days": len(days)})


def _report(instance: dg.DagsterInstance, name: str, partition: str | None, metadata: dict[str, Any]) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey([name]), partition=partition, metadata=metadata))
