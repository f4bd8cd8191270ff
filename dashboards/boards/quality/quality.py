"""How good the data are by meter and day, what costs the points, and what validation found."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.links import to_customer, to_meter
from dashboards.panels.charts import strip
from dashboards.panels.core import steps
from dashboards.panels.tables import coloured, hidden, table
from dashboards.panels.tiles import some, tile
from dashboards.variables import FROM_DAY, TO_DAY, TODAY, midnight, text_box
from dashboards.vocabulary import Word, in_words, words

TITLE = Word("数据质量", "Data quality")
MORE = Word("各表各日的评分、失分原因与校验发现。", "Score by meter and day, what costs points, what validation found.")

PERIOD = f"BETWEEN {FROM_DAY} AND least({TO_DAY}, {TODAY} - 1)"
"""Days of the time range that are over."""
FOUND = "concat_ws(' ', m.customer_no, m.customer_name, m.meter) ILIKE '%' || ${search:sqlstring} || '%'"
"""The meters `m` that the search finds."""

MEAN = f"SELECT avg(score) AS score FROM mart.quality_score WHERE day {PERIOD}"
POOR = f"""SELECT count(DISTINCT meter) AS meters FROM mart.quality_score
WHERE day {PERIOD} AND score < {thresholds.SCORE_POOR}"""
FINDINGS = f"SELECT count(*) AS findings FROM mart.vee_finding WHERE day {PERIOD}"
INCOMPLETE = f"SELECT count(DISTINCT meter) AS meters FROM mart.data_quality WHERE day {PERIOD} AND NOT complete"
DOUBTFUL = f"SELECT count(DISTINCT meter) AS meters FROM mart.data_quality WHERE day {PERIOD} AND NOT clean"

GRID = f"""WITH worst AS (
  SELECT q.meter FROM mart.quality_score AS q LEFT JOIN mart.meter AS m ON m.meter = q.meter
  WHERE q.day {PERIOD} AND {FOUND}
  GROUP BY q.meter ORDER BY avg(q.score), q.meter LIMIT {thresholds.GRID_ROWS}
)
SELECT {midnight("q.day")} AS "time", q.meter AS metric, q.score
FROM mart.quality_score AS q
JOIN worst ON worst.meter = q.meter
WHERE q.day {PERIOD}
ORDER BY 1, 2"""
WORST = f"""SELECT q.meter, m.customer_name, avg(q.score) AS score,
  count(*) FILTER (WHERE q.score < {thresholds.SCORE_POOR}) AS days_poor,
  avg(q.completeness_points) AS completeness_points, avg(q.timeliness_points) AS timeliness_points,
  avg(q.vee_points) AS vee_points, avg(q.sum_points) AS sum_points, avg(q.clock_points) AS clock_points, m.customer_no
FROM mart.quality_score AS q
LEFT JOIN mart.meter AS m ON m.meter = q.meter
WHERE q.day {PERIOD} AND {FOUND}
GROUP BY q.meter, m.customer_name, m.customer_no
ORDER BY 3, 1
LIMIT {thresholds.LISTED_ROWS}"""
COUNTS = f"""SELECT d.meter, m.customer_name, sum(d.holes) AS holes, sum(d.falls) AS falls,
  sum(d.impossible_rises) AS impossible_rises, sum(d.refused) AS refused, sum(d.resets) AS resets,
  sum(d.conflicts) AS conflicts, sum(d.off_grid) AS off_grid, m.customer_no
FROM mart.data_quality AS d
LEFT JOIN mart.meter AS m ON m.meter = d.meter
WHERE d.day {PERIOD} AND {FOUND}
GROUP BY d.meter, m.customer_name, m.customer_no
HAVING sum(d.holes + d.falls + d.impossible_rises + d.refused + d.resets + d.conflicts + d.off_grid) > 0
ORDER BY sum(d.refused + d.falls + d.impossible_rises) DESC, sum(d.holes) DESC, d.meter
LIMIT {thresholds.LISTED_ROWS}"""


def findings() -> str:
    """SQL of what validation found, the latest first."""
    value, limit = (
        f"rtrim(to_char(CAST(f.{name} AS numeric), 'FM999,999,990.00') || ' ' || coalesce(f.value_unit, ''))"
        for name in ("value", "limit_value")
    )
    return f"""SELECT CAST(f.day AS text) AS day, f.meter, m.customer_name, f.rule, {in_words("f.rule")},
  {value} AS value, {limit} AS limit_value, {in_words("r.condition")}, m.customer_no
FROM mart.vee_finding AS f
LEFT JOIN mart.vee_rule AS r ON r.rule = f.rule
LEFT JOIN mart.meter AS m ON m.meter = f.meter
WHERE f.day {PERIOD} AND {FOUND}
ORDER BY f.day DESC, f.meter, f.rule
LIMIT {thresholds.LISTED_ROWS}"""


def board() -> Json:
    """The dashboard JSON."""
    scored = steps((None, style.BAD), (thresholds.SCORE_POOR, style.WARN), (thresholds.SCORE_FAIR, style.QUIET))
    score_text = steps((None, style.BAD), (thresholds.SCORE_POOR, style.WARN), (thresholds.SCORE_FAIR, style.NEUTRAL))
    tiles = [
        tile(
            words("平均评分", "Mean score", "全部水表、时段内已结束的日。", "All meters, days of the period that are over."),
            MEAN,
            ["score"],
            thresholds=score_text,
        ),
        tile(
            words("有差评分的水表", "Poor meters", "有一日低于 60 分的水表。", "Meters with a day below 60."),
            POOR,
            ["meters"],
            thresholds=some(style.BAD),
        ),
        tile(
            words("有缺数的水表", "Incomplete", "有一日不完整的水表。", "Meters with a day that is not complete."),
            INCOMPLETE,
            ["meters"],
            thresholds=some(style.WARN),
        ),
        tile(
            words("有存疑读数的水表", "Doubtful", "有一日读数存疑的水表。", "Meters with a reading in doubt."),
            DOUBTFUL,
            ["meters"],
            thresholds=some(style.WARN),
        ),
        tile(
            words("校验发现数", "Findings", "违反校验规则的表日数。", "Days of a meter that break a rule."),
            FINDINGS,
            ["findings"],
            thresholds=some(style.WARN),
        ),
    ]
    who: Json = {"custom__width": 160}
    grid = strip(
        words(
            "评分：表 × 日",
            "Score by meter and day",
            "平均分最低的 40 块水表；红色低于 60 分，橙色低于 80 分，未结束的日不显示。",
            "The forty meters with the lowest mean; red: below 60, orange: below 80; a day that is not over is left out.",
        ),
        GRID,
        "score",
        scored,
    )
    worst = table(
        words(
            "评分最低的水表",
            "Lowest scores",
            "时段内平均；满分：完整性 40，及时性 20，校验 20，总量核对 10，时钟 5，电池 3，信号 2。",
            "Means of the period; the most are completeness 40, timeliness 20, validation 20, sum check 10, clock 5, "
            "battery 3, signal 2.",
        ),
        WORST,
        {
            "meter": to_meter(),
            "customer_name": {**to_customer(), **who},
            "score": coloured(score_text),
            "days_poor": coloured(some(style.BAD), custom__width=112),
            "completeness_points": {},
            "timeliness_points": {},
            "vee_points": {},
            "sum_points": {"custom__width": 108},
            "clock_points": {},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("本期没有评分", "No score in this period"),
    )
    found = table(
        words(
            "校验发现",
            "What validation found",
            "供人复核的标记，不改变任何数值；最近的在前。",
            "Marks for a person to review; they change no figure.",
        ),
        findings(),
        {
            "day": {"custom__width": 100},
            "meter": to_meter(),
            "customer_name": {**to_customer(), **who},
            "rule": {"custom__width": 60},
            "rule_words": {"custom__width": 110},
            "value": {"custom__align": "right", "custom__width": 110, "unit": "string"},
            "limit_value": {"custom__align": "right", "custom__width": 110, "unit": "string"},
            "condition_words": {"custom__minWidth": 180, "custom__wrapText": True},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("本期无校验发现", "Validation found nothing in this period"),
    )
    counts = table(
        words(
            "读数异常计数",
            "What the readings were like",
            "时段内各类异常的次数，只列有异常的水表。",
            "Counts of the period; only meters that have some.",
        ),
        COUNTS,
        {
            "meter": to_meter(),
            "customer_name": {**to_customer(), **who},
            **{name: {} for name in ("holes", "falls", "impossible_rises", "refused", "resets", "conflicts", "off_grid")},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("本期读数无异常", "No reading of this period is unusual"),
    )
    return dashboard(
        __name__,
        [row(3, *tiles), row(14, grid), row(11, worst), row(9, found), row(9, counts)],
        [text_box("search")],
        since="now-14d/d",
    )
