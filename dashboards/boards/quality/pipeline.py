"""Whether the system itself runs: age of data and figures, runs, reports, clocks and batteries of the terminals."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.links import to_customer, to_meter
from dashboards.panels.core import steps
from dashboards.panels.tables import coloured, hidden, table
from dashboards.panels.texts import text
from dashboards.panels.tiles import some, tile
from dashboards.variables import FROM_DAY, TO_DAY, TODAY
from dashboards.vocabulary import Word, words

TITLE = Word("运行健康", "Running")
MORE = Word(
    "数据与图表的时效、计算、报表、时钟、电池、备份。", "Age of data and figures, runs, reports, clocks, batteries, backups."
)

AGE = "CAST(extract(epoch FROM now() - max({})) / 60 AS double precision) AS age_min FROM {}"
TILES = (
    (
        words("最近收数距今", "Last data", "最近一条读数到达距今；正常在一个上报周期内。", "Since the last reading came."),
        AGE.format("received_at", "mart.latest_status"),
        60,
    ),
    (
        words(
            "图表更新距今",
            "Last figures",
            "最近一次计算完成距今；正常每小时一次。",
            "Since the last run was done; by the hour.",
        ),
        AGE.format("finished_at", "mart.run_ledger"),
        2 * 60,
    ),
    (
        words("报警判断距今", "Alarm look", "最近一次查找报警距今。", "Since alarms were looked for."),
        AGE.format("looked_at", "ops.alarm_look"),
        thresholds.STALE_MIN,
    ),
)
"""What is how old, and from which age in min on that is unusual."""
SILENT = """SELECT count(*) AS meters FROM mart.latest_status
WHERE reading_at IS NULL OR now() - reading_at > silent_after_h * interval '1 hour'"""
LAST_DAY = f"(SELECT max(day) FROM mart.quality_score WHERE day BETWEEN {FROM_DAY} AND least({TO_DAY}, {TODAY} - 1))"
OFF = f"""SELECT count(*) AS meters FROM mart.quality_score
WHERE day = {LAST_DAY} AND abs(clock_offset_s) > {thresholds.CLOCK_OFF_S}"""
LOW = f"SELECT count(*) AS meters FROM mart.latest_status WHERE battery_v < {thresholds.BATTERY_LOW_V}"

RUNS = f"""SELECT started_at, finished_at, extract(epoch FROM finished_at - started_at) AS took_s, trigger,
  CAST(first_day AS text) AS first_day, CAST(last_day AS text) AS last_day, days, readings_read, rows_written
FROM mart.run_ledger
WHERE started_at BETWEEN $__timeFrom() AND $__timeTo()
ORDER BY mart.run_ledger.started_at DESC
LIMIT {thresholds.LISTED_ROWS}"""
REPORTS = f"""SELECT exported_at, report, period, edition, regexp_replace(file, '^.*/', '') AS file, rows
FROM mart.report_ledger
WHERE exported_at BETWEEN $__timeFrom() AND $__timeTo()
ORDER BY exported_at DESC, mart.report_ledger.file
LIMIT {thresholds.LISTED_ROWS}"""
DEVICES = f"""SELECT s.meter, s.customer_name, s.reading_at, s.received_at, s.battery_v, s.signal, q.clock_offset_s,
  s.channel, s.customer_no
FROM mart.latest_status AS s
LEFT JOIN mart.quality_score AS q ON q.meter = s.meter AND q.day = {LAST_DAY}
ORDER BY s.battery_v < {thresholds.BATTERY_LOW_V} DESC NULLS LAST,
  abs(q.clock_offset_s) > {thresholds.CLOCK_OFF_S} DESC NULLS LAST, s.reading_at NULLS FIRST, s.meter
LIMIT {thresholds.LISTED_ROWS}"""

FAR = 1e12
"""s: below every offset; a value that is missing lies below even that, and has no colour."""

BACKUP = Word(
    """- **备份**：`mainflow backup` 每日备份站点（`[backup] target`、`cron`、`keep`）；最近一次成功的时间见
  Dagster 的作业 `backup` 与 `mainflow status`。恢复演练：`mainflow restore`，逐文件校验 SHA-256。
- **接收**：接收进程与原始库的状态见 `mainflow status`；逐项检查用 `mainflow doctor`。
- **计算**：每次计算在上表留一行；失败的作业见 Dagster 的运行页，图表保持上次的。
- **报警中断**：读不到数据库或 30 分钟未查找报警时，会发「报警数据中断」通知。""",
    """- **Backup**: `mainflow backup` copies the site each day (`[backup] target`, `cron`,
      `keep`); when one last succeeded is shown by
  the job `backup` in Dagster and by `mainflow status`. A drill: `mainflow restore`, which checks the SHA-256 of every file.
- **Reception**: `mainflow status` shows the daemon and the raw store; `mainflow doctor` examines everything.
- **Figures**: each run leaves a row above; a failed job is on Dagster's page of runs, and the boards keep what was there.
- **Alarms**: where the database cannot be read, or nobody looked for alarms for 30 minutes, "alarm data interrupted" is sent.""",
)


def board() -> Json:
    """The dashboard JSON."""
    tiles = [
        tile(text_, f"SELECT {age}", ["age_min"], thresholds=steps((None, style.NEUTRAL), (limit, style.WARN)))
        for text_, age, limit in TILES
    ]
    tiles += [
        tile(
            words("静默水表", "Silent meters", "超过静默时限没有读数。", "No reading within their limit."),
            SILENT,
            ["meters"],
            thresholds=some(style.BAD),
        ),
        tile(
            words("时钟偏差", "Clocks off", "最近完整日偏差超过 120 s 的终端。", "Off by more than 120 s on the last whole day."),
            OFF,
            ["meters"],
            thresholds=some(style.WARN),
        ),
        tile(
            words("电池低", "Low batteries", "最新电压低于 3.3 V 的终端。", "Latest voltage below 3.3 V."),
            LOW,
            ["meters"],
            thresholds=some(style.WARN),
        ),
    ]
    runs = table(
        words("计算", "Runs", "时段内的计算，最近的在前。", "Runs of the period, the latest first."),
        RUNS,
        {
            "started_at": {"custom__width": 136},
            "finished_at": {"custom__width": 136},
            "took_s": {"custom__minWidth": 90},
            "trigger": {"custom__minWidth": 90},
            "first_day": {"custom__width": 100},
            "last_day": {"custom__width": 100},
            "days": {"custom__width": 70},
            "readings_read": {"custom__minWidth": 100},
            "rows_written": {"custom__minWidth": 100},
        },
        pages=True,
        empty=Word("本期没有计算", "No run in this period"),
    )
    reports = table(
        words(
            "已出报表", "Reports", "时段内导出的报表文件；校验值在台账。", "Files of the period; their SHA-256 is in the ledger."
        ),
        REPORTS,
        {
            "exported_at": {"custom__width": 136},
            "report": {"custom__width": 130},
            "period": {"custom__width": 200},
            "edition": {"custom__width": 60},
            "file": {"custom__minWidth": 260},
            "rows": {"custom__width": 70},
        },
        pages=True,
        empty=Word("本期没有导出报表", "No report in this period"),
    )
    devices = table(
        words(
            "终端：电池、信号、时钟",
            "Terminals: battery, signal, clock",
            "电池低、时钟偏、久未来数的在前；时钟偏差为最近完整日，只有逐条上报的终端才有。",
            "Low batteries, wrong clocks and old data first; the offset is that of the last whole day, of terminals "
            "that report each step.",
        ),
        DEVICES,
        {
            "meter": to_meter(),
            "customer_name": {**to_customer(), "custom__width": 160},
            "reading_at": {"custom__width": 136},
            "received_at": {"custom__width": 136},
            "battery_v": coloured(steps((None, style.NEUTRAL), (0, style.WARN), (thresholds.BATTERY_LOW_V, style.NEUTRAL))),
            "signal": {},
            "clock_offset_s": coloured(
                steps(
                    (None, style.NEUTRAL),
                    (-FAR, style.WARN),
                    (-thresholds.CLOCK_OFF_S, style.NEUTRAL),
                    (thresholds.CLOCK_OFF_S, style.WARN),
                )
            ),
            "channel": {},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("没有终端", "No terminal"),
    )
    notes = text(
        words("备份与检查", "Backups and checks", "看板以外的状态在哪里看。", "Where the state of the rest is shown."), BACKUP
    )
    return dashboard(__name__, [row(4, *tiles), row(11, devices), row(7, runs), row(7, reports), row(6, notes)], since="now-7d")
