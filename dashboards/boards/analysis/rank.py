"""Customers by volume in a period, how few of them use and pay most, and who is a major customer and why."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to_customer
from dashboards.panels.charts import bars, over
from dashboards.panels.core import fixed, mapping
from dashboards.panels.tables import coloured, hidden, table, total_first
from dashboards.panels.tiles import tile
from dashboards.variables import GRAIN, PERIOD, THE_YEAR, fixed_choice, grain, period, year
from dashboards.vocabulary import Word, words

TITLE = Word("排位与集中度", "Ranking")
MORE = Word("客户用水与营收排位、集中度与大客户认定。", "Customers by volume and revenue, concentration, and who is a major one.")

ORDERS = {"top": Word("用水最多", "most first"), "bottom": Word("用水最少", "least first")}
ROWS = {str(count): Word(str(count), str(count)) for count in (10, 20, 50, 1000)}
_UP = "${order:sqlstring} = 'bottom'"
_ROWS = "CASE ${rows:sqlstring} " + " ".join(f"WHEN '{count}' THEN {count}" for count in ROWS) + " ELSE 10 END"
_CHOSEN = f"r.grain = {GRAIN} AND r.period = (SELECT day FROM mart.calendar WHERE CAST(day AS text) = {PERIOD})"

_CHANGE = """CASE WHEN r.previous_rank > r.rank THEN '↑ ' || r.previous_rank - r.rank
    WHEN r.previous_rank < r.rank THEN '↓ ' || r.rank - r.previous_rank WHEN r.previous_rank IS NOT NULL THEN '=' END"""
RANKED = f"""SELECT r.rank, coalesce(c.name, r.customer_no) AS customer_name, r.volume_m3, r.share, r.previous_rank,
  {_CHANGE} AS rank_change, r.complete, r.customer_no
FROM mart.usage_rank AS r
LEFT JOIN mart.customer AS c ON c.customer_no = r.customer_no
WHERE {_CHOSEN}
ORDER BY CASE WHEN {_UP} THEN -r.rank ELSE r.rank END, r.customer_no
LIMIT {_ROWS}"""

TABLE = f"""SELECT '' AS customer_name, CAST(NULL AS bigint) AS rank, sum(r.volume_m3) AS volume_m3, sum(r.share) AS share,
  NULL AS rank_change, CAST(NULL AS bigint) AS previous_rank, CAST(bool_and(r.complete) AS text) AS complete, NULL AS customer_no
FROM mart.usage_rank AS r
WHERE {_CHOSEN}
HAVING count(*) > 0
UNION ALL
SELECT t.customer_name, t.rank, t.volume_m3, t.share, t.rank_change, t.previous_rank,
  CAST(t.complete AS text), t.customer_no
FROM ({RANKED}) AS t"""

USE_CURVE = f"""SELECT CAST(0 AS double precision) AS customers_share, CAST(0 AS double precision) AS cumulative_share
UNION ALL
(SELECT r.customers_share, max(r.cumulative_share)
FROM mart.usage_rank AS r
WHERE {_CHOSEN}
GROUP BY r.customers_share
ORDER BY 1)"""
REVENUE_CURVE = f"""SELECT CAST(0 AS double precision) AS customers_share, CAST(0 AS double precision) AS cumulative_share
UNION ALL
(SELECT r.customers_share, max(r.cumulative_share)
FROM mart.revenue_rank AS r
WHERE r.year = {THE_YEAR}
GROUP BY r.customers_share
ORDER BY 1)"""

USE_FIFTH = f"""SELECT max(r.cumulative_share) AS cumulative_share FROM mart.usage_rank AS r
WHERE {_CHOSEN} AND r.customers_share <= 0.2"""
REVENUE_FIFTH = f"""SELECT max(r.cumulative_share) AS cumulative_share FROM mart.revenue_rank AS r
WHERE r.year = {THE_YEAR} AND r.customers_share <= 0.2"""
CUSTOMERS = f"SELECT count(*) AS customers, sum(r.volume_m3) AS volume_m3 FROM mart.usage_rank AS r WHERE {_CHOSEN}"

REVENUE = f"""SELECT coalesce(c.name, r.customer_no) AS customer_name, r.rank, r.amount, r.share, r.previous_rank,
  r.customer_no
FROM mart.revenue_rank AS r
LEFT JOIN mart.customer AS c ON c.customer_no = r.customer_no
WHERE r.year = {THE_YEAR}
ORDER BY CASE WHEN {_UP} THEN -r.rank ELSE r.rank END, r.customer_no
LIMIT {_ROWS}"""

WHY = {"dn": Word("口径", "size"), "volume": Word("年水量", "volume"), "flag": Word("营收标记", "billing")}


def major_customers() -> str:
    """SQL of who is a major customer at the end of the time range, and why."""
    why = " ".join(f"WHEN '{reason}' THEN '{word}'" for reason, word in WHY.items())
    return f"""SELECT coalesce(c.name, j.customer_no) AS customer_name,
  string_agg(DISTINCT CASE j.reason {why} ELSE j.reason END, ' · ') AS reason,
  max(j.value) FILTER (WHERE j.reason = 'dn') AS dn_mm, max(j.value) FILTER (WHERE j.reason = 'volume') AS year_m3,
  j.customer_no
FROM mart.major_customer AS j
LEFT JOIN mart.customer AS c ON c.customer_no = j.customer_no
WHERE coalesce(j.valid_from, '-infinity') <= CAST($__timeTo() AS timestamptz)
  AND coalesce(j.valid_to, 'infinity') > CAST($__timeTo() AS timestamptz)
GROUP BY j.customer_no, c.name
ORDER BY year_m3 DESC NULLS LAST, j.customer_no"""


MARKS = {"false": Word("不完整", "incomplete"), "true": Word(" ", " ")}


def board() -> Json:
    """The dashboard JSON."""
    name = {**to_customer(), "custom__width": 170}
    ranked = table(
        words(
            "用水排位（$period）",
            "By volume ($period)",
            "合计为全部客户；水量相同则同位；箭头为较上期排位的升降。「不完整」的水量只是已知部分。",
            "The total is of all customers; equal volumes share a rank; arrows: against the period before.",
        ),
        TABLE,
        {
            "customer_name": total_first(**{**name, "custom__width": 150}),
            "rank": {"custom__width": 56, "noValue": " "},
            "volume_m3": {"custom__minWidth": 100},
            "share": {"custom__width": 70},
            "rank_change": {"custom__width": 76, "noValue": " "},
            "previous_rank": {"custom__width": 76, "noValue": " "},
            "complete": coloured(mappings=mapping(MARKS, {"false": style.WARN}), custom__width=92),
            **hidden("customer_no"),
        },
        pages=True,
    )
    shown = bars(
        words("用水排位图", "Volumes", "所选户数。", "As many as chosen."),
        f"SELECT t.customer_name, t.volume_m3, t.share FROM ({RANKED}) AS t LIMIT 20",
        "customer_name",
        "volume_m3",
        horizontal=True,
        beside="share",
    )
    use = over(
        words(
            "用水集中度（$period）",
            "Concentration of use ($period)",
            "横轴为按水量由大到小的客户占比，纵轴为其累计水量占比。",
            "Share of the customers, the largest first, against their share of the volume.",
        ),
        USE_CURVE,
        "customers_share",
        {
            "cumulative_share": {**fixed(style.VOLUME), "custom__fillOpacity": 15, "custom__lineWidth": 2},
            "customers_share": {"decimals": 0},
        },
    )
    revenue = over(
        words(
            "营收集中度（$year）",
            "Concentration of revenue ($year)",
            "横轴为按金额由大到小的客户占比，纵轴为其累计开账金额占比；含人工抄表客户。",
            "Share of the customers, the largest first, against their share of the amounts billed; manual ones are among them.",
        ),
        REVENUE_CURVE,
        "customers_share",
        {
            "cumulative_share": {**fixed(style.PRESSURE), "custom__fillOpacity": 15, "custom__lineWidth": 2},
            "customers_share": {"decimals": 0},
        },
    )
    tiles = [
        tile(
            words(
                "最大 20% 客户的水量",
                "Largest 20 %: volume",
                "用水最多的五分之一客户的水量占比。",
                "What the largest fifth uses.",
            ),
            USE_FIFTH,
            ["cumulative_share"],
        ),
        tile(
            words(
                "最大 20% 客户的营收",
                "Largest 20 %: revenue",
                "金额最大的五分之一客户的占比。",
                "What the largest fifth is billed.",
            ),
            REVENUE_FIFTH,
            ["cumulative_share"],
        ),
        tile(
            words("客户与水量", "Customers and volume", "有水量的客户数及其水量。", "Customers with a volume, and it."),
            CUSTOMERS,
            ["customers", "volume_m3"],
        ),
    ]
    by_revenue = table(
        words("营收排位（$year）", "By revenue ($year)", "当年账目的开账金额。", "Bills of the year's account."),
        REVENUE,
        {
            "customer_name": name,
            "rank": {"custom__width": 60},
            "amount": {"custom__minWidth": 110},
            "share": {"custom__width": 70},
            "previous_rank": {"custom__width": 80},
            **hidden("customer_no"),
        },
        pages=True,
    )
    major = table(
        words(
            "大客户认定",
            "Major customers",
            "时间范围末的大客户及其依据：口径、年水量（判据 major.*）或营收标记；年水量为认定所依据的最大一年。",
            "Who is one at the end of the time range, and why: size, volume of a year (criteria major.*) or billing's flag.",
        ),
        major_customers(),
        {
            "customer_name": {**name, "custom__width": 150},
            "reason": {"custom__width": 166},
            "dn_mm": {},
            "year_m3": {},
            **hidden("customer_no"),
        },
        pages=True,
    )
    choices = [grain("month"), period(), fixed_choice("order", ORDERS), fixed_choice("rows", ROWS), year()]
    return dashboard(
        __name__,
        [row(4, *tiles), row(12, (15, ranked), (9, shown)), row(9, use, revenue), row(12, by_revenue, major)],
        choices,
        since="now-30d",
        refresh="15m",
    )
