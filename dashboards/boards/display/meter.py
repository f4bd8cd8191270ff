"""One meter: how it is now, its curves, coefficients, comparisons, peaks, alarms, quality, and its card with history."""

from dashboards import Json, of_meter
from dashboards.board import Row, dashboard, row, section
from dashboards.links import to, to_customer
from dashboards.panels.core import mapping
from dashboards.panels.tables import hidden, plain, table
from dashboards.variables import FROM_DAY, METER, TO_DAY, day, meter, month, step
from dashboards.vocabulary import METER_SOURCES, TECHNOLOGIES, Word, in_words, words

TITLE = Word("表计详情", "Meter")
MORE = Word("一块水表的曲线、系数、对比与资料。", "Curves, coefficients, comparisons and card of one meter.")

SOURCE = f"SELECT m.source FROM mart.meter AS m WHERE m.meter = {METER}"

CARD = f"""SELECT m.customer_name, m.meter, m.dn_mm, m.technology, m.book_no, CAST(m.installed_on AS text) AS installed_on,
  CAST(v.due_on AS text) AS due_on, m.elevation_m, m.customer_no
FROM mart.meter AS m
LEFT JOIN mart.verification_due AS v ON v.meter = m.meter
WHERE m.meter = {METER}"""

SIZES = f"""SELECT m.q1_m3h, m.q2_m3h, m.q3_m3h, m.q4_m3h, m.resolution_m3, m.step_min, m.pressure_low_mpa, m.pressure_high_mpa
FROM mart.meter AS m
WHERE m.meter = {METER}"""

HISTORY = f"""SELECT h.valid_from, h.valid_to, h.terminal, h.source, h.customer_name, h.dn_mm, h.q3_m3h, h.step_min, h.customer_no
FROM mart.meter_history AS h
WHERE h.meter = {METER}
ORDER BY h.valid_from DESC NULLS LAST"""

FIT = """SELECT f.conclusion_words, f.month, f.meter
FROM (SELECT meter, to_char(month, 'YYYY-MM') AS month, {conclusion}, row_number() OVER (ORDER BY month DESC) AS place
  FROM mart.meter_fit WHERE meter = {meter}) AS f
WHERE f.place = 1"""


def board() -> Json:
    """The dashboard JSON."""
    return dashboard(
        __name__,
        [
            of_meter.head(METER, "null", f"a.meter = {METER}", SOURCE),
            row(10, of_meter.flow_pressure()),
            row(7, of_meter.register()),
            section(Word("时差系数与日差系数", "Coefficients"), *of_meter.coefficients()),
            section(Word("环比、同比", "Comparisons"), *of_meter.comparison(), folded=True),
            section(Word("峰谷值", "Peaks and valleys"), row(9, *of_meter.peaks("'day'")), folded=True),
            section(
                Word("报警与数据质量", "Alarms and data quality"),
                row(8, of_meter.alarms(f"a.meter = {METER}")),
                row(5, of_meter.quality(f"m.meter = {METER}", FROM_DAY, TO_DAY)),
                folded=True,
            ),
            section(Word("表卡与沿革", "Card and history"), *card()),
        ],
        [meter(), month(), day(), step()],
        since="now-7d",
        annotations=of_meter.curve_marks(),
    )


def card() -> list[Row]:
    """The meter as it is now, and as it was before."""
    now = table(
        words("表卡", "Meter card", "水表与客户的资料；点击客户看客户监测。", "Card of the meter; its customer leads on."),
        CARD,
        {
            "customer_name": {"custom__minWidth": 150, **to_customer()},
            "meter": {"custom__width": 80},
            "dn_mm": {"custom__width": 90},
            "technology": {"mappings": mapping(TECHNOLOGIES), "custom__width": 134},
            "book_no": {"custom__width": 80},
            **{name: {"custom__width": 110} for name in ("installed_on", "due_on")},
            "elevation_m": {"custom__width": 90},
            **hidden("customer_no"),
        },
    )
    sizes = table(
        words(
            "计量特性", "Sizes", "Q1 至 Q4、分辨力、采集间隔与压力限值。", "Q1 to Q4, resolution, step and limits of pressure."
        ),
        SIZES,
        {
            "q1_m3h": to("flow-characteristic", Word("看流量特性", "See the flow characteristic"), keep="meter"),
            **plain("q2_m3h q3_m3h q4_m3h resolution_m3 step_min pressure_low_mpa pressure_high_mpa"),
        },
    )
    fit = table(
        words(
            "流量特性结论",
            "Meter fit",
            "最近一个统计月的结论；点击看流量特性。",
            "Conclusion of the newest month; it leads to the characteristic.",
        ),
        FIT.format(conclusion=in_words("conclusion"), meter=METER),
        {
            "conclusion_words": {
                "custom__wrapText": True,
                **to("flow-characteristic", Word("流量特性", "Flow characteristic"), meter="meter"),
            },
            **hidden("month meter"),
        },
        empty=Word("无流量特性（未测）", "No characteristic: not measured"),
    )
    before = table(
        words(
            "换表沿革",
            "History",
            "何时由哪台终端为哪个客户计量；空为不限。",
            "Which terminal measured for which customer and when; empty: unbounded.",
        ),
        HISTORY,
        {
            "valid_from": {"custom__width": 140},
            "valid_to": {"custom__width": 140},
            "terminal": {"custom__width": 116},
            "source": {"mappings": mapping(METER_SOURCES), "custom__width": 110},
            "customer_name": {"custom__minWidth": 150, **to_customer()},
            **{name: {"custom__width": 92} for name in ("dn_mm", "q3_m3h", "step_min")},
            **hidden("customer_no"),
        },
    )
    return [row(4, now), row(6, (15, sizes), (9, fit)), row(6, before)]
