"""Meters, reads, billed volume and amount of a month by class, and which meters were not read and why."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to, to_customer, to_meter
from dashboards.panels.charts import bars
from dashboards.panels.core import fixed
from dashboards.panels.tables import coloured, hidden, table, total_first
from dashboards.panels.tiles import some, tile
from dashboards.variables import CODE, KIND, MONTH, class_or_total, kind, month_of_accounts, of_class_then
from dashboards.vocabulary import Word, in_words, language, words

TITLE = Word("抄表情况", "Reading status")
MORE = Word(
    "各类的表数、抄表数、抄表率、用水量、金额与未抄表。", "Meters, reads, rate, volume and amount by class; unread meters."
)

OF_MONTH = f"""FROM mart.reading_status
WHERE kind = {KIND} AND to_char(month, 'YYYY-MM') = {MONTH}"""
COURSE = f"""SELECT to_char(month, 'YYYY-MM') AS month, reading_rate_pct, auto_read_pct FROM (
  SELECT month, reading_rate_pct, auto_read_pct FROM mart.reading_status
  WHERE kind = {KIND} AND code = {CODE} AND to_char(month, 'YYYY-MM') <= {MONTH} ORDER BY month DESC LIMIT 13
) AS course ORDER BY 1"""
TILES = (
    (
        words("抄表率", "Reading rate", "抄表数 ÷ 表数，估抄不计。", "Meters read over meters, estimates apart."),
        "reading_rate_pct",
    ),
    (words("未抄数", "Unread", "应抄而无实抄、无估抄的水表。", "Due, and neither read nor estimated."), "meters_unread"),
    (words("估抄数", "Estimated", "只有估抄的水表。", "Meters with an estimate only."), "meters_estimated"),
    (
        words("自动抄表占比", "Automatic", "抄表数中远传的占比。", "Share of the reads that came from AMR meters."),
        "auto_read_pct",
    ),
    (
        words(
            "平均开账天数", "Days to issue", "自抄表期末至开账的平均天数。", "Mean days from the end of the period to the bill."
        ),
        "days_to_issue",
    ),
    (words("开账金额", "Billed", "当月账单的金额。", "Amount of the bills of the month."), "amount"),
)
"""What each tile shows of the total."""


def classes() -> str:
    """SQL of a row a class, the total first."""
    return f"""SELECT CASE code WHEN 'all' THEN '' ELSE name_{language()} END AS name_words, meters, meters_read,
      reading_rate_pct,
  volume_m3, amount, meters_estimated, meters_not_due, meters_unread, code
{OF_MONTH}
ORDER BY code <> 'all', amount DESC NULLS LAST, code"""


def parts(value: str) -> str:
    """SQL of a figure of each class, without the total."""
    return f"""SELECT {in_words("name")}, {value}
{OF_MONTH} AND code <> 'all'
ORDER BY {value} DESC NULLS LAST"""


def unread() -> str:
    """SQL of the meters of the chosen class without an actual read."""
    return f"""SELECT u.meter, u.customer_name, u.address, u.book_no, CAST(u.last_read_on AS text) AS last_read_on,
      {in_words("u.reason")}, u.customer_no
FROM mart.unread_meter AS u
WHERE to_char(u.month, 'YYYY-MM') = {MONTH} AND {of_class_then("u.meter", "u.month")}
ORDER BY u.reason <> 'silent', u.reason, u.meter
LIMIT 2000"""


def board() -> Json:
    """The dashboard JSON."""
    tiles = [
        tile(
            text,
            f"SELECT {name} {OF_MONTH} AND code = 'all'",
            [name],
            thresholds=some(style.WARN) if name == "meters_unread" else None,
        )
        for text, name in TILES
    ]
    by_class = table(
        words(
            "抄表情况 ${kind:text} ${month:text}",
            "Reading status: ${kind:text}, ${month:text}",
            "表数＝抄表数＋估抄数＋未到周期数＋未抄数；抄表率＝抄表数÷表数；用水量、金额为当月账单。合计为全部水表，与分页无关。"
            "点击分类看其未抄表。",
            "Meters = read + estimated + not due + unread; the rate is read over meters; volume and amount are those "
            "of the bills. "
            "The total is of every meter. Click a class for its unread meters.",
        ),
        classes(),
        {
            "name_words": total_first(
                custom__minWidth=140,
                displayName="${kind:text}",
                **to("reading-status", Word("看其未抄表", "See its unread meters"), keep="month kind", code="code"),
            ),
            "meters": {"custom__width": 88},
            "meters_read": {"custom__width": 88},
            "reading_rate_pct": {"custom__width": 92},
            "volume_m3": {"custom__minWidth": 110},
            "amount": {"custom__minWidth": 120},
            "meters_estimated": {"custom__width": 88},
            "meters_not_due": {"custom__width": 104},
            "meters_unread": coloured(some(style.WARN), custom__width=88),
            **hidden("code"),
        },
        pages=True,
    )
    not_read = table(
        words(
            "未抄表明细 ${code:text} ${month:text}",
            "Unread meters: ${code:text}, ${month:text}",
            "当月没有实抄的水表与原因：估抄、未到周期、无信号、未抄。",
            "Meters without an actual read and why: estimated, not due, silent, not read.",
        ),
        unread(),
        {
            "meter": {**to_meter(), "custom__width": 90},
            "customer_name": {**to_customer(), "custom__minWidth": 170},
            "address": {"custom__minWidth": 150},
            "book_no": {"custom__width": 80},
            "last_read_on": {"custom__width": 110},
            "reason_words": {"custom__minWidth": 120},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("本月没有未抄的水表", "Every meter was read"),
    )
    volume = bars(
        words("各类用水量", "Volume by class", "当月账单的用水量。", "Volume on the bills of the month."),
        parts("volume_m3"),
        "name_words",
        "volume_m3",
        horizontal=True,
    )
    rate = bars(
        words("各类抄表率", "Reading rate by class", "抄表数 ÷ 表数。", "Meters read over meters."),
        parts("reading_rate_pct"),
        "name_words",
        "reading_rate_pct",
        horizontal=True,
        maximum=100,
    )
    course = bars(
        words(
            "近 13 个月 ${code:text}",
            "Thirteen months: ${code:text}",
            "抄表率与自动抄表占比；隔月抄的册本使抄表率隔月升降。",
            "Reading rate and share read automatically; books read every other month make the rate go up and down.",
        ),
        COURSE,
        "month",
        {"reading_rate_pct": fixed(style.VOLUME), "auto_read_pct": fixed(style.FORMER)},
        maximum=100,
    )
    return dashboard(
        __name__,
        [row(3, *tiles), row(14, by_class), row(11, volume, rate, course), row(9, not_read)],
        [month_of_accounts(), kind(), class_or_total()],
        since="now-30d",
        refresh="",
        with_period=False,
    )
