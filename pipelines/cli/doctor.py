"""`mainflow doctor`: checks of a site, each by a real attempt, with advice for every fault."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from desk.settings import DeskSettings, address_file
from ingest_daemon import operations
from ingest_daemon.contract import disk
from ingest_daemon.contract.files import glance
from ingest_daemon.contract.settings import PostgresSettings, Settings, SiteSettings
from ingest_daemon.operations import AmrError, AmrSettings, DaemonSettings, SmsSettings
from ingest_daemon.stores.settings import StoreSettings
from pipelines.processes import listening, servers, supervisor
from pipelines.settings import BillingSettings, ServerSettings

LOW_DISK_GB = 5
KEPT_DAYS = 800
"""Shortest retention of readings: a month is compared with that of last year, and both may have to be recomputed."""


class Finding(NamedTuple):
    """The result of a check: good (True), bad (False) or not in use (None), with its observation and advice."""

    name: str
    ok: bool | None
    seen: str
    advice: str = ""


def examine(settings: Settings, *, deep: bool = False) -> list[Finding]:
    """All findings, in the order of a reading's way through the product. `deep`: every file of the archive is read as well."""
    looks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _processes,
        _ports,
        _outside,
        _disk,
        _clock,
        _registry,
        _store,
        _store_limits,
        *((_archive,) if deep else ()),
        _warehouse,
        _postgres,
        _billing,
        _amr,
        _grafana,
        _desk,
    )
    return [finding for look in looks for finding in _looked(look, settings)]


def _looked(look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    """The findings of a check; one that cannot go on is a bad finding, and the others are made all the same."""
    try:
        yield from look(settings)
    except (OSError, ValueError, RuntimeError) as error:
        yield Finding(look.__name__.strip("_"), False, disk.trouble(error, settings.folder.root) or str(error))


def _processes(settings: Settings) -> Iterator[Finding]:
    kept = supervisor.kept(settings.folder)
    if kept is None:
        yield Finding("进程 / processes", None, "no `mainflow up` runs")
    for child in kept or []:
        seen = f"started again {child.restarts} times; last end: {child.ended}" if child.ended else "runs"
        yield Finding(f"进程 / process {child.name}", child.is_running, seen, f"see {settings.folder.logs / child.name}.log")


def _ports(settings: Settings) -> Iterator[Finding]:
    running = servers.running_daemon(settings.folder)
    if running:
        yield Finding("接收进程 / daemon", True, f"runs on ports {running.data} and {running.alarm}")
        return
    own = settings[DaemonSettings]
    for name, host, port in (
        ("data", own.bind, own.data_port),
        ("alarm", own.bind, own.alarm_port),
        ("health", own.health_bind, own.health_port),
    ):
        with socket.socket() as probe:
            try:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                yield Finding(f"端口 / port {port}", True, f"free for {name}")
            except OSError as error:
                yield Finding(f"端口 / port {port}", False, str(error), f"stop what uses it, or set [daemon] {name}_port")


def _outside(settings: Settings) -> Iterator[Finding]:
    """Other machines reach the ports of terminals only. A proxy before Grafana or SMS reaches them on 127.0.0.1."""
    own, sms = settings[ServerSettings], settings[SmsSettings]
    inner = {"Dagster": own.dagster_port, "Grafana": own.grafana_port, **servers.inner_ports(settings.folder)}
    wide = {listener.port: str(listener.address) for listener in listening.listeners() if listener.is_wide}
    reached = {f"{name} {port}": wide[port] for name, port in inner.items() if port in wide}
    if sms.on and sms.bind not in listening.LOOPBACK:
        reached[f"SMS {sms.port}"] = sms.bind
    for name, address in reached.items():
        advice = (
            "let it listen on 127.0.0.1; for others put a proxy with TLS before Grafana, desk and SMS, and a tunnel (ssh -L) to "
            "Dagster"
        )
        yield Finding(f"对外 / outside {name}", False, f"listens on {address}: others reach it", advice)
    links = {("Grafana", "[servers] grafana_url"): own.grafana_link, ("desk", "[desk] url"): settings[DeskSettings].url}
    clear = {names: url for names, url in links.items() if _is_clear(url)}
    for (name, key), url in clear.items():
        advice = f"put a proxy with TLS before the {name}, and https:// in {key}"
        yield Finding(f"对外 / outside {name}", False, f"{url}: passwords cross the network in the clear", advice)
    if not reached and not clear:
        yield Finding("对外 / outside", True, "only the ports of terminals")


def _is_clear(url: str) -> bool:
    """Whether an address leads over the network without TLS."""
    link = urlsplit(url)
    return link.scheme == "http" and link.hostname not in listening.LOOPBACK


def _disk(settings: Settings) -> Iterator[Finding]:
    free_gb = shutil.disk_usage(settings.folder.root).free / 1e9
    wanted = LOW_DISK_GB + settings[DaemonSettings].journal_mb / 1000
    yield Finding(
        "磁盘 / disk", free_gb > wanted, f"{free_gb:.0f} GB free", f"keep {wanted:.0f} GB free, or lower [daemon] journal_mb"
    )


def _clock(_: Settings) -> Iterator[Finding]:
    synchronised = Path("/run/systemd/timesync/synchronized").exists()
    year = time.gmtime().tm_year
    if year < 2024:
        yield Finding("时钟 / clock", False, f"the year is {year}", "set the clock: device times are judged by it")
    elif synchronised:
        yield Finding("时钟 / clock", True, "synchronised")
    else:
        yield Finding("时钟 / clock", None, "no sign of time synchronisation", "run chrony or systemd-timesyncd")


def _registry(settings: Settings) -> Iterator[Finding]:
    from assets import registry_history
    from ingest_daemon.contract.registry_files import problems_text, read

    content = read(settings.folder.registry, registry_history.known_meters(settings.folder, str(settings.zone)))
    if content.problems:
        yield Finding("档案 / registry", False, problems_text(content.problems), f"mend the files in {settings.folder.registry}")
    else:
        yield Finding("档案 / registry", True, f"{content.rows.terminals.height} terminals")


def _store(settings: Settings) -> Iterator[Finding]:
    from ingest_daemon.stores import StoreAway, open_store

    try:
        yield Finding("原始库 / raw store", True, open_store(settings.folder, settings[StoreSettings]).check())
    except StoreAway as error:
        yield Finding("原始库 / raw store", False, str(error), "start it, or mend [store]")


def _store_limits(settings: Settings) -> Iterator[Finding]:
    """A server that drops readings after a time, or that limits the number of meters."""
    from ingest_daemon.stores import StoreAway
    from ingest_daemon.stores.influxdb import InfluxStore

    if settings[StoreSettings].kind != "influxdb":
        return
    try:
        limits = InfluxStore(settings[StoreSettings]).limits()
    except StoreAway:  # told by `_store`
        return
    yield _retention(settings, limits.retention_s)
    terminals = len(operations.terminals(settings.folder)) if (settings.folder.registry / "terminals.csv").exists() else 0
    for name, most in (("max-values-per-tag", limits.values_per_tag), ("max-series-per-database", limits.series)):
        title, advice = f"InfluxDB {name}", f"set {name} = 0 in [data] of influxdb.conf, and start it again"
        if most is not None:
            seen = f"{most:,}; {terminals:,} terminals are registered" if most else "no limit"
            yield Finding(title, not most or most > 2 * terminals, seen, advice if most else "")


def _retention(settings: Settings, retention_s: int | None) -> Finding:
    title, name = "保留期 / retention", settings[StoreSettings].influx_database
    if retention_s is None:
        return Finding(title, None, "the server does not tell", f"make sure that {name} keeps its data for ever")
    if not retention_s:
        return Finding(title, True, "for ever")
    days = retention_s / 86400
    seen = f"{name} throws readings away after {days:,.1f} days; at least {KEPT_DAYS} are needed"
    waiting = [at for reader, at in operations.waiting_since(settings.folder).items() if reader in ("data", "alarm") and at]
    if waiting and (age := time.time() - min(waiting) / 1e6) > retention_s:
        seen += f"; {age / 86400:,.1f} days of data wait in the journal and would be refused (quarantine/STORE_REFUSED.jsonl)"
    advice = (
        f'1.x: ALTER RETENTION POLICY "autogen" ON "{name}" DURATION INF; '
        f"2.x: influx bucket update --name {name} --retention 0; then mainflow journal replay"
    )
    return Finding(title, days >= KEPT_DAYS, seen, advice)


def _archive(settings: Settings) -> Iterator[Finding]:
    from ingest_daemon.stores import open_store
    from ingest_daemon.stores.lake import LakeStore
    from ingest_daemon.stores.parquet import ParquetStore

    store = open_store(settings.folder, settings[StoreSettings])
    if not isinstance(store, (ParquetStore, LakeStore)):
        return
    damaged = store.damaged()
    yield Finding(
        "归档文件 / archive files",
        not damaged,
        f"damaged: {', '.join(damaged)}" if damaged else "every checksum is right",
        "restore them from a backup, or move them away, remove their day in counts/ and run `mainflow journal replay`",
    )


def _warehouse(settings: Settings) -> Iterator[Finding]:
    from assets import warehouse

    name = "集市 / marts.duckdb"
    try:
        with warehouse.opened(settings.folder.marts, settings[SiteSettings].zone, read_only=True):
            yield Finding(name, True, "opens")
    except FileNotFoundError:
        yield Finding(name, None, "is not there: the next run makes it")
    except warehouse.WarehouseBusy:
        yield Finding(name, True, "a run has it open")
    except warehouse.WarehouseBroken as error:
        yield Finding(name, False, str(error), f"mainflow rebuild --site {settings.folder.root}")


def _postgres(settings: Settings) -> Iterator[Finding]:
    import psycopg

    from pipelines.processes.postgres import running_dsn

    if not settings[PostgresSettings].dsn:
        running = running_dsn(settings.folder)
        yield Finding(
            "PostgreSQL",
            True if running else None,
            "embedded, runs" if running else "embedded, starts with `mainflow up` and `run`",
        )
        return
    try:
        with psycopg.connect(settings[PostgresSettings].dsn, connect_timeout=5) as connection:
            yield Finding("PostgreSQL", True, f"server {connection.info.server_version // 10000}")
    except psycopg.Error as error:
        yield Finding("PostgreSQL", False, str(error).splitlines()[0], "start it, or mend [postgres] dsn")


def _billing(settings: Settings) -> Iterator[Finding]:
    import pyodbc

    from assets.billing import BillingError, check

    drivers = ", ".join(pyodbc.drivers()) or "none"
    if not settings[BillingSettings].connection:
        yield Finding("营收 / billing", None, f"not set; ODBC drivers: {drivers}", "give [billing] connection to join bills")
        return
    try:
        yield Finding("营收 / billing", True, check(settings[BillingSettings].connection))
    except BillingError as error:
        yield Finding("营收 / billing", False, str(error), "mend [billing] connection")


def _amr(settings: Settings) -> Iterator[Finding]:
    for source in settings[AmrSettings].sources:
        name = f"其他采集 / AMR {source.name}"
        try:
            seen = operations.amr_check(settings, source.name)
        except AmrError as error:
            yield Finding(name, False, str(error), "mend its connection in [amr] sources")
            continue
        late = operations.amr_state(settings.folder, source.name).late_by(source, datetime.now(UTC))
        if late:
            seen = f"{seen}; nothing new for {late.total_seconds() / 3600:.1f} h, longer than two periods"
        yield Finding(name, not late, seen, "ask the other system's people; does mainflow amr sync run?" if late else "")


def _desk(settings: Settings) -> Iterator[Finding]:
    port = glance(address_file(settings.folder), lambda known: int(known["port"]))
    if port and servers.port_answers(port):
        yield Finding("工作台 / desk", True, f"answers on port {port}")
    else:
        yield Finding("工作台 / desk", None, "not running; starts with `mainflow up`")


def _grafana(settings: Settings) -> Iterator[Finding]:
    home = servers.grafana_home()
    own = settings[ServerSettings]
    if servers.port_answers(own.grafana_port):
        from dashboards.provisioning import admin_password, verify

        log = settings.folder.logs / "grafana.log"
        for look in verify(own.grafana_local, admin_password(settings.folder.grafana), wall=own.wall):
            yield Finding(f"Grafana {look.name}", look.ok, look.detail, "" if look.ok else f"see {log}")
    else:
        yield Finding(
            "Grafana",
            None,
            f"not running; program: {home or 'not found'}",
            "" if home else "install Grafana 12 or set GRAFANA_HOME",
        )
