"""Billed against measured volume of a month's bills: how much differs, why, and which bills."""

from dashboards import Json, style
from dashboards.board import dashboard, row, section
from dashboards.links import in_ms, to, to_customer, to_meter, to_meter_between
from dashboards.panels.charts import bars
from dashboards.panels.core import fixed, mapping, steps
from dashboards.panels.tables import coloured, hidden, table, total_first
from dashboards.panels.tiles import tile
from dashboards.variables import MONTH, choice, midnight, month_of_accounts
from dashboards.vocabulary import ALL, ANSWERS, CYCLE_SOURCES, Word, in_words, language, words

TITLE = Word("对账", "Reconciliation")
MORE = Word("账单水量与实测水量之差及其原因。", "Billed against measured volume, and why they differ.")

OF_MONTH = f"""FROM mart.reconciliation AS r
JOIN mart.bill AS b ON b.bill_no = r.bill_no AND b.meter IS NOT DISTINCT FROM r.meter
WHERE to_char(b.account_month, 'YYYY-MM') = {MONTH}"""
REASONS = f"""FROM mart.reconciliation_reason AS w
JOIN mart.reconciliation AS r ON r.bill_no = w.bill_no AND r.meter IS NOT DISTINCT FROM w.meter
JOIN mart.bill AS b ON b.bill_no = r.bill_no AND b.meter IS NOT DISTINCT FROM r.meter
WHERE to_char(b.account_month, 'YYYY-MM') = {MONTH}"""
REASON = "${reason:sqlstring}"
TILES = (
    (words("账单数", "Bills", "当月账单（作废的不计）。", "Bills of the month without cancelled ones."), "count(*) AS bills"),
    (
        words("可比账单", "Comparable", "开账与实测水量都可靠的账单。", "Both volumes are known and beyond doubt."),
        "count(*) FILTER (WHERE r.comparable) AS comparable_bills",
    ),
    (
        words("可比开账水量", "Billed", "可比账单的开账水量。", "Billed volume of the comparable bills."),
        "sum(r.billed_m3) FILTER (WHERE r.comparable) AS billed_m3",
    ),
    (
        words("可比实测水量", "Measured", "可比账单期间的实测水量。", "Measured in the periods of the comparable bills."),
        "sum(r.measured_m3) FILTER (WHERE r.comparable) AS measured_m3",
    ),
    (
        words("核对差", "Difference", "可比账单的开账减实测。", "Billed less measured of the comparable bills."),
        "sum(r.difference_m3) FILTER (WHERE r.comparable) AS difference_m3",
    ),
)
COURSE = f"""SELECT month, billed_m3, measured_m3 FROM (
  SELECT to_char(b.account_month, 'YYYY-MM') AS month, sum(r.billed_m3) AS billed_m3, sum(r.measured_m3) AS measured_m3
  FROM mart.reconciliation AS r
  JOIN mart.bill AS b ON b.bill_no = r.bill_no AND b.meter IS NOT DISTINCT FROM r.meter
  WHERE r.comparable AND to_char(b.account_month, 'YYYY-MM') <= {MONTH}
  GROUP BY b.account_month ORDER BY b.account_month DESC LIMIT 13
) AS course ORDER BY month"""
CYCLES = f"""SELECT u.meter, c.name AS customer_name, CAST(u.period_start AS text) AS period_start,
  CAST(u.period_end AS text) AS period_end, u.volume_m3, u.source, CAST(u.complete AS text) AS complete, u.customer_no
FROM mart.cycle_usage AS u
LEFT JOIN mart.customer AS c ON c.customer_no = u.customer_no
WHERE to_char(u.period_end, 'YYYY-MM') = {MONTH}
ORDER BY u.complete, u.meter, u.period_start
LIMIT 2000"""


def by_reason() -> str:
    """SQL of how many bills and how much of the difference each reason has, the total first."""
    return f"""SELECT CASE WHEN grouping(w.reason) = 1 THEN '' ELSE max(w.reason_{language()}) END AS reason_words,
  count(DISTINCT w.bill_no) AS bills, sum(w.difference_m3) AS difference_m3, sum(w.amount) AS amount, coalesce(w.reason,
    'all') AS code
{REASONS}
GROUP BY GROUPING SETS ((), (w.reason))
HAVING count(*) > 0
ORDER BY grouping(w.reason) DESC, abs(sum(w.difference_m3)) DESC NULLS LAST, count(*) DESC"""


def differing() -> str:
    """SQL of the bills with the chosen reason, the largest difference first."""
    return f"""SELECT r.meter, c.name AS customer_name, r.bill_no, {in_words("w.reason")}, r.billed_m3, r.measured_m3,
  w.difference_m3 AS part_m3, w.amount, w.partner,
  {in_ms(midnight("r.period_start"))} AS from_ms, {in_ms(midnight("r.period_end"))} AS to_ms, r.customer_no
FROM mart.reconciliation_reason AS w
JOIN mart.reconciliation AS r ON r.bill_no = w.bill_no AND r.meter IS NOT DISTINCT FROM w.meter
JOIN mart.bill AS b ON b.bill_no = r.bill_no AND b.meter IS NOT DISTINCT FROM r.meter
LEFT JOIN mart.customer AS c ON c.customer_no = r.customer_no
WHERE to_char(b.account_month, 'YYYY-MM') = {MONTH} AND {REASON} IN ('all', w.reason)
ORDER BY abs(w.difference_m3) DESC NULLS LAST, w.reason, r.meter
LIMIT 2000"""


def reason() -> Json:
    """A reason, or all."""
    return choice(
        "reason",
        f"""SELECT __value, __text FROM (
  SELECT 0 AS place, 'all' AS __value, '{ALL}' AS __text
  UNION SELECT 1, reason, reason_{language()} FROM mart.reconciliation_reason
) AS reason ORDER BY place, __text""",
    )


def board() -> Json:
    """The dashboard JSON."""
    signed = steps((None, style.NEUTRAL))
    tiles = [tile(text, f"SELECT {figure} {OF_MONTH}", [figure.rpartition(" ")[2]], thresholds=signed) for text, figure in TILES]
    reasons = table(
        words(
            "按原因 ${month:text}",
            "By reason, ${month:text}",
            "核对差按原因分解，各部分之和为核对差；金额按账单单价。不可比的账单（人工抄表等）有原因而无差额。点击原因看其账单。",
            "Parts of the difference by reason; they add up to it; amounts at the price of the bill. Bills that "
            "cannot be compared "
            "(read by hand …) have a reason and no difference. Click a reason for its bills.",
        ),
        by_reason(),
        {
            "reason_words": total_first(
                custom__minWidth=120, **to("reconciliation", Word("看其账单", "See its bills"), keep="month", reason="code")
            ),
            "bills": {"custom__width": 80},
            "difference_m3": {"custom__minWidth": 110},
            "amount": {"custom__minWidth": 110},
            **hidden("code"),
        },
    )
    course = bars(
        words(
            "近 13 个月开账与实测水量",
            "Thirteen months: billed and measured",
            "可比账单的开账水量与其期间的实测水量，按账务月份。",
            "Billed volume of the comparable bills and what was measured in their periods, by account month.",
        ),
        COURSE,
        "month",
        {"billed_m3": fixed(style.VOLUME), "measured_m3": fixed(style.FORMER)},
    )
    bills = table(
        words(
            "账单 ${reason:text} ${month:text}",
            "Bills: ${reason:text}, ${month:text}",
            "差额部分为本原因所占的核对差，最大的在前，最多 2,000 条；点击水表看账单期间的曲线。",
            "The part of the difference that the reason has, largest first, at most 2,000; click the meter for its "
            "curve in the period.",
        ),
        differing(),
        {
            "meter": {**to_meter_between(), "custom__width": 84},
            "customer_name": {**to_customer(), "custom__width": 160},
            "bill_no": {"custom__minWidth": 96},
            "reason_words": {"custom__width": 122},
            "billed_m3": {"custom__minWidth": 104},
            "measured_m3": {"custom__minWidth": 104},
            "part_m3": {"custom__minWidth": 104},
            "amount": {"custom__minWidth": 104},
            "partner": {"custom__width": 84},
            **hidden("from_ms to_ms customer_no"),
        },
        pages=True,
        empty=Word("本月没有账单", "No bill in this month"),
    )
    cycles = table(
        words(
            "抄表周期用水量 ${month:text}",
            "Volume of the billing cycles, ${month:text}",
            "期末在所选月份的周期；有终端的为远传读数之差，人工抄表为两次抄表之差，不完整的在前。",
            "Cycles that end in the month: by the register where a terminal measures, else from read to read; "
            "incomplete ones first.",
        ),
        CYCLES,
        {
            "meter": {**to_meter(), "custom__width": 90},
            "customer_name": {**to_customer(), "custom__minWidth": 170},
            **{name: {"custom__width": 110} for name in ("period_start", "period_end")},
            "volume_m3": {"custom__width": 120},
            "source": {"mappings": mapping(CYCLE_SOURCES), "custom__width": 150},
            "complete": {**coloured(mappings=mapping(ANSWERS, {"false": style.WARN})), "custom__width": 90},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("没有期末在本月的周期", "No cycle ends in this month"),
    )
    return dashboard(
        __name__,
        [
            row(3, *tiles),
            row(10, reasons, course),
            row(14, bills),
            section(Word("抄表周期用水量", "Volume of the billing cycles"), row(14, cycles), folded=True),
        ],
        [month_of_accounts(), reason()],
        since="now-30d",
        refresh="",
        with_period=False,
    )
