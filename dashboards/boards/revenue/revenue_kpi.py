"""The eighteen lines of the main indicators of a month, beside the month before and the same month of last year."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import address
from dashboards.panels.tables import hidden, senses, table
from dashboards.panels.tiles import tile
from dashboards.variables import MONTH, midnight, month_of_accounts
from dashboards.vocabulary import Word, in_words, language, words

TITLE = Word("主要指标", "Main indicators")
MORE = Word(
    "营收指标：十八行，本月、上月、去年、环比、同比。", "Revenue: eighteen lines, this month, the month before, last year."
)

LEADS_TO = """CASE WHEN line <= 6 THEN 'reading-status' WHEN line = 7 THEN 'volume-analysis'
    WHEN line <= 10 THEN 'reading-status' ELSE 'collection' END AS leads_to"""
"""The board that a line comes from."""

_MONEY = {"unit": f"{style.GROUPED}¥", "decimals": 0}
_RATE = {"unit": "percent", "decimals": 2}
TILES = (
    (words("开账金额", "Billed", "当月抄表开账金额，近 13 个月。", "Bills of the month, thirteen months."), 8, _MONEY),
    (words("收费金额", "Received", "当月全部缴费，近 13 个月。", "All payments of the month, thirteen months."), 14, _MONEY),
    (
        words("欠费金额", "Arrears", "月初未收的往月账单，近 13 个月。", "Unpaid bills of earlier months at its beginning."),
        11,
        _MONEY,
    ),
    (words("回收率", "Collection rate", "收费 ÷（开账 + 欠费）。", "Received ÷ (billed + arrears)."), 17, _RATE),
    (words("抄表率", "Reading rate", "抄表数 ÷ 表数。", "Meters read ÷ meters."), 6, _RATE),
)
"""The line of each tile and how its value is shown."""


def course(line: int) -> str:
    """SQL of a line over the thirteen months up to the chosen one."""
    return f"""SELECT {midnight("month")} AS "time", value FROM (
  SELECT month, value FROM mart.revenue_kpi
  WHERE line = {line} AND to_char(month, 'YYYY-MM') <= {MONTH} ORDER BY month DESC LIMIT 13
) AS course ORDER BY month"""


def amount(column: str) -> str:
    """SQL of a figure as the line's unit wants it."""
    return f"""CASE value_unit WHEN '¥' THEN to_char({column}, 'FM"¥"999,999,999,990.00')
    WHEN '%' THEN to_char({column}, 'FM990.00 "%"') ELSE rtrim(to_char({column}, 'FM999,999,999,990 ') || value_unit) END"""


def arrow(base: str) -> str:
    """SQL of the way that the value went since `base`; empty where there is none."""
    return f"CASE sign(value - {base}) WHEN 1 THEN '↑ ' WHEN -1 THEN '↓ ' WHEN 0 THEN '→ ' ELSE '' END"


def sense(base: str) -> str:
    """SQL of what `senses` colours by: whether the way since `base` is the good one; nothing where neither is."""
    return f"""CASE WHEN value = {base} THEN '' WHEN (value > {base}) = more_is_better THEN '{style.BETTER}'
    WHEN (value < {base}) = more_is_better THEN '{style.WORSE}' ELSE '' END"""


def change(column: str, base: str) -> str:
    """SQL of a change with its arrow; of a rate in percentage points."""
    points = Word("百分点", "pp")
    return f"""{arrow(base)} || to_char({column}, 'FM999,999,990.00')
    || CASE value_unit WHEN '%' THEN ' {points}' ELSE ' %' END || {sense(base)} AS {column}"""


def lines() -> str:
    """SQL of the eighteen lines as they are printed."""
    return f"""SELECT CASE item WHEN '' THEN '  ' ELSE item || '. ' END || name_{language()} AS name_words,
  {arrow("previous")} || {amount("value")} || {sense("previous")} AS value,
  {amount("previous")} AS previous, {amount("last_year")} AS last_year,
  {change("change_pct", "previous")},
  {change("yoy_pct", "last_year")},
  {in_words("note")}, {LEADS_TO}, to_char(month, 'YYYY') AS account_year
FROM mart.revenue_kpi
WHERE to_char(month, 'YYYY-MM') = {MONTH}
ORDER BY line"""


def board() -> Json:
    """The dashboard JSON."""
    tiles = [tile(text, course(line), ["value"], course=True, looks={"value": look}) for text, line, look in TILES]
    right: Json = {"custom__align": "right", "unit": "string"}
    leads = {
        "links": [
            {
                "title": str(Word("查看明细", "See what it is made of")),
                "url": address("${__data.fields.leads_to}", keep="month", year="account_year"),
            }
        ]
    }
    indicators = table(
        words(
            "主要指标 ${month:text}",
            "Main indicators ${month:text}",
            "去年为上年同月。环比、同比为增长率（本期−基期）÷基期，率的环比、同比为百分点；无基期为「—」。"
            "本月的箭头对上月；绿为向好，红为向坏，无好坏之分的不着色。点击一行看其明细。",
            "Last year: the same month of it. Changes are growth rates on the base, of rates percentage points; «—» "
            "without a base. "
            "The arrow of this month is against the month before; green is the good way, red the bad one. Click a "
            "line for its board.",
        ),
        lines(),
        {
            "name_words": {"custom__width": 190, **leads},
            "value": {**right, **senses(), "custom__width": 138},
            "previous": {**right, "custom__width": 122},
            "last_year": {**right, "custom__width": 122},
            "change_pct": {**right, **senses(), "custom__width": 118},
            "yoy_pct": {**right, **senses(), "custom__width": 118},
            "note_words": {"custom__minWidth": 200, "custom__wrapText": True},
            **hidden("leads_to account_year"),
        },
    )
    return dashboard(
        __name__, [row(5, *tiles), row(22, indicators)], [month_of_accounts()], since="now-30d", refresh="", with_period=False
    )
