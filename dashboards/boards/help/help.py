"""How to read the boards, what the words mean, where each function is, and whom to ask."""

from dashboards import Json
from dashboards.board import dashboard, row
from dashboards.functions import MENUS, listed
from dashboards.panels.texts import text
from dashboards.variables import hidden_constant
from dashboards.vocabulary import Text, Word, words

TITLE = Word("帮助", "Help")
MORE = Word("看板怎么读、词语、功能在哪里、问谁。", "How to read the boards, words, where each function is, whom to ask.")

CONTACT = Word(
    """## ${utility:text}

${contact:text}

- [工作台](${desk:raw})：确认报警、维护资料、查报文、换表、值班大屏
- 报警处置手册（${runbook:text}）：每种报警的含义、核查与处理
- [运行健康](/d/pipeline)：数据与图表的时效、备份；[隔离区与档案](/d/quarantine)：为什么没有入库

联系人在设置 `[site] contact` 里填写。""",
    """## ${utility:text}

${contact:text}

- [Desk](${desk:raw}): acknowledge alarms, maintain the registry, frames, changes of meters, the wall
- Runbook (${runbook:text}): what each alarm means, how to check it, what to do
- [Running](/d/pipeline): age of data and figures, backups; [Quarantine](/d/quarantine): why something was not stored

The setting `[site] contact` has whom to ask.""",
)
READING = Word(
    """| 看到 | 含义 |
|---|---|
| — | 没有值：缺数、缺基期、或无法计算。没有不等于 0 |
| 覆盖率低于 100% | 这一日或月缺数，水量只是已知部分；不完整的不参与极值与系数 |
| （至今） | 月或年还没有结束，只算到今天；月份、日期先给出最近一个已结束的 |
| 红、橙 | 异常：红要马上处理，橙要看一看；正常的不着色 |
| ↑ ↓ → | 比基期升、降、持平；绿为向好，红为向坏，没有好坏之分的不着色 |
| 断开的曲线 | 缺数；不把两头连起来 |
| 合计在最上 | 全部的合计，与翻到哪一页无关 |
| 蓝色或带下划线的字 | 点击去明细；时段与选择一起带过去 |
| 标题旁的 ⓘ | 这张图表的定义、时段、口径 |""",
    """| What you see | What it means |
|---|---|
| — | no value: data or base are missing, or it cannot be computed; missing is not 0 |
| coverage below 100 % | data of the day or month are missing, its volume is the known part; it is in no extreme |
| (so far) | the month or year is not over; choices begin with the last one that is |
| red, orange | exceptions: red wants action, orange a look; what is normal has no colour |
| ↑ ↓ → | up, down, the same as the base; green the good way, red the bad one, plain where neither is |
| a broken curve | data are missing; its ends are not joined |
| total on top | of everything, whatever page is shown |
| blue or underlined | click for the details; period and choices go along |
| ⓘ beside a title | definition, period and scope of the panel |""",
)
TERMS = (
    (
        Word("日、月", "Day, month"),
        Word("本地 0 点到 0 点；0 点的读数结束前一日", "local midnight to midnight; the reading at 0:00 ends the day before"),
    ),
    (Word("瞬时流量", "Flow"), Word("间隔内的平均，时刻为间隔的结束", "mean of an interval, labelled by its end")),
    (
        Word("时差系数 Kh", "Hourly coefficient Kh"),
        Word("某小时水量 ÷ 当日小时平均", "volume of an hour over the mean hour of the day"),
    ),
    (
        Word("日差系数 Kd", "Daily coefficient Kd"),
        Word("某日水量 ÷ 当月日平均", "volume of a day over the mean day of the month"),
    ),
    (
        Word("环比、同比", "Change, year on year"),
        Word(
            "（本期−基期）÷ 基期；基期为上期、上年同期；率的用百分点",
            "(now − base) ÷ base: the period before, last year; rates in points",
        ),
    ),
    (
        Word("Q1 Q2 Q3 Q4", "Q1 Q2 Q3 Q4"),
        Word("水表的最小、分界、常用、过载流量", "minimum, transitional, permanent, overload flow of a meter"),
    ),
    (
        Word("夜间最小流量", "Night flow"),
        Word(
            "夜间窗口内最小的小时平均；连续高出基线为疑似漏水",
            "lowest hour of the night window; above its baseline for some nights: a suspected leak",
        ),
    ),
    (
        Word("抄表率", "Reading rate"),
        Word("实抄水表 ÷ 在装在用水表；估抄不计", "meters read over meters in service, estimates apart"),
    ),
    (
        Word("欠费金额", "Arrears"),
        Word("月初未收的往月账单", "bills of earlier months that are unpaid at the beginning of the month"),
    ),
    (
        Word("回收率", "Collection rate"),
        Word("当月全部缴费 ÷（开账＋欠费）", "all payments of the month over billed and arrears"),
    ),
    (Word("当月回收率", "Current rate"), Word("当月账单收到的 ÷ 当月开账", "received of this month's bills over billed")),
    (Word("核对差", "Difference"), Word("账单水量 − 账单期间的实测水量", "billed less measured volume of the bill's period")),
    (
        Word("数据质量评分", "Quality score"),
        Word(
            "0–100：完整 40、及时 20、校验 20、总量 10、时钟 5、电池 3、信号 2",
            "0–100: completeness 40, timeliness 20, validation 20, sum 10, clock 5, battery 3, signal 2",
        ),
    ),
    (
        Word("抄读成功率", "Success of reading"),
        Word(
            "窗口内有读数按时到达的水表 ÷ 在用水表",
            "meters with a reading of the window that came in time over meters in service",
        ),
    ),
    (
        Word("隔离区", "Quarantine"),
        Word(
            "不能入库的报文与读数，连同原因留着，可重放",
            "frames and readings that cannot be stored, kept with their reason; they can be replayed",
        ),
    ),
)
"""Words of the boards and what they mean."""


def terms() -> str:
    """The words as a table, in Markdown."""
    head = f"| {Word('词', 'Word')} | {Word('含义', 'Meaning')} |\n|---|---|\n"
    return head + "\n".join(f"| {term} | {meaning} |" for term, meaning in TERMS)


def board() -> Json:
    """The dashboard JSON."""
    ask = text(
        words("联系与入口", "Whom to ask, where to go", "本公司的联系方式与各入口。", "The utility's contact and entrances."),
        CONTACT,
    )
    reading = text(words("怎么读看板", "How to read the boards", "符号与颜色。", "Signs and colours."), READING)
    glossary = text(words("词语", "Words", "看板上的词与算法。", "Words of the boards and how they are computed."), terms())
    menus = [text(Text(menu.word, Word("功能与其看板。", "Functions and their boards.")), listed(menu)) for menu in MENUS]
    constants = [hidden_constant(name, "") for name in ("utility", "contact", "runbook")]
    return dashboard(
        __name__,
        [row(12, (9, ask), (15, reading)), row(11, *menus), row(16, glossary)],
        constants,
        since="now-24h",
        refresh="",
        with_period=False,
    )
