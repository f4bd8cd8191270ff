"""The words that boards and alerts share, Chinese and English, and how words are written in the language of the site.

Not here: words and units of a table's columns and of alarm codes (the headers in `sql/`), a board's own words (its file), limits
(`thresholds.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from dashboards.headers import SQL, read

LANGUAGES = ("zh", "en")

_SPOKEN: ContextVar[str] = ContextVar("language", default="zh")


@contextmanager
def spoken(language: str) -> Iterator[None]:
    """Within the block words are of this language. Raises `ValueError` for one that is not in `LANGUAGES`."""
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}: allowed: {', '.join(LANGUAGES)}")
    before = _SPOKEN.set(language)
    try:
        yield
    finally:
        _SPOKEN.reset(before)


class Word(NamedTuple):
    """One expression in both languages; as text that of the language in which boards are made (`spoken`)."""

    zh: str
    en: str

    def __str__(self) -> str:
        return self.en if _SPOKEN.get() == "en" else self.zh


def language() -> str:
    """The language in which boards are made: `zh` or `en`."""
    return _SPOKEN.get()


def in_words(code: str) -> str:
    """SQL of the words of what a table names in both languages: column `reason_zh` or `reason_en` of the code `reason`."""
    return f"{code}_{language()} AS {code.rpartition('.')[2]}_words"


class Alarm(NamedTuple):
    """An alarm code: its words, how pressing it is, and the unit of its value."""

    word: Word
    severity: str
    unit: str

    def __str__(self) -> str:
        return str(self.word)


class Text(NamedTuple):
    """The words of a panel or board: title and description."""

    title: Word
    description: Word


def words(zh: str, en: str, more_zh: str, more_en: str) -> Text:
    """A title and a description, each in both languages."""
    return Text(Word(zh, en), Word(more_zh, more_en))


class Column(NamedTuple):
    """A column: its words, unit as shown and spreadsheet format ("" for text)."""

    word: Word
    unit: str
    format: str


COMPUTED: dict[str, Column] = {
    "age_s": Column(Word("数据时效", "Age"), "s", "0"),
    "alarms": Column(Word("未恢复", "Open"), "", "#,##0"),
    "contact_state": Column(Word("通信状态", "Contact"), "", ""),
    "pressure_state": Column(Word("压力状态", "Pressure state"), "", ""),
    "reporting": Column(Word("在线", "Reporting"), "", "#,##0"),
    "alarm_id": Column(Word("报警编号", "Alarm no."), "", ""),
    "code": Column(Word("报警", "Alarm"), "", ""),
    "state": Column(Word("状态", "State"), "", ""),
    "raised_at": Column(Word("发生时间", "Raised"), "", "yyyy-mm-dd hh:mm"),
    "open_for": Column(Word("已持续", "Open for"), "", ""),
    "customer": Column(Word("客户 · 水表", "Customer · meter"), "", ""),
    "measured_value": Column(Word("数值", "Value"), "", ""),
    "value_limit": Column(Word("值 / 限", "Value / limit"), "", ""),
    "from_ms": Column(Word("曲线起", "Chart from"), "", ""),
    "code\\source_words": Column(Word("类别代码", "Code"), "", ""),
    "bills": Column(Word("账单数", "Bills"), "", "#,##0"),
    "comparable_bills": Column(Word("可比账单", "Comparable bills"), "", "#,##0"),
    "part_m3": Column(Word("差额部分", "Part"), "m³", "#,##0.0"),
    "days": Column(Word("天数", "Days"), "", "#,##0"),
    "days_complete": Column(Word("完整天数", "Complete days"), "", "#,##0"),
    "days_poor": Column(Word("低于 60 分天数", "Days below 60"), "", "#,##0"),
    "findings": Column(Word("校验发现", "Findings"), "", "#,##0"),
    "terminals": Column(Word("终端数", "Terminals"), "", "#,##0"),
    "gaps": Column(Word("缺数", "Gaps"), "", "#,##0"),
    "advice": Column(Word("处理办法", "What to do"), "", ""),
    "events": Column(Word("次数", "Events"), "", "#,##0"),
    "reports": Column(Word("报表数", "Reports"), "", "#,##0"),
    "took_s": Column(Word("用时", "Took"), "s", "0"),
    "reverse_m3h": Column(Word("反向流量", "Reverse flow"), "m³/h", "#,##0.00"),
    "age_min": Column(Word("距今", "Age"), "min", "#,##0"),
    "account_year": Column(Word("年度", "Year"), "", ""),
    "leads_to": Column(Word("明细看板", "Leads to"), "", ""),
    "to_ms": Column(Word("曲线止", "Chart to"), "", ""),
    "kind": Column(Word("报警类型", "Kind of alarm"), "", ""),
    "times": Column(Word("次数", "Alarms"), "", "#,##0"),
    "still_open": Column(Word("未恢复", "Open"), "", "#,##0"),
    "minutes_open": Column(Word("平均持续", "Mean open"), "min", "#,##0"),
    "minutes_to_acknowledge": Column(Word("平均确认用时", "Mean to acknowledge"), "min", "#,##0"),
    "share_so_far": Column(Word("累计占比", "Share so far"), "", "0.0%"),
    "region_name": Column(Word("区域", "Region"), "", ""),
    "critical": Column(Word("紧急", "Critical"), "", "#,##0"),
    "yesterday_m3": Column(Word("前一日", "Day before"), "m³", "#,##0"),
    "week_before_m3": Column(Word("上周同日", "A week before"), "m³", "#,##0"),
    "year_before_m3": Column(Word("去年同月", "A year before"), "m³", "#,##0"),
    "amount": Column(Word("金额", "Amount"), "¥", "#,##0"),
    "rate_pct": Column(Word("比率", "Rate"), "%", "0.0"),
    "hour_of_week": Column(Word("星期与时", "Hour of the week"), "", ""),
    "hours_ahead": Column(Word("距预测日零点", "Hours from the day of forecast"), "h", "0"),
    "measured_m3h": Column(Word("实测", "Measured"), "m³/h", "#,##0.00"),
    "customers": Column(Word("客户数", "Customers"), "", "#,##0"),
    "year_m3": Column(Word("年水量", "Year"), "m³", "#,##0"),
    "rank_change": Column(Word("较上期", "Change"), "", ""),
    "candidate_words": Column(Word("候选水表", "Candidate"), "", ""),
    "conclusion": Column(Word("结论", "Conclusion"), "", ""),
    "zone_words": Column(Word("流量区间", "Zone of flow"), "", ""),
    "share_now": Column(Word("现用水表", "Present meter"), "", "0.0%"),
    "share_then": Column(Word("候选水表", "Candidate"), "", "0.0%"),
    "peak_hour": Column(Word("最大小时", "Peak hour"), "", ""),
    "segment_words": Column(Word("时段", "Segment"), "", ""),
    "readings_below": Column(Word("低于下限读数", "Readings below"), "", "#,##0"),
    "highest_at": Column(Word("最高时刻", "Highest at"), "", ""),
    "lowest_at": Column(Word("最低时刻", "Lowest at"), "", ""),
    "known_words": Column(Word("已知用户表", "Known meters"), "", ""),
    "zone": Column(Word("分区代码", "Zone"), "", ""),
    "zone_name": Column(Word("分区", "Zone"), "", ""),
    "change_state": Column(Word("换表流程", "Decided"), "", ""),
    "hour_words": Column(Word("时", "Hour"), "", ""),
    "kh": Column(Word("时变化系数 Kh", "Kh"), "", "0.00"),
    "kd": Column(Word("日变化系数 Kd", "Kd"), "", "0.00"),
    "kd_max": Column(Word("当月最大 Kd", "Kd of the month"), "", "0.00"),
    "flag": Column(Word("提示", "Mark"), "", ""),
    "day_m3": Column(Word("昨日", "Yesterday"), "m³", "#,##0"),
    "known_m3": Column(Word("已知水量", "Known volume"), "m³", "#,##0.0"),
    "reason_from": Column(Word("认定自", "Since"), "", ""),
    "began": Column(Word("开始时间", "Start"), "", ""),
    "exceptions": Column(Word("异常", "Exceptions"), "", ""),
    "silent": Column(Word("静默", "Silent"), "", "#,##0"),
    "meters_today": Column(Word("今日有数据", "Meters with data"), "", "#,##0"),
    "read_state": Column(Word("抄表状态", "State"), "", ""),
    "age": Column(Word("最新读数距今", "Age of data"), "", ""),
    "point_source": Column(Word("数据来源", "Source"), "", ""),
    "complete_m3": Column(Word("水量", "Volume"), "m³", "#,##0"),
    "partial_m3": Column(Word("水量（不完整）", "Volume, not complete"), "m³", "#,##0"),
    "clock_h": Column(Word("时刻", "Clock"), "h", "0"),
    "flow_before_m3h": Column(Word("对比期流量", "Flow before"), "m³/h", "#,##0.00"),
    "pressure_before_mpa": Column(Word("对比期压力", "Pressure before"), "MPa", "0.000"),
    "limit_line_m3h": Column(Word("比对线", "Reference line"), "m³/h", "#,##0.00"),
}
"""What panels compute themselves; words of a table's columns stand in its header in `sql/`."""

VARIABLES: dict[str, Word] = {
    "search": Word("查找", "Search"),
    "meter": Word("水表", "Meter"),
    "month": Word("月份", "Month"),
    "day": Word("日期", "Day"),
    "grain": Word("周期", "By"),
    "alarm_code": Word("报警类型", "Kind of alarm"),
    "customer": Word("客户或水表", "Customer or meter"),
    "customer_no": Word("客户", "Customer"),
    "kind": Word("分类", "Class"),
    "code": Word("类别值", "Of class"),
    "year": Word("年度", "Year"),
    "step": Word("步长", "Step"),
    "period": Word("时段", "Period"),
    "zone": Word("分区", "Zone"),
    "candidate": Word("候选水表", "Candidate"),
    "order": Word("排序", "Order"),
    "rows": Word("户数", "Rows"),
    "region": Word("区域", "Region"),
    "state": Word("状态", "State"),
    "reason": Word("原因", "Reason"),
    "severity": Word("级别", "Severity"),
    "own_meter": Word("本户水表", "Its meter"),
    "limit_m3h": Word("比对线 m³/h", "Reference line m³/h"),
    "customers": Word("对比客户", "Customers"),
    "before": Word("与多久以前比", "Against"),
    "b_first": Word("基期首日", "Base from"),
    "b_last": Word("基期末日", "Base to"),
}

ALL = Word("全部", "all")
SO_FAR = Word("（至今）", " (so far)")
"""Beside a period that is not over."""
TOTAL = Word("合计", "Total")
NOT_MEASURED = Word("未测", "not measured")
VALUES: dict[str, Word] = {"none": Word("未填", "none")}

ALARM_LINK: dict[str, Word] = {
    "desk": Word("在工作台查看、确认", "Look at it and acknowledge it in the desk"),
    "chart": Word("报警前后两小时曲线", "Chart of two hours before and after"),
    "frames": Word("查看原始报文", "See the frames"),
    "annotation": Word("报警时段", "Alarms"),
}

SHADES: dict[str, Word] = {
    "days_off": Word("休息日", "Days off"),
    "rest": Word("周末", "weekend"),
    "nights": Word("夜间", "Nights"),
    "replacement": Word("换表", "Meter changed"),
}
"""What is marked on curves."""

ALARMS: dict[str, Alarm] = {
    path.stem: Alarm(Word(header["zh"], header["en"]), header["severity"], header["unit"])
    for path in sorted((SQL / "alarms").glob("*.sql"))
    for header in [read(path)]
}
"""Every alarm code, from its header."""

SEVERITIES: dict[str, Word] = {
    "critical": Word("紧急", "critical"),
    "warning": Word("警告", "warning"),
    "maintenance": Word("维护", "maintenance"),
    "info": Word("提示", "info"),
}
ALARM_STATES: dict[str, Word] = {
    "open": Word("未恢复", "open"),
    "acknowledged": Word("已确认", "acknowledged"),
    "cleared": Word("已恢复", "cleared"),
    "retracted": Word("已撤销", "retracted"),
}
TICKER_STATES: dict[str, Word] = {state: ALARM_STATES[state] for state in ("open", "cleared")}
ORIGINS: dict[str, Word] = {
    "device": Word("终端", "device"),
    "server": Word("平台", "server"),
    "both": Word("终端与平台", "both"),
}
CONTACT_STATES: dict[str, Word] = {"silent": Word("静默", "silent"), "reporting": Word("正常", "reporting")}
PRESSURE_STATES: dict[str, Word] = {"below": Word("偏低", "low"), "good": Word("正常", "good")}
GRAINS: dict[str, Word] = {"day": Word("日", "day"), "month": Word("月", "month"), "year": Word("年", "year")}
TECHNOLOGIES: dict[str, Word] = {
    "electromagnetic": Word("电磁", "electromagnetic"),
    "ultrasonic": Word("超声", "ultrasonic"),
    "woltmann": Word("螺翼", "Woltmann"),
    "rotary": Word("旋翼", "rotary vane"),
    "rotary_vane": Word("旋翼", "rotary vane"),
    "compound": Word("复式", "compound"),
}
FITS: dict[str, Word] = {
    "over": Word("偏大", "too large"),
    "under": Word("偏小", "too small"),
    "fit": Word("合适", "fits"),
    "not_resolvable": Word("读数太粗", "not resolvable"),
    "too_few_days": Word("数据不足", "too few days"),
    "unknown": Word("参数不全", "sizes missing"),
}
SHIFTS: dict[str, Word] = {
    "day": Word("常日班", "day shift"),
    "two": Word("两班", "two shifts"),
    "three": Word("三班", "three shifts"),
    "continuous": Word("连续", "continuous"),
    "irregular": Word("不规律", "irregular"),
}
DIRECTIONS: dict[str, Word] = {"up": Word("↑ 增加", "↑ up"), "down": Word("↓ 减少", "↓ down")}
WEEKDAYS = (
    Word("周一", "Mon"),
    Word("周二", "Tue"),
    Word("周三", "Wed"),
    Word("周四", "Thu"),
    Word("周五", "Fri"),
    Word("周六", "Sat"),
    Word("周日", "Sun"),
)
SEGMENT_KINDS: dict[str, Word] = {
    "tariff": Word("峰平谷", "tariff"),
    "shift": Word("班次", "shift"),
    "peak_hours": Word("高峰时段", "peak hours"),
}
FLOW_ZONES: dict[str, Word] = {
    "zero": Word("无流量", "no flow"),
    "below_q1": Word("< Q1", "< Q1"),
    "q1_q2": Word("Q1–Q2", "Q1–Q2"),
    "q2_q3": Word("Q2–Q3", "Q2–Q3"),
    "q3_q4": Word("Q3–Q4", "Q3–Q4"),
    "above_q4": Word("> Q4", "> Q4"),
}
ANSWERS: dict[str, Word] = {"true": Word("是", "yes"), "false": Word("否", "no")}
_REPLAY = Word("登记后用 mainflow journal replay 重放", "register it, then mainflow journal replay")
_LINE = Word("查线路与信号；偶发可不管", "look at line and signal; now and then it is harmless")
_CLOCK = Word("校准终端时钟", "set the clock of the terminal")
_DATES = Word("核对登记表的装拆日期", "check the dates of the terminal in the registry")
_SENDER = Word("核对终端口令、号码与接入方", "check password, number and who connects")
ADVICE: dict[str, Word] = {
    "BAD_CRC": _LINE,
    "BAD_LENGTH": _LINE,
    "NOISE": _LINE,
    "UNKNOWN_LINK": _SENDER,
    "LATE_ANSWER": Word("加长等待时间", "wait longer for answers"),
    "BAD_BODY": Word("核对终端规约与型号", "check protocol and model of the terminal"),
    "BAD_TIME": _CLOCK,
    "FUTURE_TIME": _CLOCK,
    "OLD_TIME": _CLOCK,
    "NOT_INSTALLED": _DATES,
    "REMOVED": _DATES,
    "UNKNOWN_TERMINAL": _REPLAY,
    "CONFLICT": Word("先到的已用；核对终端", "the first is used; check the terminal"),
    "STORE_REFUSED": Word("查原始库，恢复后重放", "look at the raw store, then replay"),
    "WRONG_PASSWORD": _SENDER,
    "FOREIGN_STATION": _SENDER,
    "FOREIGN_SENDER": _SENDER,
    "REPLAYED": Word("无需处理", "nothing"),
}
"""What to do about what is kept aside, by the code of its reason."""

GAP_ADVICE: dict[str, Word] = {
    "missing_attribute": Word("在 terminals.csv 补填此列", "fill the column in terminals.csv"),
    "no_card": Word("请营收建卡，或核对表号", "ask billing for a card, or check the name of the meter"),
    "no_terminal": Word("人工抄表的无需处理；远传的核对 terminals.csv 的表号", "none if read by hand; else check terminals.csv"),
    "no_bill": Word("请营收核对此卡是否应开账", "ask billing whether the card should be billed"),
    "bill_without_meter": Word("请营收核对账单的表号", "ask billing to check the meter of the bills"),
    "relation_overruled": Word("改 relations.csv 或请营收更正", "correct relations.csv, or ask billing to"),
}
"""What to do about a gap of the registry, by its code."""

CAUSES: dict[str, Word] = {
    "network": Word("管网波动", "network"),
    "pumping": Word("违规抽水", "pumping"),
    "theft": Word("人为偷水", "theft"),
    "check_valve": Word("止回阀故障", "check valve"),
    "unclear": Word("原因待查", "unclear"),
    "burst": Word("爆管漏水", "burst or leak"),
    "equipment": Word("设备故障", "equipment"),
    "works": Word("检修施工", "works"),
    "usage": Word("用户用水变化", "usage"),
    "false_alarm": Word("误报", "false alarm"),
}
"""Causes that ship, of reverse flow and of alarms; one of the utility's own shows as it is."""

BILL_KINDS: dict[str, Word] = {
    "bill": Word("账单", "bill"),
    "credit": Word("红冲", "credit note"),
    "cancelled": Word("已作废", "cancelled"),
}
TIMINGS: dict[str, Word] = {
    "current": Word("当月费", "of this month"),
    "arrears": Word("往月费", "of arrears"),
    "advance": Word("预收", "in advance"),
    "unassigned": Word("未对账单", "no bill"),
}
KEYS: dict[str, Word] = {
    "name": Word("名称", "name"),
    "number": Word("编号", "number"),
    "meter": Word("水表", "meter"),
    "address": Word("地址", "address"),
}
METER_SOURCES: dict[str, Word] = {
    "smart": Word("智能表", "smart"),
    "amr": Word("其他远传", "other AMR"),
    "manual": Word("人工抄表", "by hand"),
}
CYCLE_SOURCES: dict[str, Word] = {
    "register": Word("远传读数", "register"),
    "actual": Word("实抄", "actual reads"),
    "estimated": Word("估抄", "estimated reads"),
}
CHARGES: dict[str, Word] = {"water": Word("水费", "water"), "drainage": Word("排水费", "drainage")}
REASONS: dict[str, Word] = {
    "dn": Word("口径", "size"),
    "volume": Word("年用水量", "volume of the year"),
    "flag": Word("营收标记", "flag"),
}
MET: dict[str, Word] = {"true": Word("符合", "met"), "false": Word("不符合", "not met")}
READ_STATES: dict[str, Word] = {
    "read": Word("实抄", "read"),
    "estimated": Word("估抄", "estimated"),
    "not_due": Word("当月不抄", "not due"),
    "unread": Word("未抄", "unread"),
}
SOURCES: dict[str, Word] = {"billing": Word("营收系统", "billing"), "registry": Word("登记表", "registry")}

TELLING: dict[str, Word] = {
    "rule": Word("报警", "Alarms"),
    "source": Word("报警数据中断", "Alarm data interrupted"),
    "firing": Word(
        "【报警】{{ $name }}：{{ $customer }} 水表 {{ $meter }}{{ with $value }}，{{ . }}{{ end }}"
        "{{ with $limit }}（限值 {{ . }}）{{ end }}，{{ $event_at }}{{ with $cleared_at }}（已于 {{ . }} 恢复）{{ end }}",
        "[ALARM] {{ $name }}: {{ $customer }}, meter {{ $meter }}{{ with $value }}, {{ . }}{{ end }}"
        "{{ with $limit }} (limit {{ . }}){{ end }}, {{ $event_at }}{{ with $cleared_at }} (over since {{ . }}){{ end }}",
    ),
    "cleared": Word(
        "【恢复】{{ $name }}：{{ $customer }} 水表 {{ $meter }}，自 {{ $event_at }} 至 {{ $cleared_at }}，历时 {{ $lasted }}"
        "{{ with $value }}，极值 {{ . }}{{ end }}{{ with $limit }}（限值 {{ . }}）{{ end }}",
        "[CLEARED] {{ $name }}: {{ $customer }}, meter {{ $meter }}, from {{ $event_at }} to {{ $cleared_at }}, for {{ $lasted }}"
        "{{ with $value }}, peak {{ . }}{{ end }}{{ with $limit }} (limit {{ . }}){{ end }}",
    ),
    "retracted": Word(
        "【撤销】{{ $name }}：{{ $customer }} 水表 {{ $meter }}，{{ $event_at }} 的报警撤销：后到的数据表明当时情况不成立",
        "[RETRACTED] {{ $name }}: {{ $customer }}, meter {{ $meter }}, the alarm of {{ $event_at }}: "
        "later data showed that it did not hold",
    ),
    "title": Word(
        '{{ if eq $state "firing" }}【报警】{{ else if eq $state "cleared" }}【恢复】{{ else }}【撤销】{{ end }}'
        "{{ $name }}：{{ $customer }}",
        '{{ if eq $state "firing" }}[ALARM]{{ else if eq $state "cleared" }}[CLEARED]{{ else }}[RETRACTED]{{ end }} '
        "{{ $name }}: {{ $customer }}",
    ),
    "no_customer": Word("（未登记客户）", "(no customer)"),
    "moment": Word("不到 1 分钟", "less than 1 min"),
    "days": Word(" 天", " d"),
    "hours": Word(" 小时", " h"),
    "minutes": Word(" 分钟", " min"),
    "source_title": Word("【报警】报警数据中断", "[ALARM] Alarm data interrupted"),
    "back_title": Word("【恢复】报警数据恢复", "[CLEARED] Alarm data are back"),
    "outage": Word(
        "【报警】报警数据中断：Grafana 读不到数据库。各报警保持原状，期间的新报警在恢复后通知",
        "[ALARM] Alarm data interrupted: Grafana cannot read the database. "
        "Alarms stay as they were; new ones are told afterwards",
    ),
    "stale": Word(
        '【报警】报警判断停顿：已 {{ printf "%.0f" $values.A.Value }} 分钟未查找新报警',
        '[ALARM] Alarms are stale: nobody has looked for new ones for {{ printf "%.0f" $values.A.Value }} minutes',
    ),
    "back": Word("【恢复】报警数据恢复正常", "[CLEARED] Alarm data are up to date again"),
    "look": Word("查看报警", "Alarm"),
    "chart": Word("曲线", "Chart"),
    "what_to_do": Word("处置", "What to do"),
}
"""The notifications; the rule `alerts/alarm.py` sets the variables in them."""
