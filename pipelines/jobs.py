"""Dagster's jobs: the assets made together. `schedules.py` and `sensors.py` start them."""

import dagster as dg

from assets.tables import steps
from pipelines.resources import EVERY_BILL
from pipelines.sync import JOINED

FIGURES = dg.define_asset_job(
    "figures",
    selection=dg.AssetSelection.assets(*(step.name for step in steps()), "published"),
    description="指标 · Every table of a range of days, published; then the days wait no more.",
)

SYNC_BILLING = dg.define_asset_job(
    "sync_billing",
    selection=dg.AssetSelection.assets("billing_sync", *JOINED, "published"),
    tags={EVERY_BILL: "true"},
    description=(
        "营收同步 · Billing read, then customers, meters and every bill's reconciliation made anew and published. "
        "Dagster wants a partition for it; any day will do."
    ),
)

EXPORT_REPORT = dg.define_asset_job(
    "export_report",
    selection=dg.AssetSelection.assets("daily_volume_report"),
    description="日用水量报表 · The daily volume report of the month so far, or of the days given in the launchpad.",
)

JOBS = [FIGURES, SYNC_BILLING, EXPORT_REPORT]
"""Job names are verbs, as Dagster refuses the names of assets."""
