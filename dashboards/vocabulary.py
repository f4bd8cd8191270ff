"""The words of the boards and alerts, Chinese and English: the one place where they are written.

Not here: words and units of a table's columns (the headers in `sql/`) and limits (`thresholds.py`). Alarm and state words equal
those of the reading contract; a test holds it.
"""

from typing import NamedTuple


class Word(NamedTuple):
    """One expression in both languages."""

    zh: str
    en: str

    def __str__(self) -> str:
        return f"{self.zh} {self.en}"


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
}
"""What panels compute themselves; words of a table's columns stand in its header in `sql/`."""

VARIABLES: dict[str, Word] = {
    "search": Word("查找", "Search"),
    "meter": Word("水表", "Meter"),
    "month": Word("月份", "Month"),
    "day": Word("日期", "Day"),
    "grain": Word("峰谷值周期", "Peak–valley by"),
}

ALARMS: dict[str, Word] = {
    "P_HI": Word("压力越上限", "Pressure above limit"),
    "P_LO": Word("压力越下限", "Pressure below limit"),
    "P_JUMP": Word("压力突变", "Sudden pressure change"),
    "Q_HI": Word("流量越上限", "Flow above limit"),
    "Q_LO": Word("流量越下限", "Flow below limit"),
    "Q_REV": Word("流量转向", "Reverse flow"),
    "MAG": Word("强磁干扰", "Magnetic interference"),
    "BATT": Word("电池低电压", "Low battery"),
    "EMPTY": Word("空管", "Empty pipe"),
    "SENSOR": Word("传感器故障", "Sensor fault"),
    "DOOR": Word("箱门打开", "Box open"),
    "MAINS": Word("市电中断", "Mains lost"),
    "CLOCK": Word("时钟偏差", "Clock wrong"),
    "NO_DATA": Word("无数据", "No data"),
}

STATES: dict[str, Word] = {"raised": Word("发生", "raised"), "cleared": Word("恢复", "cleared")}
ORIGINS: dict[str, Word] = {"device": Word("终端", "device"), "server": Word("平台", "server")}
CONTACT_STATES: dict[str, Word] = {"silent": Word("静默", "silent"), "reporting": Word("正常", "reporting")}
PRESSURE_STATES: dict[str, Word] = {"below": Word("偏低", "low"), "good": Word("正常", "good")}
GRAINS: dict[str, Word] = {"day": Word("日", "day"), "month": Word("月", "month"), "year": Word("年", "year")}
ANSWERS: dict[str, Word] = {"true": Word("是", "yes"), "false": Word("否", "no")}
SOURCES: dict[str, Word] = {"billing": Word("营收系统", "billing"), "registry": Word("登记表", "registry")}

BOARDS: dict[str, Text] = {
    "latest-data": Text(
        Word("最新数据", "Latest data"),
        Word("全部大客户的最新读数、压力、水量与报警。", "Latest reading, pressure, volume and alarms of every major customer."),
    ),
    "customer": Text(
        Word("客户监测", "Customer"),
        Word("一个客户的供水全过程。", "The whole supply of one customer."),
    ),
}

PANELS: dict[str, Text] = {
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
        Word("最新报警", "Latest alarm events"),
        Word("所选时段的报警，最新在前，最多 500 行。", "Alarm events of the chosen period, newest first, at most 500."),
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
