"""The meters that do not fit their flows, with what another one would be worth and what was decided."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to, to_change
from dashboards.panels.charts import bars
from dashboards.panels.core import mapping
from dashboards.panels.tables import coloured, hidden, table, total_first
from dashboards.variables import candidate_words
from dashboards.vocabulary import FITS, Word, in_words, words

TITLE = Word("选表组合", "Meter sizing")
MORE = Word(
    "大表小流量清单、候选水表、年增收与换表流程。",
    "Meters too large or too small, candidates, what they are worth, and what was decided.",
)

VALUE = """SELECT {name}, points, volume_m3_year, amount_cny_year
FROM mart.value_summary
ORDER BY amount_cny_year DESC NULLS LAST, line"""

NEWEST = """(SELECT DISTINCT ON (f.meter) f.* FROM mart.meter_fit AS f
  WHERE f.month >= (SELECT max(month) FROM mart.meter_fit) - 62 ORDER BY f.meter, f.month DESC)"""

CLASSES = f"""SELECT {{fit}} AS fit_class, count(*) AS meters
FROM {NEWEST} AS f
GROUP BY f.fit_class
ORDER BY meters DESC, f.fit_class"""

LIST = f"""WITH best AS (
  SELECT DISTINCT ON (r.meter) r.meter, r.candidate, {{words}} AS candidate_words, r.saving_m3_year,
    r.saving_cny_year, r.payback_years
  FROM mart.meter_resize AS r
  WHERE r.passes
  ORDER BY r.meter, r.payback_years NULLS LAST, r.saving_m3_year DESC NULLS LAST, r.candidate
), listed AS (
  SELECT coalesce(m.customer_name, f.meter) AS customer_name, f.meter, f.fit_class, f.dn_mm, f.running_below_q2, f.utilisation,
    b.candidate_words, b.saving_m3_year, b.saving_cny_year, b.payback_years, s.state AS change_state, b.candidate,
    left(CAST(f.month AS text), 7) AS month
  FROM {NEWEST} AS f
  JOIN mart.meter AS m ON m.meter = f.meter
  LEFT JOIN best AS b ON b.meter = f.meter
  LEFT JOIN (
    SELECT DISTINCT ON (meter) meter, state FROM ops.meter_change ORDER BY meter, change_id DESC
  ) AS s ON s.meter = f.meter
  WHERE f.fit_class IN ('over', 'under', 'not_resolvable') OR s.state IS NOT NULL
)
SELECT '' AS customer_name, NULL AS meter, NULL AS fit_class, CAST(NULL AS double precision) AS running_below_q2,
  NULL AS candidate_words, sum(saving_m3_year) AS saving_m3_year, sum(saving_cny_year) AS saving_cny_year,
  CAST(NULL AS double precision) AS payback_years, NULL AS change_state, NULL AS candidate, NULL AS month
FROM listed
HAVING count(*) > 0
UNION ALL
(SELECT customer_name, meter, fit_class, running_below_q2, candidate_words, saving_m3_year, saving_cny_year,
  payback_years, change_state, candidate, month
FROM listed
ORDER BY saving_cny_year DESC NULLS LAST, fit_class, meter)"""

STATES = {
    "proposed": Word("已提议", "proposed"),
    "approved": Word("已批准", "approved"),
    "rejected": Word("已否决", "rejected"),
    "done": Word("已更换", "done"),
}


def board() -> Json:
    """The dashboard JSON."""
    fit = "CASE f.fit_class " + " ".join(f"WHEN '{code}' THEN '{word}'" for code, word in FITS.items()) + " ELSE f.fit_class END"
    value = table(
        words(
            "效益汇总",
            "What it is worth",
            "一年的水量与金额，按判据中的水价；「换表后多计」为已实现的量。",
            "Volume and amount of a year at the price of the criteria; the line of replacements is what has come true.",
        ),
        VALUE.format(name=in_words("name")),
        {
            "name_words": {"custom__width": 264},
            "points": {},
            "volume_m3_year": {},
            "amount_cny_year": {},
        },
    )
    classes = bars(
        words("匹配结论", "Fit of all meters", "每块水表最近的结论。", "The newest verdict on each meter."),
        CLASSES.format(fit=fit),
        "fit_class",
        "meters",
        horizontal=True,
    )
    listed = table(
        words(
            "大表小流量与待换水表",
            "Meters that do not fit",
            "候选为回收期最短且通过校核的水表；点击客户看流量特性，点击「候选」到工作台提议、批准、登记更换。合计为各表最佳候选之和。",
            "Candidate: the one that pays back soonest. Click a customer for the characteristic, a candidate for the desk.",
        ),
        LIST.format(words=candidate_words("r")),
        {
            "customer_name": total_first(
                **to("flow-characteristic", Word("看流量特性", "See its characteristic"), meter="meter", month="month"),
                custom__width=170,
            ),
            "meter": {
                "custom__width": 72,
                "noValue": " ",
                **to("flow-characteristic", Word("看流量特性", "See its characteristic"), meter="meter"),
            },
            "fit_class": coloured(
                mappings=mapping(FITS, {"over": style.WARN, "under": style.BAD}), noValue=" ", custom__width=106
            ),
            "running_below_q2": {"noValue": " "},
            "candidate_words": {**to_change(), "custom__width": 200, "noValue": " "},
            "saving_m3_year": {},
            "saving_cny_year": {},
            "payback_years": {"noValue": " "},
            "change_state": {"mappings": mapping(STATES), "noValue": " "},
            **hidden("candidate month"),
        },
        pages=True,
        empty=Word("没有不匹配的水表", "every meter fits"),
    )
    return dashboard(__name__, [row(8, (14, value), (10, classes)), row(14, listed)], since="now-30d", refresh="15m")
