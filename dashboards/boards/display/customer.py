"""One customer in whole: how it is now, its meters and their sum, curves, comparison, alarms, quality, bills and card."""

from dashboards import Json, of_meter, style, thresholds
from dashboards.board import Row, dashboard, days_off, row, section
from dashboards.links import to, to_meter
from dashboards.panels.charts import bars, curves, many_curves
from dashboards.panels.core import fixed, mapping
from dashboards.panels.tables import coloured, hidden, plain, table, total_first
from dashboards.panels.tiles import some
from dashboards.variables import CUSTOMER, FROM_DAY, OWN_METER, TO_DAY, TODAY, customer, day, latest_of, month, own_meter
from dashboards.vocabulary import (
    ALL,
    BILL_KINDS,
    CHARGES,
    METER_SOURCES,
    NOT_MEASURED,
    READ_STATES,
    REASONS,
    SO_FAR,
    SOURCES,
    TIMINGS,
    Word,
    in_words,
    language,
    words,
)

TITLE = Word("客户监测", "Customer")
MORE = Word("一个客户的供水全过程：现状、水表、曲线、报警、账单。", "One customer in whole: now, meters, curves, alarms, bills.")

ITS_METERS = f"(SELECT m.meter FROM mart.meter AS m WHERE m.customer_no = {CUSTOMER})"
"""The meters that the customer has now."""

SOURCE = f"""SELECT coalesce(max(m.source) FILTER (WHERE m.source <> 'manual'), max(m.source))
  FROM mart.meter AS m WHERE m.customer_no = {CUSTOMER}"""

METERS = f"""WITH found AS (
  SELECT m.meter, m.source, m.dn_mm, s.reading_at, s.pressure_mpa, s.flow_m3h, s.register_m3, s.today_m3, s.month_m3,
    (SELECT count(*) FROM ops.alarm AS a WHERE a.meter = m.meter AND a.cleared_at IS NULL AND a.retracted_at IS NULL) AS alarms
  FROM mart.meter AS m
  LEFT JOIN {latest_of("m.meter")} AS s ON true
  WHERE m.customer_no = {CUSTOMER})
SELECT '' AS meter, NULL AS source, max(reading_at) AS reading_at, CAST(NULL AS double precision) AS pressure_mpa,
  sum(flow_m3h) AS flow_m3h,
  CAST(NULL AS double precision) AS register_m3, sum(today_m3) AS today_m3, sum(month_m3) AS month_m3, sum(alarms) AS alarms
FROM found
HAVING count(*) > 0
UNION ALL
(SELECT meter, source, reading_at, pressure_mpa, flow_m3h, register_m3, today_m3, month_m3,
  alarms FROM found ORDER BY found.meter)"""

CURVE = f"""SELECT c.ends_at AS "time", c.flow_m3h
FROM mart.customer_curve({CUSTOMER}, $__timeFrom(), $__timeTo()) AS c
ORDER BY c.ends_at"""

DAYS = f"""SELECT to_char(v.period, 'MM-DD') AS period, {of_meter.partly("v.volume_m3", "v.complete")}
FROM mart.customer_usage AS v
WHERE v.customer_no = {CUSTOMER} AND v.grain = 'day' AND v.period BETWEEN {TO_DAY} - 30 AND {TO_DAY}
ORDER BY v.period"""

MONTHS = f"""SELECT to_char(v.period, 'YYYY-MM') AS period, {of_meter.partly("v.volume_m3", "v.complete")}
FROM mart.customer_usage AS v
WHERE v.customer_no = {CUSTOMER} AND v.grain = 'month' AND v.period BETWEEN {TO_DAY} - 760 AND {TO_DAY}
ORDER BY v.period"""

BILLS = f"""SELECT to_char(b.account_month, 'YYYY-MM') AS account_month, b.bill_no, b.meter, b.billed_m3, b.amount, b.received,
  b.outstanding,
  CAST(b.due_on AS text) AS due_on, CASE WHEN b.estimated THEN 'estimated' ELSE b.state END AS state
FROM mart.bill AS b
WHERE b.customer_no = {CUSTOMER}
ORDER BY b.account_month DESC, b.bill_no DESC
LIMIT {thresholds.ALARM_ROWS}"""

PAYMENTS = f"""SELECT CAST(p.paid_on AS text) AS paid_on, p.amount, p.charge_kind, p.bill_no,
  p.timing
FROM mart.payment AS p
WHERE p.customer_no = {CUSTOMER}
ORDER BY p.paid_on DESC, p.payment_id DESC
LIMIT {thresholds.ALARM_ROWS}"""

READS = f"""SELECT to_char(r.month, 'YYYY-MM') AS month, r.meter, r.state AS read_state, r.read_at, r.register_m3
FROM mart.meter_month AS r
WHERE r.customer_no = {CUSTOMER}
ORDER BY r.month DESC, r.meter
LIMIT {thresholds.ALARM_ROWS}"""

WHY = f"""SELECT j.reason, j.value, j.limit_value, CAST(j.valid_from AS date) || '' AS reason_from
FROM mart.major_customer AS j
WHERE j.customer_no = {CUSTOMER} AND j.valid_to IS NULL
ORDER BY j.reason"""

TERMINALS = f"""SELECT h.meter, h.valid_from, h.valid_to, h.terminal, h.source, h.dn_mm
FROM mart.meter_history AS h
WHERE h.customer_no = {CUSTOMER}
ORDER BY h.meter, h.valid_from DESC NULLS LAST"""


def compared() -> str:
    """SQL of the newest 13 months against the month before and a year ago; the running month against the same days."""
    return f"""SELECT to_char(c.period, 'YYYY-MM') || CASE WHEN c.elapsed_part THEN '{SO_FAR}' ELSE '' END AS period,
  c.volume_m3, c.previous_m3, c.change_pct, c.last_year_m3, c.yoy_pct, c.coverage, to_char(c.period, 'YYYY-MM') AS month
FROM mart.customer_comparison({CUSTOMER}, {TODAY}) AS c
WHERE coalesce(c.volume_m3, c.previous_m3, c.last_year_m3) IS NOT NULL
ORDER BY c.period DESC"""


def card_rows() -> str:
    """SQL of the customer's card; industry and region in the language of the board."""
    named = f"""(SELECT r.name_{language()} FROM mart.relation AS r WHERE r.kind = '{{kind}}' AND r.code = c.{{kind}} LIMIT 1)"""
    return f"""SELECT c.customer_no, c.name, coalesce({named.format(kind="industry")}, c.industry_name) AS industry_name,
  coalesce({named.format(kind="region")}, c.region_name) AS region_name, c.address, c.meters, c.meters_manual, c.source
FROM mart.customer AS c
WHERE c.customer_no = {CUSTOMER}"""


def fits() -> str:
    """SQL of the newest conclusion about each meter."""
    return f"""SELECT f.meter, f.conclusion_words
FROM (SELECT meter, {in_words("conclusion")}, row_number() OVER (PARTITION BY meter ORDER BY month DESC) AS place
  FROM mart.meter_fit WHERE meter IN {ITS_METERS}) AS f
WHERE f.place = 1
ORDER BY f.meter"""


def board() -> Json:
    """The dashboard JSON."""
    alarm = f"a.meter IN {ITS_METERS}"
    return dashboard(
        __name__,
        [
            of_meter.head("null", CUSTOMER, alarm, SOURCE),
            row(6, meters()),
            row(9, *curve()),
            row(8, *volumes()),
            section(
                Word("系数（水表 $own_meter）", "Coefficients (meter $own_meter)"), *of_meter.coefficients(OWN_METER), folded=True
            ),
            section(Word("月用水量对比", "Months compared"), row(11, comparison()), folded=True),
            section(Word("报警", "Alarms"), row(8, of_meter.alarms(alarm))),
            section(Word("账单、缴费与抄表", "Bills, payments and reads"), *money(), folded=True),
            section(
                Word("数据质量与流量特性", "Data quality and meter fit"),
                row(6, of_meter.quality(f"m.customer_no = {CUSTOMER}", FROM_DAY, TO_DAY)),
                row(6, fit()),
                folded=True,
            ),
            section(Word("客户资料与水表沿革", "Card and history"), *card(), folded=True),
        ],
        [customer(), own_meter(), month(), day()],
        since="now-7d",
        annotations=[days_off()],
    )


def to_info() -> Json:
    """The property of a column whose cells lead to what billing has of the customer."""
    return to("customer-info", Word("看客户信息", "See what billing has"), keep="customer_no")


def meters() -> Json:
    """The customer's meters with their sum on top."""
    return table(
        words(
            "水表与合计",
            "Meters and their sum",
            "本客户现有的每块水表与合计；人工抄表的水表流量与压力未测。点击水表看表计详情。",
            "Each meter that the customer has now, the sum on top; one that is read by hand has no flow. A meter leads on.",
        ),
        METERS,
        {
            "meter": total_first(custom__minWidth=90, **to_meter()),
            "source": {"mappings": mapping(METER_SOURCES), "custom__width": 120, "noValue": " "},
            "reading_at": {"custom__width": 140},
            "pressure_mpa": {"custom__width": 100},
            "flow_m3h": {"custom__width": 100},
            "register_m3": {"custom__width": 126},
            "today_m3": {"custom__width": 116},
            "month_m3": {"custom__width": 116},
            "alarms": coloured(some(style.BAD), custom__width=96),
        },
    )


def curve() -> list[tuple[int, Json]]:
    """The customer's flow by the hour, and each meter's pressure."""
    total = curves(
        words(
            "客户用水流量（各表之和，每小时）",
            "Flow of the customer (sum of its meters, hourly)",
            "每小时各表水量之和；有一块表缺数的小时不画。灰底为休息日。",
            "Sum of its meters by the hour; an hour in which one is not known stays open. Grey: days off.",
        ),
        CURVE,
        {"flow_m3h": {**fixed(style.FLOW), "custom__fillOpacity": 12}},
        joined_gap_ms=of_meter.GAP,
        step=True,
        from_zero=True,
        empty=NOT_MEASURED,
    )
    pressures = many_curves(
        words("各表压力", "Pressure by meter", "本客户各水表的压力。", "Pressure of each of the customer's meters."),
        f"""SELECT c.ends_at AS "time", m.meter AS metric, c.pressure_mpa
FROM mart.meter AS m
CROSS JOIN LATERAL mart.curve(m.meter, $__timeFrom(), $__timeTo()) AS c
WHERE m.customer_no = {CUSTOMER}
ORDER BY c.ends_at""",
        "pressure_mpa",
        joined_gap_ms=of_meter.GAP,
        empty=NOT_MEASURED,
    )
    return [(14, total), (10, pressures)]


def volumes() -> list[Json]:
    """Bars of the newest days and months."""
    grey = ("灰色为不完整，只计已知部分。", "grey: not complete, what is known of it.")
    by_day = bars(
        words(
            "日用水量", "By day", f"至时间范围末的 31 天；{grey[0]}", f"The 31 days up to the end of the time range; {grey[1]}"
        ),
        DAYS,
        "period",
        of_meter.PARTLY,
        stacked=True,
        empty=NOT_MEASURED,
    )
    by_month = bars(
        words("月用水量", "By month", f"至时间范围末的 25 个月；{grey[0]}", f"The 25 months up to its end; {grey[1]}"),
        MONTHS,
        "period",
        of_meter.PARTLY,
        stacked=True,
        empty=NOT_MEASURED,
    )
    return [by_day, by_month]


def comparison() -> Json:
    """Months against those before."""
    return table(
        words(
            "月用水量环比、同比",
            "Months compared",
            "各表之和，与上月、去年同月比；未完的月与同样天数比。覆盖率不足 100% 的月标色。",
            "Sum of its meters, against the month before and a year ago; a month that is not over against the same days.",
        ),
        compared(),
        {
            "period": {"custom__minWidth": 124, **of_meter.to_month("customer_no")},
            **plain("volume_m3 previous_m3 change_pct last_year_m3 yoy_pct"),
            "coverage": of_meter.COVERED,
            **hidden("month"),
        },
        pages=True,
        empty=NOT_MEASURED,
    )


def money() -> list[Row]:
    """Bills, payments and reads."""
    bills = table(
        words("账单", "Bills", "最新在前；含作废与红冲。", "Newest first, cancelled ones and credit notes included."),
        BILLS,
        {
            "account_month": {"custom__minWidth": 84},
            "bill_no": {"custom__width": 110},
            "meter": {"custom__width": 80, **to_meter()},
            "billed_m3": {"custom__width": 120},
            **{name: {"custom__width": 120} for name in ("amount", "received")},
            "outstanding": coloured(some(style.WARN), custom__width=120),
            "due_on": {"custom__width": 104},
            "state": coloured(
                mappings=mapping({**BILL_KINDS, "estimated": READ_STATES["estimated"]}, {"estimated": style.WARN}),
                custom__width=100,
            ),
        },
        pages=True,
        empty=Word("没有账单", "No bill"),
    )
    payments = table(
        words("缴费", "Payments", "最新在前。", "Newest first."),
        PAYMENTS,
        {
            "paid_on": {"custom__minWidth": 92},
            "amount": {"custom__width": 100},
            "charge_kind": {"mappings": mapping(CHARGES), "custom__width": 82, "noValue": str(ALL)},
            "bill_no": {"custom__width": 92, **to_info()},
            "timing": {"mappings": mapping(TIMINGS), "custom__width": 108},
        },
        pages=True,
        empty=Word("没有缴费", "No payment"),
    )
    reads = table(
        words("抄表", "Reads", "每月每表最近一次抄表。", "The last read of each meter and month."),
        READS,
        {
            "month": {"custom__minWidth": 76},
            "meter": {"custom__width": 66, **to_meter()},
            "read_state": coloured(
                mappings=mapping(READ_STATES, {"estimated": style.WARN, "unread": style.BAD}), custom__width=80
            ),
            "read_at": {"custom__width": 136},
            "register_m3": {"custom__width": 110},
        },
        pages=True,
        empty=Word("没有抄表", "No read"),
    )
    return [row(11, bills), row(11, payments, reads)]


def fit() -> Json:
    """The newest conclusion about each meter."""
    return table(
        words("流量特性结论", "Meter fit", "每块水表最近一个统计月的结论。", "Conclusion of the newest month of each meter."),
        fits(),
        {
            "meter": {
                "custom__width": 80,
                **to("flow-characteristic", Word("流量特性", "Flow characteristic"), meter="meter"),
            },
            "conclusion_words": {"custom__wrapText": True},
        },
        empty=Word("无流量特性（未测）", "No characteristic: not measured"),
    )


def card() -> list[Row]:
    """Who the customer is, why it is a major one, and what has measured it."""
    who = table(
        words("客户资料", "Card", "营收系统中的客户资料，营收没有的取自登记表。", "As billing has it, else the registry."),
        card_rows(),
        {
            "name": {"custom__minWidth": 160, **to_info()},
            "customer_no": {"custom__width": 90},
            "industry_name": {"custom__width": 120},
            "region_name": {"custom__width": 90},
            "address": {"custom__minWidth": 150},
            "meters": {"custom__width": 80},
            "meters_manual": {"custom__width": 104},
            "source": {"mappings": mapping(SOURCES), "custom__width": 96},
        },
    )
    why = table(
        words("大客户认定", "Why a major customer", "现在成立的认定依据。", "The reasons that hold now."),
        WHY,
        {"reason": {"mappings": mapping(REASONS), **to_info()}, **plain("value limit_value reason_from")},
        empty=Word("不是大客户", "Not a major customer"),
    )
    history = table(
        words(
            "水表沿革",
            "History of its meters",
            "何时由哪台终端计量；空为不限。",
            "Which terminal measured and when; empty: unbounded.",
        ),
        TERMINALS,
        {
            "meter": {"custom__minWidth": 70, **to_meter()},
            "valid_from": {"custom__width": 134},
            "valid_to": {"custom__width": 134},
            "terminal": {"custom__width": 106},
            "source": {"mappings": mapping(METER_SOURCES), "custom__width": 108},
            "dn_mm": {"custom__width": 56},
        },
        pages=True,
    )
    return [row(4, who), row(8, (9, why), (15, history))]
