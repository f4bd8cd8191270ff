"""Customers and billed volume of a year by class and source, and the months of a class beside those of the year before."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to
from dashboards.panels.charts import bars, over, shares
from dashboards.panels.core import fixed
from dashboards.panels.tables import CALLED, hidden, rated, spread, table, total_first
from dashboards.variables import CODE, KIND, YEAR, class_or_total, kind, year_of_accounts
from dashboards.vocabulary import Word, in_words, language, words

TITLE = Word("水量分析", "Volume analysis")
MORE = Word("各类客户的年用水量与数据来源，月水量与上年对比。", "Volume of a year by class and source; months against last year.")

CHOSEN = f"""FROM mart.usage_by_class_year
WHERE kind = {KIND} AND to_char(year, 'YYYY') = {YEAR}"""
MONTHS = f"""SELECT CASE month_no WHEN 13 THEN '' ELSE CAST(month_no AS text) END AS month_no, volume_m3, last_year_m3, yoy_pct
FROM mart.usage_month_matrix
WHERE kind = {KIND} AND code = {CODE} AND to_char(year, 'YYYY') = {YEAR}
ORDER BY month_no <> 13, mart.usage_month_matrix.month_no"""
COURSE = f"""SELECT month_no, volume_m3, last_year_m3
FROM mart.usage_month_matrix
WHERE kind = {KIND} AND code = {CODE} AND to_char(year, 'YYYY') = {YEAR} AND month_no < 13
ORDER BY month_no"""


def classes() -> str:
    """SQL of a row a class, the total first."""
    return f"""SELECT CASE code WHEN 'all' THEN '' ELSE name_{language()} END AS name_words, customers, volume_m3,
      code AS "{CALLED}"
{CHOSEN} AND source = 'all'
ORDER BY code <> 'all', volume_m3 DESC NULLS LAST, code"""


def sources() -> str:
    """SQL of the customers of each class and source, long."""
    return f"""SELECT code, {in_words("source")}, customers
{CHOSEN} AND source <> 'all'
ORDER BY source, code"""


def parts() -> str:
    """SQL of the volume of each class, without the total."""
    return f"""SELECT {in_words("name")}, volume_m3
{CHOSEN} AND source = 'all' AND code <> 'all' AND volume_m3 > 0
ORDER BY volume_m3 DESC"""


def board() -> Json:
    """The dashboard JSON."""
    by_class = spread(
        table(
            words(
                "分类水量 ${kind:text} ${year:text}",
                "By class: ${kind:text}, ${year:text}",
                "客户数为年末（至今为最近月末）有在用水表的客户，按数据来源分列；年用水量为全年账单的开账水量。"
                "合计为全部客户，与分页无关。点击分类看其月水量。",
                "Customers with an active meter at the end of the last month, a column a source; the volume is that "
                "of the bills. "
                "The total is of all customers. Click a class for its months.",
            ),
            classes(),
            {
                "name_words": total_first(
                    custom__minWidth=150,
                    displayName="${kind:text}",
                    **to("volume-analysis", Word("看其月水量", "See its months"), keep="kind year", code=CALLED),
                ),
                "customers": {},
                "volume_m3": {"custom__minWidth": 120},
                **hidden(CALLED),
            },
            pages=True,
        ),
        sources(),
    )
    months = table(
        words(
            "月水量 ${code:text} ${year:text}",
            "Months of ${code:text}, ${year:text}",
            "各月账单的开账水量；没有账单的月份为「—」。合计的同比只比两年都有的月份。",
            "Volume on the bills of each month; «—» without bills. The year on year of the total compares months of both years.",
        ),
        MONTHS,
        {
            "month_no": total_first(custom__width=66),
            "volume_m3": {"custom__minWidth": 100},
            "last_year_m3": {"custom__minWidth": 100},
            "yoy_pct": {**rated(), "custom__width": 78},
        },
    )
    bar = bars(
        words("分类柱状图", "Classes: bars", "各类年用水量。", "Volume of each class."),
        parts(),
        "name_words",
        "volume_m3",
        horizontal=True,
    )
    ring = shares(words("分类饼图", "Classes: shares", "各类占年用水量的比例。", "Share of each class."), parts(), "volume_m3")
    line = over(
        words("月水量折线图", "Months: lines", "本年与上年各月的开账水量。", "Billed volume of each month of both years."),
        COURSE,
        "month_no",
        {"volume_m3": {**fixed(style.VOLUME), "custom__lineWidth": 2}, "last_year_m3": fixed(style.FORMER)},
    )
    return dashboard(
        __name__,
        [row(14, by_class), row(15, (9, months), (15, line)), row(11, bar, ring)],
        [year_of_accounts(), kind(), class_or_total()],
        since="now-30d",
        refresh="",
        with_period=False,
    )
