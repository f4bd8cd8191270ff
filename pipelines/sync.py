"""One sync with the billing system: reads its tables through ODBC, then makes and publishes everything joined with them.

Serves `mainflow sync` and the Dagster job of the same name.
"""

from pathlib import Path

from assets import billing, publication, tables, warehouse
from assets.marts import SQL, Partitions
from assets.workbench import Workbench

JOINED = ("registry", "meter", "customer", "relation", "reconciliation")
"""The steps of a sync."""


def sync_billing(bench: Workbench) -> dict[str, int]:
    """Rows read, by table; empty without a connection in the settings. Raises `BillingError`, whose text hides the password."""
    if not bench.billing:
        return {}
    with warehouse.exclusive(bench.site.state / "run.lock"), warehouse.opened(bench.site.marts, str(bench.zone)) as connection:
        counts = billing.sync(bench.billing, connection, overlap_days=bench.billing_overlap_days, queries=Path(SQL) / "billing")
        partitions = Partitions((), bench.zone)
        tables.prepare(connection, partitions, every_bill=True)
        computed = warehouse.has_table(connection, "daily_usage")
        for step in tables.steps():
            if step.name in JOINED and (computed or step.name != "reconciliation"):
                step.build(bench, connection, partitions)
        if dsn := bench.serving_dsn():
            publication.publish(connection, dsn, partitions)
    return counts
