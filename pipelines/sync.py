"""One sync with the billing system: its tables read through ODBC, then everything that is joined with them, published.

Serves `mainflow sync` and the Dagster job of the same name.
"""

from pathlib import Path

from assets import billing, publication, tables, warehouse
from assets.marts import SQL, Partitions
from assets.workbench import Workbench

JOINED = ("registry", "meter", "customer", "relation", "reconciliation")
"""The steps that a sync makes anew."""


def sync_billing(bench: Workbench) -> dict[str, int]:
    """Rows read by table; nothing where no connection is set. Raises `BillingError`, whose text never has the password."""
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
