"""The settings of a whole site: the daemon's sections and those of figures, billing, reports and servers."""

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import desk.settings  # noqa: F401 registers [desk]
from assets.engines import ENGINES, Engine, wrong_of
from ingest_daemon.contract.headers import SQL
from ingest_daemon.contract.settings import (
    SECTIONS,
    SettingError,
    Settings,
    find_sections,
    read_settings,
    sample,
    section,
    setting,
)
from ingest_daemon.contract.severities import SEVERITIES
from ingest_daemon.contract.site import Site

find_sections("ingest_daemon")


CRON = {"minute": (0, 59), "hour": (0, 23), "day of the month": (1, 31), "month": (1, 12), "day of the week": (0, 7)}
"""The fields of a cron line."""


def _check_cron(section: str, name: str, line: str) -> None:
    """A schedule that Dagster cannot read would stop all of its schedules. Raises `SettingError`."""
    fields = line.split()
    wrong = None if len(fields) == len(CRON) else f"{len(fields)} fields"
    for (field, (low, high)), text in zip(CRON.items(), fields, strict=False):
        for part in text.split(","):
            found = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
            numbers = [int(number) for number in found.groups()[:2] if number] if found else []
            is_right = found and all(low <= number <= high for number in numbers) and numbers == sorted(numbers)
            if not is_right or (found and found[3] and int(found[3]) == 0):
                wrong = wrong or f"{field} {part!r} (allowed: {low}–{high}, *, a-b, a,b, */n)"
    if wrong:
        raise SettingError(
            f"[{section}] {name} = {line!r}: {wrong}; expected five fields: {', '.join(CRON)}; for example 30 5 * * * for 05:30"
        )


MOST_WORKERS = 8
"""Without a setting no more: the writing of their results is one process' work."""


@section("figures")
@dataclass(frozen=True, slots=True)
class FigureSettings:
    """`[figures]`: rules for the figures."""

    max_hole_h: float = setting(
        2.0, "the register curve is not drawn over a longer hole", "最长可连线空缺（小时）", minimum=0.25, maximum=24
    )

    engine: str = setting(
        "processes",
        "who computes many days: this process, processes of this machine, or Ray (needs mainflow[region])",
        "计算引擎：本进程、本机多进程或 Ray",
        choices=ENGINES,
    )
    workers: int = setting(
        0,
        "parts computed at once; 0: one a processor, at most 8; of a Ray cluster, as many as it has CPUs",
        "同时计算数；0 为每处理器一个，至多 8，Ray 集群则为其全部 CPU",
        minimum=0,
    )
    ray_address: str = setting(
        "",
        "Ray cluster: auto (the one of this machine), host:port, ray://host:port; empty: started here for each run",
        "Ray 集群地址；空为在本机启动",
    )

    def __post_init__(self) -> None:
        if wrong := wrong_of(self.engine, self.ray_address):
            raise SettingError(f"[figures] {wrong}")

    @property
    def chosen_engine(self) -> Engine:
        """What computes many days at once."""
        is_cluster = self.engine == "ray" and self.ray_address
        workers = self.workers or (0 if is_cluster else min(MOST_WORKERS, os.cpu_count() or 1))
        return Engine(self.engine, workers, self.ray_address)

    @property
    def max_hole(self) -> timedelta:
        """The longest hole that the register curve crosses."""
        return timedelta(hours=self.max_hole_h)


@section("billing")
@dataclass(frozen=True, slots=True)
class BillingSettings:
    """`[billing]`: the billing system, read through ODBC."""

    connection: str = setting("", "ODBC connection string; empty: no billing system", "ODBC 连接串；空为无", secret=True)
    overlap_days: int = setting(7, "days before the newest change that each sync reads again", "同步重叠天数", minimum=0)
    sync_cron: str = setting("30 5 * * *", "when to sync, as cron in the site's zone", "同步时间 cron")

    def __post_init__(self) -> None:
        _check_cron("billing", "sync_cron", self.sync_cron)


@dataclass(frozen=True, slots=True)
class ReportMailSettings:
    """A row of `[reports] mail`. Raises `SettingError` where it cannot work."""

    name: str = setting("", "the role, a name of letters, digits and -", "角色名称，字母、数字与 -")
    addresses: str = setting("", "e-mail addresses apart by commas", "邮件地址，逗号分隔", secret=True)
    reports: str = setting("daily_volume", "names of reports apart by commas", "报表名，逗号分隔")
    cron: str = setting("30 7 * * *", "when, as cron in the site's zone", "发送时间 cron")

    def __post_init__(self) -> None:
        where = f"[reports] mail, {self.name or 'one without a name'}:"
        if not re.fullmatch(r"[A-Za-z0-9-]{1,30}", self.name):
            raise SettingError(f"{where} name: expected 1 to 30 letters, digits and -")
        if not self.receivers or not all(re.fullmatch(r"[^@\s]+@[^@\s]+", address) for address in self.receivers):
            raise SettingError(f"{where} addresses: expected e-mail addresses apart by commas")
        known = {path.stem for path in (SQL / "reports").glob("*.sql")}
        if unknown := sorted(set(self.report_names) - known):
            raise SettingError(f"{where} reports: no report {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
        _check_cron("reports", f"mail, {self.name}: cron", self.cron)

    @property
    def receivers(self) -> list[str]:
        """The addresses."""
        return _listed(self.addresses)

    @property
    def report_names(self) -> list[str]:
        """The names of the reports."""
        return _listed(self.reports)


def _listed(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


@section("reports")
@dataclass(frozen=True, slots=True)
class ReportSettings:
    """`[reports]`: scheduled reports, and to whom they are sent."""

    cron: str = setting("0 7 * * *", "when the reports are written, as cron in the site's zone", "报表时间 cron")
    mail: tuple[ReportMailSettings, ...] = setting(
        (),
        "who gets which reports when, like [{name = 'billing', addresses = 'a@example.com', reports = 'monthly_volume', "
        "cron = '0 8 1 * *'}]",
        "报表邮寄，每个角色一项",
        secret=True,
        rows=ReportMailSettings,
    )

    def __post_init__(self) -> None:
        _check_cron("reports", "cron", self.cron)
        names = [row.name for row in self.mail]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(f"[reports] mail: expected names of their own, twice there: {', '.join(repeated)}")


@section("mail")
@dataclass(frozen=True, slots=True)
class MailSettings:
    """`[mail]`: the server that takes the e-mails of `[reports] mail`."""

    host: str = setting("", "SMTP server; empty: no reports by e-mail", "SMTP 服务器；空为不发邮件")
    port: int = setting(587, "its port", "端口", minimum=1, maximum=65535)
    security: str = setting(
        "starttls",
        "how the connection is protected; none only on a network of your own",
        "加密方式",
        choices=("starttls", "tls", "none"),
    )
    user: str = setting("", "name that logs in; empty: no log-in", "用户；空为不登录")
    password: str = setting("", "its password", "密码", secret=True)
    sender: str = setting("mainflow@localhost", "address in From", "发件地址")


@section("outputs")
@dataclass(frozen=True, slots=True)
class OutputSettings:
    """`[outputs]`: files for other systems by the output contract."""

    cron: str = setting("0 6 * * *", "when the files are written, as cron in the site's zone", "数据输出时间 cron")

    def __post_init__(self) -> None:
        _check_cron("outputs", "cron", self.cron)


@section("backup")
@dataclass(frozen=True, slots=True)
class BackupSettings:
    """`[backup]`: the copy of the site from which it can be restored elsewhere."""

    target: str = setting("", "folder of the backups, best on another disk; empty: none on schedule", "备份目录；空为不定时备份")
    cron: str = setting("30 1 * * *", "when to back up, as cron in the site's zone", "备份时间 cron")
    keep: int = setting(14, "newest backups that are kept; 0: all", "保留份数；0 为全部", minimum=0)

    def __post_init__(self) -> None:
        _check_cron("backup", "cron", self.cron)


@section("servers")
@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`[servers]`: the user interfaces, all on 127.0.0.1."""

    dagster_port: int = setting(3010, "port of Dagster's pages", "Dagster 端口", minimum=1, maximum=65535)
    grafana_port: int = setting(3000, "port of Grafana", "Grafana 端口", minimum=1, maximum=65535)
    grafana_url: str = setting(
        "", "address at which people reach Grafana, for links; empty: that of this machine", "Grafana 对外地址，用于链接"
    )
    wall: bool = setting(
        False,
        "whether everyone who reaches Grafana sees the boards without a log-in, as the organisation Wall",
        "大屏：免登录查看看板（组织 Wall）",
    )
    theme: str = setting("dark", "look of the boards", "看板外观", choices=("dark", "light"))
    alert_webhook: str = setting(
        "",
        "address that alert notifications are posted to; empty: none; whoever has a log-in of Grafana can read it",
        "报警通知地址，Grafana 用户可见",
        secret=True,
    )
    alert_webhook_token: str = setting(
        "", "sent there as `Authorization: Bearer`; nobody can read it", "报警通知令牌，不可见", secret=True
    )

    def __post_init__(self) -> None:
        url = urlsplit(self.grafana_url)
        if self.grafana_url and not (url.scheme in ("http", "https") and url.hostname):
            raise SettingError(f"[servers] grafana_url = {self.grafana_url!r}: expected https://… or http://… with a name")

    @property
    def grafana_local(self) -> str:
        """The address of Grafana on this machine."""
        return f"http://127.0.0.1:{self.grafana_port}"

    @property
    def grafana_link(self) -> str:
        """The address of Grafana in links."""
        return self.grafana_url.rstrip("/") or self.grafana_local


RECEIVER_KINDS = ("webhook", "email", "sms", "dingtalk", "wecom")


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """A row of `[telling] receivers`. Raises `SettingError` where it cannot work."""

    name: str = setting("", "a name of letters, digits and -", "名称，字母、数字与 -")
    kind: str = setting("webhook", "what it is", "类型", choices=RECEIVER_KINDS)
    address: str = setting("", "URL, or e-mail addresses apart by commas; none for sms", "地址；sms 不填", secret=True)
    secret: str = setting("", "sent as `Authorization: Bearer` by a webhook", "令牌（webhook）", secret=True)
    by_day: str = setting("info", "least severity that is told", "通知的最低级别", choices=SEVERITIES)
    at_rest: str = setting("critical", "least severity in the hours of rest", "休息时段的最低级别", choices=SEVERITIES)
    rest: str = setting("", "hours of rest, like 22:00-06:00; empty: none", "休息时段；空为无")

    def __post_init__(self) -> None:
        where = f"[telling] receivers, {self.name or 'one without a name'}:"
        if not re.fullmatch(r"[A-Za-z0-9-]{1,30}", self.name):
            raise SettingError(f"{where} name: expected 1 to 30 letters, digits and -")
        url = urlsplit(self.address)
        if self.kind == "sms" and self.address:
            raise SettingError(f"{where} address: expected none, SMS go through [sms] gateway_url")
        if self.kind == "email" and "@" not in self.address:
            raise SettingError(f"{where} address: expected e-mail addresses apart by commas")
        if self.kind in ("webhook", "dingtalk", "wecom") and not (url.scheme in ("http", "https") and url.hostname):
            raise SettingError(f"{where} address: expected https://… or http://…")
        if self.secret and self.kind != "webhook":
            raise SettingError(
                f"{where} secret: expected none, Grafana cannot sign for {self.kind}; give a DingTalk robot the keyword Mainflow "
                "or the address of this server in its security settings"
            )
        if SEVERITIES.index(self.at_rest) < SEVERITIES.index(self.by_day):
            raise SettingError(f"{where} at_rest = {self.at_rest!r}: expected at least by_day ({self.by_day})")
        if self.hours and self.hours[0] == self.hours[1]:
            raise SettingError(f"{where} rest = {self.rest!r}: expected two different times, or nothing for no rest")

    @property
    def hours(self) -> tuple[str, str] | None:
        """Beginning and end of the rest; None where there is none. Raises `SettingError`."""
        if not self.rest:
            return None
        found = re.fullmatch(r"((?:[01]\d|2[0-3]):[0-5]\d)\s*[-–]\s*((?:[01]\d|2[0-3]):[0-5]\d)", self.rest.strip())
        if not found:
            raise SettingError(f"[telling] receivers, {self.name}: rest = {self.rest!r}: expected hours like 22:00-06:00")
        return found[1], found[2]


@section("telling")
@dataclass(frozen=True, slots=True)
class TellingSettings:
    """`[telling]`: who is told of alarms, besides `[servers] alert_webhook`, and `[sms] recipients` where no row is for SMS."""

    receivers: tuple[ReceiverSettings, ...] = setting(
        (),
        "who is told of alarms, like [{name = 'duty', kind = 'dingtalk', address = 'https://…', rest = '22:00-06:00'}]",
        "报警接收者，每个一项",
        secret=True,
        rows=ReceiverSettings,
    )
    runbook_url: str = setting("docs/runbook.md", "address of the page that has what to do, for links", "处置手册地址，用于链接")

    def __post_init__(self) -> None:
        names = [row.name for row in self.receivers]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(f"[telling] receivers: expected names of their own, twice there: {', '.join(repeated)}")


@section("serving")
@dataclass(frozen=True, slots=True)
class ServingSettings:
    """`[serving]`: what is published to PostgreSQL."""

    interval_days: int = setting(
        400,
        "days of intervals before the newest that PostgreSQL keeps (partitioned: the whole months of them); older ones stay in "
        "marts.duckdb",
        "区间读数保留天数",
        minimum=1,
    )
    partitioned: bool = setting(
        False,
        "whether PostgreSQL keeps great tables in partitions of a month, from then on always; for hundreds of thousands of "
        "meters",
        "大表是否按月分区（分区后不再合并）；用于数十万块表",
    )


PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "embedded": {},
    "site": {
        "daemon": {"bind": "0.0.0.0"},
        "store": {"kind": "influxdb", "influx_auth": "token"},
        "postgres": {
            "dsn": "host=127.0.0.1 dbname=mainflow user=mainflow_owner",
            "board_dsn": "host=127.0.0.1 dbname=mainflow user=mainflow_board",
            "desk_dsn": "host=127.0.0.1 dbname=mainflow user=mainflow_desk",
        },
    },
}
"""Values of `mainflow init --profile` that differ from the defaults."""


def load(root: Path) -> Settings:
    """The settings of the site folder `root`. Raises `SettingError`."""
    return read_settings(Site(root.resolve()), all_sections=True)


def sample_file(profile: str, values: dict[str, dict[str, Any]]) -> str:
    """A commented `site.toml` for a profile, with these values in place of the defaults."""
    preset = PROFILES[profile]
    parts = [sample(name, kind, {**preset.get(name, {}), **values.get(name, {})}) for name, kind in SECTIONS.items()]
    head = (
        "# Mainflow 站点设置 / site settings.\n"
        "# 环境变量 MAINFLOW_<SECTION>_<KEY> 优先 / an environment variable MAINFLOW_<SECTION>_<KEY> wins over this file.\n"
    )
    return head + "\n" + "\n".join(parts)
