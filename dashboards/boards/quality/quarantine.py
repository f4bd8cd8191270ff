"""What is kept aside instead of stored, and what does not fit between terminals, registry and billing: why, and what to do."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.links import to_customer, to_maintain, to_meter
from dashboards.panels.core import steps
from dashboards.panels.tables import coloured, hidden, table
from dashboards.panels.tiles import some, tile
from dashboards.variables import FROM_DAY, TO_DAY, TODAY
from dashboards.vocabulary import ADVICE, GAP_ADVICE, Word, in_words, words

TITLE = Word("隔离区与档案", "Quarantine and registry")
MORE = Word(
    "另存的报文、档案缺漏、营收匹配与到期检定。", "What is kept aside, gaps of the registry, match with billing, verification."
)

PERIOD = f"BETWEEN {FROM_DAY} AND {TO_DAY}"
ENTRIES = f"SELECT coalesce(sum(entries), 0) AS entries FROM mart.quarantine WHERE day {PERIOD}"
UNKNOWN = f"""SELECT count(DISTINCT terminal) AS terminals FROM mart.quarantine
WHERE day {PERIOD} AND NOT registered AND terminal <> ''"""
GAPS = "SELECT count(*) AS gaps FROM mart.registry_gap"
DUE = f"SELECT count(*) AS meters FROM mart.verification_due WHERE due_on <= {TODAY}"
UNMATCHED = "SELECT match_share FROM mart.billing_match WHERE side = 'meter'"
VERIFICATION = f"""SELECT v.meter, m.customer_name, v.dn_mm, v.q3_m3h, CAST(v.in_use_since AS text) AS in_use_since,
  v.period_years,
  CAST(v.due_on AS text) AS due_on, m.customer_no
FROM mart.verification_due AS v
LEFT JOIN mart.meter AS m ON m.meter = v.meter
WHERE v.due_on <= {TODAY} + {thresholds.DUE_SOON_DAYS}
ORDER BY v.due_on, v.meter
LIMIT {thresholds.LISTED_ROWS}"""


def advice(column: str, known: dict[str, Word]) -> str:
    """SQL of what to do about a code."""
    cases = " ".join(f"WHEN '{code}' THEN '{word}'" for code, word in known.items())
    return f"CASE {column} {cases} END AS advice"


def kept() -> str:
    """SQL of what was kept aside in the period, the latest first."""
    return f"""SELECT q.last_at, {in_words("q.reason")}, q.terminal, q.meter, q.entries, q.detail, {advice("q.reason", ADVICE)}
FROM mart.quarantine AS q
WHERE q.day {PERIOD}
ORDER BY q.last_at DESC, q.reason, q.terminal
LIMIT {thresholds.LISTED_ROWS}"""


def registry_gaps() -> str:
    """SQL of what is missing in the registry or does not fit billing."""
    return f"""SELECT g.meter, c.name AS customer_name, {in_words("g.name")}, g.attribute, g.terminal,
  {advice("g.gap", GAP_ADVICE)}, g.customer_no
FROM mart.registry_gap AS g
LEFT JOIN mart.customer AS c ON c.customer_no = g.customer_no
ORDER BY g.gap, g.meter, g.attribute
LIMIT {thresholds.LISTED_ROWS}"""


def matches() -> str:
    """SQL of how well registry and billing fit."""
    return f"SELECT {in_words('name')}, counted, matched, match_share FROM mart.billing_match ORDER BY match_share, side"


def board() -> Json:
    """The dashboard JSON."""
    tiles = [
        tile(
            words("另存条数", "Kept aside", "时段内另存的报文与读数。", "Frames and readings of the period."),
            ENTRIES,
            ["entries"],
            thresholds=some(style.WARN),
        ),
        tile(
            words("未登记终端", "Unknown terminals", "时段内来报而未登记的终端。", "They report and are not registered."),
            UNKNOWN,
            ["terminals"],
            thresholds=some(style.BAD),
        ),
        tile(
            words("缺漏数", "Registry gaps", "登记表与营收资料的缺漏。", "What is missing or does not fit."),
            GAPS,
            ["gaps"],
            thresholds=some(style.WARN),
        ),
        tile(
            words(
                "表的营收匹配率",
                "Meters in billing",
                "有终端的水表中营收有卡的比例。",
                "Share of the meters that billing has a card for.",
            ),
            UNMATCHED,
            ["match_share"],
        ),
        tile(
            words("到期水表", "To verify", "检定已到期的水表。", "Meters whose verification is due."),
            DUE,
            ["meters"],
            thresholds=some(style.WARN),
        ),
    ]
    aside = table(
        words(
            "隔离区",
            "Quarantine",
            "时段内另存而未入库的报文与读数，按原因、终端、日；原文都留着，登记或更正后可重放。点击终端去维护登记表。",
            "Frames and readings of the period that were kept aside by reason, terminal and day; the bytes are kept "
            "and can be replayed.",
        ),
        kept(),
        {
            "last_at": {"custom__width": 136},
            "reason_words": {"custom__width": 150},
            "terminal": {**to_maintain(), "custom__width": 116},
            "meter": to_meter(),
            "entries": {"custom__width": 64},
            "detail": {"custom__minWidth": 200, "custom__wrapText": True},
            "advice": {"custom__minWidth": 200, "custom__wrapText": True},
        },
        pages=True,
        empty=Word("本期没有另存的报文", "Nothing was kept aside in this period"),
    )
    missing = table(
        words(
            "档案缺漏",
            "Gaps of the registry",
            "在用的表、卡、终端之间缺少或不符的；点击水表去维护登记表。",
            "Of points in service; click a meter to maintain it.",
        ),
        registry_gaps(),
        {
            "meter": {**to_maintain(), "custom__width": 84},
            "customer_name": {**to_customer(), "custom__width": 170},
            "name_words": {"custom__width": 180},
            "attribute": {"custom__width": 116},
            "terminal": {"custom__width": 116},
            "advice": {"custom__minWidth": 200, "custom__wrapText": True},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("没有缺漏", "Nothing is missing"),
    )
    match = table(
        words("营收匹配率", "Match with billing", "表、卡、账单、客户在另一方查得到的比例。", "Share that the other side knows."),
        matches(),
        {
            "name_words": {"custom__minWidth": 96, "custom__wrapText": True},
            "counted": {"custom__width": 74},
            "matched": {"custom__width": 76},
            "match_share": {**coloured(steps((None, style.NEUTRAL), (0, style.WARN), (1, style.NEUTRAL))), "custom__width": 76},
        },
        empty=Word("没有营收系统", "There is no billing"),
    )
    late = {"due_on": coloured(steps((None, style.WARN)))}
    verification = table(
        words(
            "检定到期",
            "Verification due",
            "已到期与 90 天内到期的水表（JJG 162），最早的在前。",
            "Meters that are due, or within 90 days (JJG 162), the earliest first.",
        ),
        VERIFICATION,
        {
            "meter": {**to_meter(), "custom__width": 80},
            "customer_name": {**to_customer(), "custom__minWidth": 120},
            "dn_mm": {"custom__width": 78},
            "q3_m3h": {"custom__width": 92},
            "in_use_since": {"custom__width": 100},
            "period_years": {"custom__width": 76},
            "due_on": {**late["due_on"], "custom__width": 100},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("90 天内没有到期的检定", "No verification is due within 90 days"),
    )
    return dashboard(
        __name__,
        [row(3, *tiles), row(9, aside), row(11, missing), row(12, (8, match), (16, verification))],
        since="now-30d",
    )
