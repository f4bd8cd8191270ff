"""The register of one meter: its curve with the changes of the meter, what ran forwards and backwards, and each day."""

from dashboards import Json, of_meter, style
from dashboards.board import dashboard, replacements, row
from dashboards.links import to, to_frames
from dashboards.panels.charts import curves
from dashboards.panels.core import fixed, mapping
from dashboards.panels.tables import coloured, table, total_first
from dashboards.variables import FROM_DAY, METER, TO_DAY, meter
from dashboards.vocabulary import ANSWERS, NOT_MEASURED, Word, words

TITLE = Word("读数累计", "Register")
MORE = Word("一块水表的正向、反向累计读数与换表。", "Forward and reverse register of one meter, and its changes.")

SUMS = f"""SELECT r.ends_at AS "time", r.volume_sum_m3, r.reverse_sum_m3, r.net_sum_m3
FROM mart.register_course({METER}, $__timeFrom(), $__timeTo()) AS r
ORDER BY r.ends_at"""

DAYS = f"""WITH days AS (SELECT * FROM mart.register_days({METER}, {FROM_DAY}, {TO_DAY}))
SELECT '' AS day, CAST(NULL AS double precision) AS register_m3, CAST(NULL AS timestamptz) AS register_at,
  sum(volume_m3) AS volume_m3,
  sum(reverse_m3) AS reverse_m3, CAST(NULL AS double precision) AS coverage, CAST(NULL AS text) AS replaced
FROM days
HAVING count(*) > 0
UNION ALL
(SELECT CAST(day AS text), register_m3, register_at, volume_m3, reverse_m3, coverage, CASE WHEN replaced THEN 'true' END
FROM days
ORDER BY days.day DESC)"""


def board() -> Json:
    """The dashboard JSON."""
    sums = curves(
        words(
            "本期累计：正向、反向、净",
            "Forward, reverse and net since the start",
            "自所选时段起点累计；换表不中断。",
            "Summed up from the start of the period; a change of the meter does not interrupt it.",
        ),
        SUMS,
        {
            "volume_sum_m3": fixed(style.VOLUME),
            "reverse_sum_m3": {**fixed(style.BAD), **to_frames()},
            "net_sum_m3": {**fixed(style.FORMER), "custom__lineStyle": {"fill": "dash", "dash": [6, 6]}},
        },
        joined_gap_ms=of_meter.GAP,
        from_zero=True,
        legend=("lastNotNull",),
        empty=NOT_MEASURED,
    )
    days = table(
        words(
            "日读数",
            "Register by day",
            "当日最后一个已知读数、当日水量与反向水量；合计为已知各日之和。点击日期看当日曲线。",
            "Last known register of the day, volume and reverse volume; the total sums the known days. A day leads on.",
        ),
        DAYS,
        {
            "day": total_first(
                custom__minWidth=120, **to("flow-pressure", Word("看当日曲线", "See the day"), keep="meter", day="day")
            ),
            "register_m3": {"custom__width": 140},
            "register_at": {"custom__width": 150},
            "volume_m3": {"custom__width": 120},
            "reverse_m3": {"custom__width": 130},
            "coverage": {**of_meter.COVERED, "custom__width": 100},
            "replaced": coloured(mappings=mapping(ANSWERS, {"true": style.WARN}), custom__width=90, noValue=" "),
        },
        pages=True,
        empty=NOT_MEASURED,
    )
    return dashboard(
        __name__,
        [row(9, of_meter.register()), row(8, sums), row(14, days)],
        [meter()],
        since="now-30d",
        annotations=[replacements()],
    )
