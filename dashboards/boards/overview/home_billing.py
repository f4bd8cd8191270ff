"""The billing office: money of the month, what is not read, bills that differ from what was measured."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.home_panels import menu_of, money
from dashboards.links import to_customer
from dashboards.panels.charts import bars
from dashboards.panels.core import fixed
from dashboards.panels.tables import hidden, table
from dashboards.vocabulary import Word, in_words, language, words

TITLE = Word("营业", "Billing office")
MORE = Word("营业所：开账、收费、抄表、核对。", "The billing office: bills, money received, reading, reconciliation.")

CLOSED = "(SELECT max(month) FROM mart.revenue_kpi WHERE NOT to_date)"
"""The last whole month of account."""


VOLUMES = """SELECT to_char(k.month, 'YYYY-MM') AS month, CAST(k.value AS double precision) AS volume_m3
FROM mart.revenue_kpi AS k
WHERE k.code = 'volume' AND NOT k.to_date AND k.month > now() - interval '14 months'
ORDER BY k.month"""


def unread() -> str:
    """SQL of the meters that were due and not read in the last month that has some."""
    return f"""SELECT u.customer_name, u.meter, u.book_no, {in_words("u.reason")},
  CAST(u.last_read_on AS text) AS last_read_on, u.customer_no
FROM mart.unread_meter AS u
WHERE u.month = (SELECT max(month) FROM mart.unread_meter)
ORDER BY u.book_no, u.meter
LIMIT {thresholds.ALARM_ROWS}"""


def disputed() -> str:
    """SQL of the bills that differ most from what was measured, with the main reason."""
    return f"""SELECT c.name AS customer_name, r.meter, CAST(r.period_end AS text) AS period_end, {in_words("r.reason")},
  r.difference_m3, CAST(r.amount AS double precision) AS amount, r.customer_no
FROM mart.reconciliation_reason AS r
LEFT JOIN mart.customer AS c ON c.customer_no = r.customer_no
WHERE r.is_main AND r.reason <> 'rounding' AND r.difference_m3 IS NOT NULL
ORDER BY abs(r.difference_m3) DESC, r.bill_no
LIMIT {thresholds.TOP_ROWS}"""


def by_region() -> str:
    """SQL of billed and received of the last month by region."""
    return f"""SELECT s.name_{language()} AS region_name, CAST(s.billed AS double precision) AS billed,
  CAST(s.received AS double precision) AS received
FROM mart.collection_status AS s
WHERE s.kind = 'region' AND s.code <> 'all' AND s.month = {CLOSED}
ORDER BY s.billed DESC NULLS LAST, s.code"""


def board() -> Json:
    """The dashboard JSON."""
    named: Json = {"custom__minWidth": 120, "custom__wrapText": True}
    not_read = table(
        words(
            "未抄水表",
            "Meters not read",
            "最近一个月应抄而未抄、估抄或未到周期的水表。",
            "Meters without an actual read in the last month.",
        ),
        unread(),
        {
            "customer_name": {**named, **to_customer()},
            "meter": {},
            "book_no": {"custom__width": 70},
            "reason_words": {"custom__width": 92},
            "last_read_on": {"custom__width": 104},
            **hidden("customer_no"),
        },
    )
    differing = table(
        words(
            "账单与计量不符", "Bills that differ", "核对差最大的账单与主因。", "The bills that differ most, with the main reason."
        ),
        disputed(),
        {
            "customer_name": {**named, **to_customer()},
            "meter": {},
            "period_end": {"custom__width": 104},
            "reason_words": {"custom__width": 92},
            "difference_m3": {"custom__width": 96},
            **hidden("amount customer_no"),
        },
    )
    regions = bars(
        words("各区域开账与收费", "Billed and received by region", "最近一个完整月。", "The last whole month."),
        by_region(),
        "region_name",
        {"billed": {**fixed(style.FLOW), "decimals": 0}, "received": {**fixed(style.PRESSURE), "decimals": 0}},
    )
    courses = bars(
        words("月用水量（开账）", "Billed volume by month", "十三个完整月。", "Thirteen whole months."),
        VOLUMES,
        "month",
        "volume_m3",
    )
    return dashboard(
        __name__,
        [
            row(5, *money()),
            row(9, regions, courses),
            row(10, not_read, differing),
            row(8, menu_of("revenue-kpi"), menu_of("usage")),
        ],
        since="now-30d",
    )
