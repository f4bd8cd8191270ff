"""The site's settings as one typed whole: every section of `site.toml`, read once at start.

The daemon's own sections are declared in `ingest_daemon.config`; a wrong setting is named with what is allowed (`SettingError`).
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from ingest_daemon.commands.queue import CommandSettings
from ingest_daemon.contract.settings import (
    PostgresSettings,
    SettingError,
    SiteSettings,
    read_section,
    read_tables,
    sample,
    setting,
)
from ingest_daemon.contract.site import Site
from ingest_daemon.reception.access import AccessSettings
from ingest_daemon.reception.settings import DaemonSettings, PollSettings
from ingest_daemon.sms.settings import SmsSettings
from ingest_daemon.stores.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class FigureSettings:
    """`[figures]`: how figures are made."""

    max_hole_h: float = setting(
        2.0, "the register curve is not drawn over a longer hole", "最长可连线空缺（小时）", minimum=0.25, maximum=24
    )


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """`[billing]`: the billing system, read through ODBC."""

    connection: str = setting("", "ODBC connection string; empty: no billing system", "ODBC 连接串；空为无", secret=True)
    overlap_days: int = setting(7, "days before the newest change that each sync reads again", "同步重叠天数", minimum=0)
    sync_cron: str = setting("30 5 * * *", "when to sync, as cron in the site's zone", "同步时间 cron")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """`[reports]`: what goes out on schedule."""

    cron: str = setting("0 7 * * *", "when the daily volume report is written, as cron in the site's zone", "报表时间 cron")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`[servers]`: the user interfaces, all on 127.0.0.1."""

    dagster_port: int = setting(3010, "port of Dagster's pages", "Dagster 端口", minimum=1, maximum=65535)
    grafana_port: int = setting(3000, "port of Grafana", "Grafana 端口", minimum=1, maximum=65535)
    alert_webhook: str = setting("", "address that alert notifications are posted to; empty: none", "报警通知地址", secret=True)


SECTIONS: dict[str, type[Any]] = {
    "site": SiteSettings,
    "daemon": DaemonSettings,
    "access": AccessSettings,
    "commands": CommandSettings,
    "poll": PollSettings,
    "sms": SmsSettings,
    "store": StoreSettings,
    "postgres": PostgresSettings,
    "figures": FigureSettings,
    "billing": BillingSettings,
    "reports": ReportSettings,
    "servers": ServerSettings,
}
"""Every section of `site.toml`, in the order of the file."""

PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "embedded": {},
    "site": {
        "daemon": {"bind": "0.0.0.0"},
        "store": {"kind": "influxdb", "influx_auth": "token"},
        "postgres": {"dsn": "host=127.0.0.1 dbname=mainflow user=mainflow"},
    },
}
"""What `mainflow init --profile` writes differently from the defaults (design.md 7)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a site folder."""

    folder: Site
    site: SiteSettings
    daemon: DaemonSettings
    access: AccessSettings
    commands: CommandSettings
    poll: PollSettings
    sms: SmsSettings
    store: StoreSettings
    postgres: PostgresSettings
    figures: FigureSettings
    billing: BillingSettings
    reports: ReportSettings
    servers: ServerSettings

    @property
    def zone(self) -> ZoneInfo:
        """The site's zone."""
        return ZoneInfo(self.site.zone)

    @property
    def max_hole(self) -> timedelta:
        """The longest hole that the register curve crosses."""
        return timedelta(hours=self.figures.max_hole_h)


def load(root: Path) -> Settings:
    """The settings of the site folder `root`. Raises `SettingError`."""
    folder = Site(root.resolve())
    tables = read_tables(folder.settings)
    for name, table in tables.items():
        if name not in SECTIONS:
            raise SettingError(f"{folder.settings}: section [{name}] is unknown; allowed: {', '.join(SECTIONS)}")
        if not isinstance(table, dict):
            raise SettingError(f"{folder.settings}: {name} = …: expected a section [{name}] with keys below it")
    settings = Settings(folder, **{name: read_section(kind, name, tables) for name, kind in SECTIONS.items()})
    if settings.site.zone not in available_timezones():
        raise SettingError(f"[site] zone = {settings.site.zone!r}: not an IANA time zone; for example Asia/Shanghai, Europe/Rome")
    return settings


def sample_file(profile: str, values: dict[str, dict[str, Any]]) -> str:
    """A commented `site.toml` for a profile, with these values in place of the defaults."""
    preset = PROFILES[profile]
    parts = [sample(name, kind, {**preset.get(name, {}), **values.get(name, {})}) for name, kind in SECTIONS.items()]
    head = (
        "# Mainflow 站点设置 / site settings.\n"
        "# 环境变量 MAINFLOW_<SECTION>_<KEY> 优先 / an environment variable MAINFLOW_<SECTION>_<KEY> wins over this file.\n"
    )
    return head + "\n" + "\n".join(parts)
