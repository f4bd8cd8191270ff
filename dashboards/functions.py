"""What the system is for: each function of its menus and each figure, and the board or page of the desk that has it.

The home board's lists, the table in `docs/functions.md` and the walk over all links in the tests are made from here.
"""

from typing import NamedTuple

from dashboards.vocabulary import Word


class Function(NamedTuple):
    """A function as people know it: its words, the requirements that it meets, and where it is (`/…`: a page of the desk)."""

    word: Word
    rows: str
    place: str


class Menu(NamedTuple):
    """A menu with its functions."""

    word: Word
    functions: tuple[Function, ...]


MENUS = (
    Menu(
        Word("数据展现", "Data"),
        (
            Function(Word("最新数据", "Latest data"), "R071", "latest-data"),
            Function(Word("压力流量", "Pressure and flow"), "R077", "flow-pressure"),
            Function(Word("读数累计", "Cumulative readings"), "R078", "register"),
            Function(Word("日用水量", "Daily volume"), "R079", "usage"),
            Function(Word("月用水量", "Monthly volume"), "R080", "usage"),
            Function(Word("年用水量", "Yearly volume"), "R081", "usage"),
            Function(Word("用水量对比", "Comparison of volumes"), "R082", "comparison"),
            Function(Word("峰谷值数据", "Peaks and valleys"), "R083", "peak-valley"),
            Function(Word("报警数据", "Alarm data"), "R084", "alarm-query"),
            Function(Word("客户监测", "Customer"), "R017", "customer"),
            Function(Word("表计详情", "Meter"), "R021", "meter"),
        ),
    ),
    Menu(
        Word("信息分析", "Analysis"),
        (
            Function(Word("运行图表", "Operating charts"), "R135", "operating"),
            Function(Word("流量特性", "Flow characteristic"), "R121", "flow-characteristic"),
            Function(Word("大表小流量", "Right-sizing of meters"), "R122", "resizing"),
            Function(Word("客户用水量排位", "Customer ranking"), "R136", "rank"),
            Function(Word("报警统计", "Alarm statistics"), "R137", "alarm-statistics"),
            Function(Word("流量同比环比", "Growth on year and month"), "R104", "change"),
            Function(Word("关联展现", "Relations"), "R130", "relations"),
            Function(Word("时差、日差系数", "Coefficients"), "R094", "coefficients"),
            Function(Word("用水规律", "Usage profile"), "R012", "profile"),
            Function(Word("流量压力拟合", "Flow–pressure fit"), "R119", "load"),
            Function(Word("压力服务", "Pressure service"), "R118", "pressure-service"),
            Function(Word("分区与地图", "Zones and map"), "R014", "zones"),
        ),
    ),
    Menu(
        Word("报警信息", "Alarms"),
        (
            Function(Word("报警监视", "Alarm monitoring"), "R138", "alarms"),
            Function(Word("压力越界报警", "Pressure limits"), "R145, R146", "alarm-query?var-alarm_code=P_LO"),
            Function(Word("压力突变报警", "Pressure jump"), "R147", "alarm-query?var-alarm_code=P_JUMP"),
            Function(Word("流量越上限报警", "Flow above limit"), "R148", "alarm-query?var-alarm_code=Q_HI"),
            Function(Word("流量转向报警", "Reverse flow"), "R150", "alarm-query?var-alarm_code=Q_REV"),
            Function(Word("强磁干扰报警", "Magnetic interference"), "R151", "alarm-query?var-alarm_code=MAG"),
            Function(Word("电池报警", "Low battery"), "R152", "alarm-query?var-alarm_code=BATT"),
            Function(Word("报警查询", "Alarm search"), "R143", "alarm-query"),
            Function(Word("倒流追查", "Forensics of reverse flow"), "R116", "reverse-flow"),
            Function(Word("值班大屏", "Wall"), "R154", "wall"),
        ),
    ),
    Menu(
        Word("客户与营收", "Revenue"),
        (
            Function(Word("营收指标", "Revenue indicators"), "R037", "revenue-kpi"),
            Function(Word("水量分析", "Volume analysis"), "R056", "volume-analysis"),
            Function(Word("抄表情况", "Meter reading"), "R065", "reading-status"),
            Function(Word("收费情况", "Collection"), "R067", "collection"),
            Function(Word("客户信息", "Customer information"), "R068", "customer-info"),
            Function(Word("计费核对", "Reconciliation"), "R048", "reconciliation"),
        ),
    ),
    Menu(
        Word("汇总报表", "Reports"),
        (
            Function(Word("用水量报表", "Volume report"), "R115", "usage"),
            Function(Word("压力报表", "Pressure report"), "R114", "pressure-service"),
            Function(Word("反向累计报表", "Reverse volume report"), "R116", "reverse-flow"),
        ),
    ),
    Menu(
        Word("系统设置", "Settings"),
        (
            Function(Word("显示方案设置", "Display settings"), "R156", "/profile"),
            Function(Word("关联信息维护", "Maintenance of relations"), "R157", "desk:/maintain"),
            Function(Word("滚动报警设置", "Ticker settings"), "R158", "desk:/ticker"),
            Function(Word("词语维护", "Vocabulary"), "R159", "desk:/maintain"),
            Function(Word("数据质量", "Data quality"), "R106", "quality"),
            Function(Word("帮助", "Help"), "R175", "help"),
        ),
    ),
)
"""Every function of the system by menu."""

FIGURES = (
    (Word("图一 最新实时数据表", "Fig 1 latest data"), "R071", "latest-data"),
    (Word("图二 七天流量趋势", "Fig 2 seven-day flow trend"), "R091", "flow-pressure"),
    (Word("图三 24 小时压力趋势", "Fig 3 24 h pressure trend"), "R092", "flow-pressure"),
    (Word("图四 24 小时水量时差系数", "Fig 4 hourly coefficients"), "R094", "coefficients"),
    (Word("图五 日差系数", "Fig 5 daily coefficients"), "R095", "coefficients"),
    (Word("图六 流量峰谷值", "Fig 6 peaks of flow"), "R100", "peak-valley"),
    (Word("图七 压力峰谷值", "Fig 7 peaks of pressure"), "R101", "peak-valley"),
    (Word("图八 用水量环比、同比", "Fig 8 growth on month and year"), "R105", "change"),
    (Word("图九 压力月报表", "Fig 9 monthly pressure report"), "R114", "pressure-service"),
    (Word("图十 流量压力拟合", "Fig 10 flow–pressure fit"), "R119", "load"),
    (Word("图十一 流量特性曲线与结论", "Fig 11 flow characteristic and conclusion"), "R125", "flow-characteristic"),
    (Word("图十二 模拟更换口径", "Fig 12 simulated replacement"), "R126", "flow-characteristic"),
    (Word("图十三 换表前后", "Fig 13 before and after"), "R128", "flow-characteristic"),
    (Word("图十四 管网关联压力", "Fig 14 pressures of a network"), "R131", "relations"),
    (Word("图十五 延线高峰供水", "Fig 15 peak-hour supply of a line"), "R132", "relations"),
    (Word("图十六 报警数据统计表", "Fig 16 alarm statistics"), "R142", "alarm-statistics"),
)
"""Every figure, the requirement that it meets, and its board."""


def href(place: str) -> str:
    """The address of a place, with the period and the choices of the board that it is on."""
    if place.startswith("desk:"):
        return "${desk:raw}" + place.removeprefix("desk:")
    if place.startswith("/"):
        return place
    board, _, chosen = place.partition("?")
    return f"/d/{board}?{chosen + '&' if chosen else ''}${{__url_time_range}}"


def listed(menu: Menu) -> str:
    """The functions of a menu as a list of links, in Markdown."""
    return "\n".join(f"- [{function.word}]({href(function.place)})" for function in menu.functions)


def page() -> str:
    """`docs/functions.md`: each function and each figure, its requirement and its place."""
    lines = [
        "# 功能与看板 / Functions and boards",
        "",
        "由 `dashboards/functions.py` 生成，请勿手改：`python -m dashboards`。 Made from that file; do not edit.",
        "",
        "| 菜单 / menu | 功能 / function | 要求 / requirement | 看板 / board |",
        "|---|---|---|---|",
    ]
    for menu in MENUS:
        for word, rows, place in menu.functions:
            lines.append(f"| {menu.word.zh} {menu.word.en} | {word.zh} {word.en} | {rows} | `{place}` |")
    lines += ["", "| 图 / figure | 要求 / requirement | 看板 / board |", "|---|---|---|"]
    lines += [f"| {word.zh} / {word.en} | {rows} | `{place}` |" for word, rows, place in FIGURES]
    return "\n".join(lines) + "\n"
