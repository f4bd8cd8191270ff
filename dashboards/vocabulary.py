"""The words of the boards and alerts, Chinese and English: the one place where they are written.

Not here: words and units of a table's columns and of alarm codes (the headers in `sql/`) and limits (`thresholds.py`).
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


class Alarm(NamedTuple):
    """An alarm code: its words, how pressing it is, and the unit of its value."""

    word: Word
    severity: str
    unit: str

    def __str__(self) -> str:
        return str(self.word)


class Text(NamedTuple):
    """A panel's words: title and description."""

    title: Word
    description: Word


class Column(NamedTuple):
    """A column: its words, unit as shown and spreadsheet format ("" for text)."""

    word: Word
    unit: str
    format: str


COMPUTED: dict[str, Column] = {
    "age_s": Column(Word("数据时效", "Age"), "s", "0"),
    "alarms": Column(Word("未恢复报警", "Open alarms"), "", "#,##0"),
    "contact_state": Column(Word("通信状态", "Contact"), "", ""),
    "pressure_state": Column(Word("压力状态", "Pressure state"), "", ""),
    "reporting": Column(Word("24 小时内有数据", "Reporting in 24 h"), "", "#,##0"),
    "alarm_id": Column(Word("报警编号", "Alarm no."), "", ""),
    "code": Column(Word("报警", "Alarm"), "", ""),
    "state": Column(Word("状态", "State"), "", ""),
    "raised_at": Column(Word("发生时间", "Raised"), "", "yyyy-mm-dd hh:mm"),
    "open_for": Column(Word("已持续", "Open for"), "", ""),
    "customer": Column(Word("客户 · 水表", "Customer · meter"), "", ""),
    "measured_value": Column(Word("数值", "Value"), "", ""),
    "measured_limit": Column(Word("限值", "Limit"), "", ""),
    "from_ms": Column(Word("曲线起", "Chart from"), "", ""),
    "to_ms": Column(Word("曲线止", "Chart to"), "", ""),
    "kind": Column(Word("报警类型", "Kind of alarm"), "", ""),
    "times": Column(Word("次数", "Alarms"), "", "#,##0"),
    "still_open": Column(Word("未恢复", "Open"), "", "#,##0"),
    "minutes_open": Column(Word("平均持续", "Mean open"), "min", "#,##0"),
    "minutes_to_acknowledge": Column(Word("平均确认用时", "Mean to acknowledge"), "min", "#,##0"),
    "share_so_far": Column(Word("累计占比", "Share so far"), "", "0.0%"),
    "region_name": Column(Word("区域", "Region"), "", ""),
}
"""What panels compute themselves; words of a table's columns stand in its header in `sql/`."""

VARIABLES: dict[str, Word] = {
    "search": Word("查找", "Search"),
    "meter": Word("水表", "Meter"),
    "month": Word("月份", "Month"),
    "day": Word("日期", "Day"),
    "grain": Word("峰谷值周期", "Peak–valley by"),
    "code": Word("报警类型", "Kind of alarm"),
    "customer": Word("客户或水表", "Customer or meter"),
    "region": Word("区域", "Region"),
    "state": Word("状态", "State"),
    "severity": Word("级别", "Severity"),
}

ALL = Word("全部", "all")
VALUES: dict[str, Word] = {"none": Word("未填", "none")}

ALARM_LINK: dict[str, Word] = {
    "desk": Word("在工作台查看、确认", "Look at it and acknowledge it in the desk"),
    "chart": Word("报警前后两小时曲线", "Chart of two hours before and after"),
    "frames": Word("查看原始报文", "See the frames"),
    "annotation": Word("报警时段", "Alarms"),
}

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
ANSWERS: dict[str, Word] = {"true": Word("是", "yes"), "false": Word("否", "no")}
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

BOARDS: dict[str, Text] = {
    "latest-data": Text(
        Word("最新数据", "Latest data"),
        Word("全部大客户的最新读数、压力、水量与报警。", "Latest reading, pressure, volume and alarms of every major customer."),
    ),
    "alarms": Text(
        Word("报警中心", "Alarms"),
        Word("未恢复报警、报警查询与统计。", "Open alarms, search and statistics."),
    ),
    "customer": Text(
        Word("客户监测", "Customer"),
        Word("一个客户的供水全过程。", "The whole supply of one customer."),
    ),
}

PANELS: dict[str, Text] = {
    "ticker": Text(
        Word("报警提醒", "Alarms now"),
        Word(
            "未恢复或未确认的报警；点击报警到工作台。",
            "Alarms that are open or not acknowledged; click one to see it in the desk.",
        ),
    ),
    "alarms_critical": Text(Word("紧急", "Critical"), Word("未恢复的紧急报警。", "Open critical alarms.")),
    "alarms_warning": Text(Word("警告", "Warning"), Word("未恢复的警告。", "Open warnings.")),
    "alarms_others": Text(Word("维护与提示", "Maintenance and info"), Word("未恢复的其余报警。", "Other open alarms.")),
    "alarms_unacknowledged": Text(
        Word("未确认", "Not acknowledged"), Word("未恢复而无人确认的报警。", "Open alarms that nobody has acknowledged.")
    ),
    "alarms_active": Text(
        Word("当前报警", "Open alarms, most pressing first"),
        Word(
            "最紧急的在前。点击报警到工作台，点击客户看前后两小时曲线。",
            "Click an alarm for the desk, a customer for its chart of two hours before and after.",
        ),
    ),
    "alarms_found": Text(
        Word("报警查询", "Search"),
        Word(
            "所选时段与条件的报警，最新在前，最多 500 行。",
            "Alarms of the period and the filters above, newest first, at most 500.",
        ),
    ),
    "alarms_pareto_code": Text(
        Word("按类型排列", "Pareto by kind"),
        Word("次数由多到少；提示中有累计占比。", "Most first; the tooltip has the share so far."),
    ),
    "alarms_pareto_cause": Text(
        Word("按原因排列", "Pareto by cause"),
        Word(
            "确认时填写的原因，由多到少；提示中有累计占比。",
            "Causes given with the acknowledgement, most first; the tooltip has the share so far.",
        ),
    ),
    "alarms_by_code": Text(Word("分类型统计", "By kind"), Word("已撤销的不计。", "Retracted ones do not count.")),
    "alarms_by_month": Text(
        Word("分月统计", "By month"),
        Word("按发生时间；已撤销的不计。", "By the time they were raised; retracted ones do not count."),
    ),
    "alarms_by_customer": Text(
        Word("分客户统计", "By customer"), Word("最多 50 户；已撤销的不计。", "At most 50; retracted ones do not count.")
    ),
    "alarms_by_region": Text(
        Word("分区域统计", "By region"),
        Word("客户所在区域；已撤销的不计。", "Region of the customer; retracted ones do not count."),
    ),
    "meters": Text(Word("水表总数", "Meters"), Word("已登记、有状态的水表数。", "Meters with a status row.")),
    "reporting": Text(
        Word("24 小时内有数据", "Reporting in 24 h"),
        Word("最近读数不早于 24 小时的水表数。", "Meters whose last reading is at most 24 h old."),
    ),
    "pressure_below": Text(
        Word("压力越下限", "Pressure below limit"),
        Word("最新压力低于本表下限的水表数。", "Meters whose latest pressure is below their own limit."),
    ),
    "alarms_today": Text(
        Word("当天报警", "Alarms raised today"),
        Word("当天（本地日）发生的报警数，按发生时间计。", "Alarms raised since local midnight, by event time."),
    ),
    "today_volume": Text(
        Word("当天总水量", "Today's volume"),
        Word(
            "有当天数据的水表的水量之和；缺数不按零计。",
            "Sum of the meters that have data of today; a missing one is not a zero.",
        ),
    ),
    "latest": Text(
        Word("最新实时数据表", "Latest data"),
        Word(
            "每表一行，有未恢复报警和压力越下限的排在前面；最多 5000 行，其余请用上方查找。点击客户或水表进入客户监测。",
            "One row a meter, open alarms and low pressure first; at most 5000 rows, search reaches the rest. "
            "Click a customer or meter for its board.",
        ),
    ),
    "alarm_events": Text(
        Word("最新报警", "Latest alarms"),
        Word("所选时段的报警，最新在前，最多 500 行。", "Alarms of the chosen period, newest first, at most 500."),
    ),
    "customer_card": Text(Word("客户资料", "Customer card"), Word("营收系统资料优先。", "Billing wins over the local registry.")),
    "meter_card": Text(
        Word("水表资料", "Meter card"),
        Word("水表与终端的登记资料；换过终端时一行一个终端。", "Registry of meter and terminal; one row a terminal it has had."),
    ),
    "flow_pressure": Text(
        Word("流量与压力", "Flow and pressure"),
        Word(
            "原始采集间隔，时刻为间隔的结束；缺数处断线。虚线为本表压力下限。",
            "At the raw step, labelled by the interval's end; holes stay open. Dashed: the meter's lower pressure limit.",
        ),
    ),
    "register": Text(
        Word("读数累计曲线", "Register curve"),
        Word("间隔结束时的累计读数；缺数处断线。", "Register at each interval's end; holes stay open."),
    ),
    "hourly_coefficient": Text(
        Word("24 小时水量时差系数", "Hourly coefficients"),
        Word("所选日期每小时水量与当天平均小时水量之比。", "Hour volume over that day's mean hour volume, for the chosen day."),
    ),
    "day_volume": Text(
        Word("日用水量", "Daily volume"), Word("所选日期的水量与覆盖率。", "Volume and coverage of the chosen day.")
    ),
    "daily_coefficient": Text(
        Word("日差系数", "Daily coefficients"),
        Word(
            "所选月份每日水量与完整日平均水量之比。",
            "Day volume over the mean of the month's complete days, for the chosen month.",
        ),
    ),
    "month_volume": Text(
        Word("月用水量", "Monthly volume"), Word("所选月份的水量与完整天数。", "Volume and complete days of the chosen month.")
    ),
    "month_comparison": Text(
        Word("月用水量环比、同比", "Monthly comparison"),
        Word(
            "最近 24 个月；基期缺失、为零或不完整时不计算。",
            "Last 24 months; no rate where the base is missing, zero or incomplete.",
        ),
    ),
    "day_comparison": Text(
        Word("日用水量环比、同比", "Daily comparison"),
        Word(
            "所选月份；基期缺失、为零或不完整时不计算。",
            "The chosen month; no rate where the base is missing, zero or incomplete.",
        ),
    ),
    "peak_valley": Text(
        Word("流量、压力峰谷值", "Peak and valley values"),
        Word(
            "最大、最小、平均及其时刻；按日时为所选月份。不完整的时段如实标出。",
            "Maximum, minimum, mean and when; by day: the chosen month. Incomplete periods are marked.",
        ),
    ),
    "meter_alarms": Text(
        Word("本表报警", "Alarms of this meter"), Word("所选时段，最新在前。", "The chosen period, newest first.")
    ),
    "quality": Text(
        Word("数据质量：日覆盖率", "Data quality: coverage by day"),
        Word(
            "所选月份每天有数据的比例；95% 以上为完整日。",
            "Share of each day of the chosen month that is covered; complete from 95 %.",
        ),
    ),
}
