"""What was billed, owed and received in a month by class, how old the arrears are, and which bills are open."""

from dashboards import Json, style
from dashboards.board import dashboard, row, section
from dashboards.links import to, to_customer
from dashboards.panels.charts import bars
from dashboards.panels.core import fixed
from dashboards.panels.tables import hidden, plain, table, total_first
from dashboards.panels.tiles import tile
from dashboards.variables import CODE, KIND, MONTH, class_or_total, kind, month_of_accounts, of_class_then
from dashboards.vocabulary import Word, in_words, language, words

TITLE = Word("收费情况", "Collection")
MORE = Word("各类的开账、欠费、收费、回收率与账龄。", "Billed, arrears, received, rates and age of arrears by class.")

OF_MONTH = f"""FROM mart.collection_status
WHERE kind = {KIND} AND to_char(month, 'YYYY-MM') = {MONTH}"""
COURSE = f"""SELECT to_char(month, 'YYYY-MM') AS month, billed, received, closing_arrears FROM (
  SELECT month, billed, received, closing_arrears FROM mart.collection_status
  WHERE kind = {KIND} AND code = {CODE} AND to_char(month, 'YYYY-MM') <= {MONTH} ORDER BY month DESC LIMIT 13
) AS course ORDER BY 1"""
AGES = {
    "age_0_months": "#8E8E8E",
    "age_1_to_3_months": "#F2CC0C",
    "age_4_to_6_months": "#FF9830",
    "age_7_to_12_months": "#F2495C",
    "age_over_12_months": "#B00020",
}
"""Arrears by age, and the colour of each."""
TILES = (
    (words("开账金额", "Billed", "当月账单，主要指标第 4 项。", "Bills of the month; item 4 of the indicators."), "billed"),
    (
        words("欠费金额", "Arrears", "月初未收的往月账单，第 5 项。", "Unpaid bills of earlier months; item 5."),
        "opening_arrears",
    ),
    (words("收费金额", "Received", "当月全部缴费，第 6 项。", "All payments of the month; item 6."), "received"),
    (
        words("回收率", "Collected", "收费 ÷（开账＋欠费），第 7 项。", "Received over billed and arrears; item 7."),
        "collection_rate_pct",
    ),
    (
        words("当月回收率", "Current rate", "当月账单的收费 ÷ 开账。", "Received of this month's bills over billed."),
        "current_rate_pct",
    ),
    (words("期末欠费", "Owed at end", "月末全部未收。", "Unpaid of all bills at the end of the month."), "closing_arrears"),
)
"""What each tile shows of the total."""
SMALL = {"custom__minWidth": 108}


def classes(columns: str) -> str:
    """SQL of a row a class with the columns, the total first."""
    return f"""SELECT CASE code WHEN 'all' THEN '' ELSE name_{language()} END AS name_words, {columns}, code
{OF_MONTH}
ORDER BY code <> 'all', closing_arrears DESC NULLS LAST, code"""


def ages() -> str:
    """SQL of the arrears by age of each class that owes anything."""
    return f"""SELECT {in_words("name")}, {", ".join(AGES)}
{OF_MONTH} AND code <> 'all' AND closing_arrears > 0
ORDER BY closing_arrears DESC
LIMIT 15"""


def open_bills() -> str:
    """SQL of the bills of the chosen class that are not paid as of now, the oldest first."""
    return f"""SELECT c.name AS customer_name, b.meter, b.bill_no, to_char(b.account_month, 'YYYY-MM') AS account_month,
      CAST(b.due_on AS text) AS due_on,
  b.amount, b.received, b.outstanding, b.customer_no
FROM mart.bill AS b
LEFT JOIN mart.customer AS c ON c.customer_no = b.customer_no
WHERE b.outstanding > 0 AND to_char(b.account_month, 'YYYY-MM') <= {MONTH} AND {of_class_then("b.meter", "b.account_month")}
ORDER BY b.account_month, b.outstanding DESC
LIMIT 2000"""


def board() -> Json:
    """The dashboard JSON."""
    first = total_first(
        custom__minWidth=110,
        displayName="${kind:text}",
        **to("collection", Word("看其走势与未收账单", "See its course and open bills"), keep="month kind", code="code"),
    )
    by_class = table(
        words(
            "收费情况 ${kind:text} ${month:text}",
            "Collection: ${kind:text}, ${month:text}",
            "欠费＋开账−收费＋调整＝期末欠费。回收率＝收费÷（开账＋欠费）；当月回收率＝收当月费÷开账。"
            "合计等于主要指标第 4 至 7 项。",
            "Arrears + billed − received + adjustment = closing arrears. The rate is received over billed and "
            "arrears, the current one "
            "received of this month's bills over billed. The total equals items 4 to 7 of the main indicators.",
        ),
        classes(
            "billed, opening_arrears, received_current, received_arrears, closing_arrears, collection_rate_pct, "
            "current_rate_pct, payers"
        ),
        {
            "name_words": first,
            **dict.fromkeys(("billed", "opening_arrears", "received_current", "received_arrears", "closing_arrears"), SMALL),
            "collection_rate_pct": {"custom__width": 84},
            "current_rate_pct": {"custom__width": 100},
            "payers": {"custom__width": 96},
            **hidden("code"),
        },
        pages=True,
    )
    ageing = table(
        words(
            "账龄 ${kind:text} ${month:text}",
            "Age of arrears: ${kind:text}, ${month:text}",
            "月末未收的金额按账单的月份；逾期为过了到期日的。低于 0 为多收。",
            "Unpaid at the end of the month by the month of the bill; overdue: past its due day. Below 0: overpaid.",
        ),
        classes(f"closing_arrears, overdue, {', '.join(AGES)}"),
        {
            "name_words": first,
            "closing_arrears": SMALL,
            "overdue": SMALL,
            **dict.fromkeys(AGES, SMALL),
            **hidden("code"),
        },
        pages=True,
    )
    by_age = bars(
        words("各类欠费账龄", "Arrears by class and age", "欠费最多的 15 类。", "The fifteen classes that owe most."),
        ages(),
        "name_words",
        {name: fixed(colour) for name, colour in AGES.items()},
        horizontal=True,
        stacked=True,
    )
    course = bars(
        words(
            "近 13 个月 ${code:text}",
            "Thirteen months: ${code:text}",
            "开账、收费与期末欠费。",
            "Billed, received and closing arrears.",
        ),
        COURSE,
        "month",
        {"billed": fixed(style.VOLUME), "received": fixed(style.PRESSURE), "closing_arrears": fixed(style.FORMER)},
    )
    bills = table(
        words(
            "未收账单 ${code:text}",
            "Open bills: ${code:text}",
            "截至现在未收清的账单（账务月份不晚于所选月份），最早的在前，最多 2,000 条。",
            "Bills that are not paid as of now, of the chosen month or before, the oldest first, at most 2,000.",
        ),
        open_bills(),
        {
            "customer_name": {**to_customer(), "custom__width": 160},
            "meter": {"custom__width": 80},
            "bill_no": {"custom__minWidth": 100},
            **plain("account_month due_on"),
            "amount": SMALL,
            "received": SMALL,
            "outstanding": SMALL,
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("没有未收的账单", "Every bill is paid"),
    )
    tiles = [tile(text, f"SELECT {name} {OF_MONTH} AND code = 'all'", [name]) for text, name in TILES]
    return dashboard(
        __name__,
        [
            row(3, *tiles),
            row(14, by_class),
            row(11, by_age, course),
            row(14, ageing),
            section(Word("未收账单", "Open bills"), row(14, bills), folded=True),
        ],
        [month_of_accounts(), kind(), class_or_total()],
        since="now-30d",
        refresh="",
        with_period=False,
    )
