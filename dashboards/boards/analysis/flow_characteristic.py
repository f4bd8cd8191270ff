"""Whether a meter fits its flows, what another one would do, and what the last replacement did."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, replacements, row, section
from dashboards.links import to, to_change, to_frames, to_maintain
from dashboards.panels.charts import bars, curves, over
from dashboards.panels.core import fixed, mapping
from dashboards.panels.tables import coloured, hidden, plain, table
from dashboards.variables import METER, THE_MONTH, candidate, candidate_words, meter, month, step
from dashboards.vocabulary import ANSWERS, FITS, FLOW_ZONES, Word, in_words, words

TITLE = Word("流量特性", "Flow characteristic")
MORE = Word(
    "流量与水表 Q1–Q4 的匹配、模拟换表与换表前后。", "Flows against Q1 to Q4, another meter simulated, before and after a change."
)

CANDIDATE = "${candidate:sqlstring}"

FLOWS = f"""SELECT c.ends_at AS "time", c.flow_m3h, m.q1_m3h, m.q2_m3h, m.q3_m3h, m.q4_m3h
FROM mart.curve({METER}, $__timeFrom(), $__timeTo()) AS c
JOIN mart.meter AS m ON m.meter = {METER}
ORDER BY c.ends_at"""

DURATION = f"""SELECT d.time_share, d.flow_m3h, f.q1_m3h, f.q2_m3h, f.q3_m3h, f.q4_m3h
FROM mart.flow_duration({METER}, {THE_MONTH}) AS d
JOIN mart.meter_fit AS f ON f.meter = {METER} AND f.month = {THE_MONTH}
ORDER BY d.time_share"""

BOTH = f"""SELECT f.side, f.dn_mm, f.q2_m3h, f.q3_m3h, f.below_q2, f.volume_below_q1,
  f.weighted_error_pct, f.head_room, f.covers_peak
FROM mart.candidate_fit({METER}, {THE_MONTH}, {CANDIDATE}) AS f
ORDER BY f.side"""

RESIZE = """SELECT {words} AS candidate_words, r.passes, r.reason, r.saving_m3_year, r.saving_cny_year, r.payback_years,
  r.error_then_pct, r.below_q2_then, r.head_room, r.candidate, r.meter
FROM mart.meter_resize AS r
WHERE r.meter = {meter}
ORDER BY r.passes DESC, r.payback_years NULLS LAST, r.saving_m3_year DESC NULLS LAST, r.candidate"""

EFFECT = f"""SELECT CAST(e.replaced_on AS text) AS replaced_on, e.side, e.dn_mm, e.days_complete, e.volume_day_m3,
  e.volume_below_q1, e.volume_below_q2, e.time_above_q3, e.realised_m3_year, e.meter
FROM mart.replacement_effect AS e
WHERE e.meter = {METER}
ORDER BY e.replaced_on DESC, e.side DESC"""

CRITERIA = """SELECT {name}, c.name, concat_ws(' ', trim_scale(CAST(c.value AS numeric)), c.value_unit) AS value,
  CAST(nullif(c.valid_from, '0001-01-01') AS text) AS valid_from
FROM mart.criterion AS c
WHERE c.name LIKE 'fit.%' AND c.valid_from <= CAST($__timeTo() AS timestamptz)
  AND (c.valid_to IS NULL OR c.valid_to > CAST($__timeTo() AS timestamptz))
ORDER BY c.name"""

REASONS = {
    "peak_above_q3": Word("峰值超 Q3", "peak above Q3"),
    "pressure": Word("压力不足", "pressure too low"),
    "no_gain": Word("无增计", "no gain"),
    "present": Word("现用水表", "present meter"),
}
SIDES = {"now": Word("现用水表", "present meter"), "then": Word("候选水表", "candidate")}
TIMES = {"before": Word("换表前", "before"), "after": Word("换表后", "after")}


def conclusion() -> str:
    """SQL of the conclusion on the chosen month's window."""
    return f"""SELECT fit_class, {in_words("conclusion")}
FROM mart.meter_fit
WHERE meter = {METER} AND month = {THE_MONTH}"""


def by_zone(what: str) -> str:
    """SQL of the shares of time or volume in each zone, of the present meter and of the candidate."""
    zones = [zone for zone in FLOW_ZONES if (what, zone) != ("volume", "zero")]
    rows = ",\n  ".join(f"({place}, '{FLOW_ZONES[zone]}', f.{what}_{zone})" for place, zone in enumerate(zones))
    return f"""SELECT z.zone_words, max(z.share) FILTER (WHERE f.side = 'now') AS share_now,
  max(z.share) FILTER (WHERE f.side = 'then') AS share_then
FROM mart.candidate_fit({METER}, {THE_MONTH}, {CANDIDATE}) AS f
CROSS JOIN LATERAL (VALUES
  {rows}
) AS z (place, zone_words, share)
GROUP BY z.place, z.zone_words
ORDER BY z.place"""


def beside_change(side: str) -> str:
    """SQL of the days before or after the newest change of the meter's size."""
    days = {"before": "e.replaced_on - 30 AND e.replaced_on - 1", "after": "e.replaced_on + 1 AND e.replaced_on + 30"}[side]
    return f"""SELECT to_char(u.day, 'MM-DD') AS day, u.flow_mean_m3h, u.flow_max_m3h
FROM (SELECT max(replaced_on) AS replaced_on FROM mart.replacement_effect WHERE meter = {METER}) AS e
JOIN mart.daily_usage AS u ON u.meter = {METER} AND u.day BETWEEN {days}
ORDER BY u.day"""


def q_lines() -> dict[str, Json]:
    """The flow rates of the meter as lines."""
    colours = {"q1_m3h": "#8E8E8E", "q2_m3h": style.WARN, "q3_m3h": "#B877D9", "q4_m3h": style.BAD}
    dashed: Json = {"custom__lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom__fillOpacity": 0}
    return {name: {**fixed(colour), **dashed} for name, colour in colours.items()}


def board() -> Json:
    """The dashboard JSON."""
    log: Json = {
        "custom__scaleDistribution": {"type": "symlog", "log": 10, "linearThreshold": 0.1},
        "mappings": mapping({"-0.1": Word(" ", " ")}),
    }
    flow: Json = {**fixed(style.FLOW), "custom__fillOpacity": 12}
    scaled = {name: {**look, **log} for name, look in q_lines().items()}
    flows = curves(
        words(
            "流量曲线与 Q1–Q4（$step）",
            "Flow and Q1 to Q4 ($step)",
            "对数刻度；虚线为铭牌流量。流量长期低于 Q2 分界流量时计量不准，低于 Q1 最小流量时可能漏计。",
            "On a logarithmic scale; dashed: the rates of the nameplate. Below Q2 a meter is inexact, below Q1 it may miss all.",
        ),
        FLOWS,
        {"flow_m3h": {**flow, **log, **to_frames()}, **scaled},
        joined_gap_ms=thresholds.LONGEST_JOINED_GAP_MS,
        step=True,
        from_zero=True,
        legend=(),
    )
    duration = over(
        words(
            "历时曲线",
            "Duration curve",
            "流量不低于该值的时间占比，取选表分析的窗口（最多 12 个月，止于所选月份）。",
            "Share of the time in which the flow is at least this, over the months of the analysis up to the chosen one.",
        ),
        DURATION,
        "time_share",
        {"flow_m3h": {**flow, **log}, **scaled},
    )
    verdict = table(
        words(
            "结论",
            "Conclusion",
            "止于所选月份的窗口；判据见设置 fit.*。",
            "Over the months up to the chosen one, by the criteria fit.*.",
        ),
        conclusion(),
        {
            "fit_class": {**coloured(mappings=mapping(FITS, {"over": style.WARN, "under": style.BAD})), "custom__width": 110},
            "conclusion_words": {"custom__wrapText": True, "custom__cellOptions": {"type": "auto", "wrapText": True}},
        },
        empty=Word("所选月份没有选表分析", "no analysis of the chosen month"),
    )
    now_then = {"share_now": fixed(style.FORMER), "share_then": fixed(style.FLOW)}
    times = bars(
        words(
            "时间占比：现用与候选",
            "Shares of the time",
            "各流量区间的时间占比，合计 100%。",
            "By zone of flow; they add up to 100 %.",
        ),
        by_zone("time"),
        "zone_words",
        now_then,
        horizontal=True,
    )
    volumes = bars(
        words(
            "水量占比：现用与候选",
            "Shares of the volume",
            "各流量区间的水量占比，合计 100%。",
            "By zone of flow; they add up to 100 %.",
        ),
        by_zone("volume"),
        "zone_words",
        now_then,
        horizontal=True,
    )
    both = table(
        words(
            "模拟换表",
            "Another meter simulated",
            "同一流量过程；加权误差按默认误差曲线估计。峰值裕量为 Q3 与窗口最大流量之比。",
            "The same flows; the weighted error is that of the default curve. Head-room: Q3 over the highest flow.",
        ),
        BOTH,
        {
            "side": {"mappings": mapping(SIDES), "custom__minWidth": 110},
            "dn_mm": {},
            "q2_m3h": {"custom__minWidth": 90},
            "q3_m3h": {"custom__minWidth": 90},
            "below_q2": {},
            "volume_below_q1": {},
            "weighted_error_pct": {},
            "head_room": {},
            "covers_peak": coloured(mappings=mapping(ANSWERS, {"true": style.NEUTRAL, "false": style.BAD})),
        },
        empty=Word("没有数据", "nothing to simulate"),
    )
    resize = table(
        words(
            "候选水表",
            "Candidates",
            "只对偏大或偏小的水表计算；未通过者列明原因。点击候选水表更换上方模拟，点击「通过」到工作台提议。",
            "Of meters that are too large or too small; why one does not pass. Click a candidate to simulate it above.",
        ),
        RESIZE.format(words=candidate_words("r"), meter=METER),
        {
            "candidate_words": {
                **to("flow-characteristic", Word("模拟此表", "Simulate it"), keep="meter month", candidate="candidate"),
                "custom__width": 204,
            },
            "passes": {"mappings": mapping(ANSWERS), **to_change(), "custom__width": 66},
            "reason": {"mappings": mapping(REASONS), "custom__width": 106},
            "saving_m3_year": {},
            "saving_cny_year": {},
            "payback_years": {},
            "error_then_pct": {},
            "below_q2_then": {},
            "head_room": {},
            **hidden("candidate meter"),
        },
        pages=True,
        empty=Word("水表合适，无需换表", "the meter fits: no candidate is needed"),
    )
    effect = table(
        words(
            "换表前后",
            "Before and after a replacement",
            "口径变更前后各最多 90 天，不含换表当日；各按当时的 Q1–Q4。",
            "Up to 90 days to either side, without the day of the change, each by the sizes of its own time.",
        ),
        EFFECT,
        {
            "replaced_on": {**to_change(), "custom__width": 110},
            "side": {"mappings": mapping(TIMES)},
            "dn_mm": {},
            "days_complete": {},
            "volume_day_m3": {},
            "volume_below_q1": {},
            "volume_below_q2": {},
            "time_above_q3": {},
            "realised_m3_year": {"custom__minWidth": 90},
            **hidden("meter"),
        },
        empty=Word("此表没有更换过口径", "the size of this meter has not been changed"),
    )
    criteria = table(
        words(
            "判据",
            "Criteria",
            "企业自己的标准及其起始日（registry/criteria.csv）；改动后结论自动重算。",
            "The utility's own, and since when (registry/criteria.csv); verdicts are made anew after a change.",
        ),
        CRITERIA.format(name=in_words("c.name")),
        {
            "name_words": {"displayName": str(Word("含义", "Meaning")), "custom__width": 470},
            "name": to_maintain(),
            **plain("value valid_from"),
        },
    )
    sides = [
        bars(
            words(
                f"{word.zh} 30 天流量", f"Flow of 30 days {word.en}", "日平均与日最大流量。", "Mean and highest flow of each day."
            ),
            beside_change(side),
            "day",
            {"flow_mean_m3h": fixed(style.FLOW), "flow_max_m3h": fixed(style.FORMER)},
        )
        for side, word in TIMES.items()
    ]
    return dashboard(
        __name__,
        [
            row(4, verdict),
            row(10, (14, flows), (10, duration)),
            row(8, times, volumes),
            row(5, both),
            row(9, resize),
            section(Word("换表前后", "Before and after a replacement"), row(6, effect), row(8, *sides), folded=True),
            section(Word("判据", "Criteria"), row(13, criteria), folded=True),
        ],
        [meter(), month(), candidate(), step()],
        since="now-7d",
        annotations=[replacements()],
        refresh="15m",
    )
