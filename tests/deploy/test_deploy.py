"""The deployment files: what is open to the world, what must exist, and that every command is one of ours."""

import configparser
import importlib.util
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from dashboards.provisioning import WALL
from desk.settings import DeskSettings
from ingest_daemon.contract.settings import PostgresSettings
from ingest_daemon.reception.settings import DaemonSettings
from ingest_daemon.stores.settings import StoreSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
ONCE = {"site", "wall"}
"""Services that do one thing and end."""
KNOWN_COMMANDS = {"python", "mainflow", "dagster-daemon"}


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    return parser


def test_only_the_two_meter_ports_are_open_to_the_world():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["4000:4000", "5000:5000"]
    assert SERVICES["daemon"]["ports"] == ["4000:4000", "5000:5000"]
    hosts = [port.split(":")[-2] for port in ports]
    assert len(hosts) == len(set(hosts)), "a host port is given twice"
    assert not any("network_mode" in service for service in SERVICES.values())


@pytest.mark.parametrize("path", UNITS, ids=[path.name for path in UNITS])
def test_no_unit_opens_a_port_of_its_own_to_the_world(path):
    """The daemon's address is a setting of the site; Dagster's pages listen on this machine unless they are told otherwise."""
    words = shlex.split(unit(path)["Service"]["ExecStart"])
    assert not {"--host", "-h", "0.0.0.0", "::"} & set(words)


def test_the_deployment_picture_shows_the_services_of_compose_with_their_ports():
    page = (ROOT / "docs" / "operations.md").read_text()
    (picture,) = re.findall(r"^## 部署图.*?^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"\[([a-z-]+)\]", picture)) == set(SERVICES)
    for service in SERVICES.values():
        for port in service.get("ports", []):
            address, _, number = port.rpartition(":")[0].rpartition(":")
            assert (f"{address}:{number}" if address else number) in picture, port


def test_the_wall_is_off_unless_it_is_asked_for():
    assert SERVICES["wall"]["profiles"] == ["wall"]
    assert SERVICES["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "${MAINFLOW_SERVERS_WALL:-false}"
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(DEPLOY / "grafana" / "grafana.ini")
    assert dict(ini["auth.anonymous"]) == {"enabled": "false", "org_name": WALL, "org_role": "Viewer", "hide_version": "true"}


def test_the_services_are_those_of_a_site():
    ours = {"site", "daemon", "dagster-webserver", "dagster-daemon", "desk", "wall"}
    images = {name: service["image"] for name, service in SERVICES.items() if name not in ours}
    assert images == {"influxdb": "influxdb:2.7", "postgres": "postgres:16", "grafana": "grafana/grafana:12.3.3"}
    assert {SERVICES[name]["image"] for name in ours} == {"mainflow:local"}


def test_every_lasting_service_is_watched_and_restarted_and_every_volume_is_declared():
    for name, service in SERVICES.items():
        volumes = [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", volume).split(":")[0] for volume in service.get("volumes", [])]
        assert all(volume in COMPOSE["volumes"] or (DEPLOY / volume).exists() for volume in volumes), name
        if name not in ONCE:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name
        for other, wanted in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert wanted["condition"].startswith("service_")


def test_the_daemon_takes_frames_while_stores_are_away():
    assert set(SERVICES["daemon"]["depends_on"]) == {"site"}


def test_no_secret_stands_in_the_files_and_each_is_named_in_the_example():
    text = (DEPLOY / "compose.yaml").read_text()
    example = dict(
        line.split("=", 1) for line in (DEPLOY / "mainflow.env.example").read_text().splitlines() if re.match(r"\w+=", line)
    )
    assert set(re.findall(r"\$\{(\w+)", text)) == set(example)
    filled = {name for name, value in example.items() if value}
    assert filled == {"MAINFLOW_ZONE", "MAINFLOW_SITE_LANGUAGE", "MAINFLOW_SERVERS_WALL"}
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|DSN", key):
                assert "${" in value, key


def test_settings_given_by_environment_are_settings_that_the_code_reads():
    sections = {"daemon": DaemonSettings, "store": StoreSettings, "postgres": PostgresSettings, "desk": DeskSettings}
    known = {f"MAINFLOW_{name}_{item.name}".upper() for name, kind in sections.items() for item in fields(kind)}
    known |= {"MAINFLOW_SITE"}
    for name in ("site", "daemon", "dagster-webserver", "dagster-daemon", "desk"):
        given = {key for key in SERVICES[name]["environment"] if key.startswith("MAINFLOW_")}
        assert given <= known, given - known


def test_grafana_gets_every_variable_that_its_files_name():
    files = [
        path for path in (ROOT / "dashboards" / "generated").rglob("*.yaml") if path.parent.name in ("datasources", "alerting")
    ]
    named = {name for path in files for name in re.findall(r"\$(MAINFLOW_\w+)", path.read_text())}
    assert named
    assert named <= set(SERVICES["grafana"]["environment"])


def commands() -> list[tuple[str, list[str]]]:
    found = [(name, service["command"]) for name, service in SERVICES.items() if "command" in service]
    for path in UNITS:
        command = shlex.split(unit(path)["Service"]["ExecStart"])
        found.append((path.name, [Path(command[0]).name, *command[1:]]))
    return found


@pytest.mark.parametrize(("where", "command"), commands(), ids=[where for where, _ in commands()])
def test_every_command_is_a_program_or_module_that_exists(where, command):
    words = shlex.split(command[2].partition("||")[2]) if command[0] == "sh" else command
    assert words[0] in KNOWN_COMMANDS
    if words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
    if words[0] == "mainflow":
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        cli = ROOT / scripts["mainflow"].partition(":")[0].replace(".", "/")
        if not cli.with_suffix(".py").exists():
            pytest.skip("the mainflow command is not written yet")
        assert re.search(rf"\b{words[1]}\b", cli.with_suffix(".py").read_text())


def test_what_the_files_refer_to_in_the_repository_exists():
    missing = [name for name in ("requirements.lock", "workspace.yaml") if not (ROOT / name).exists()]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert "requirements.lock" in dockerfile
    assert "FROM python:3.11-slim" in dockerfile
    build = SERVICES["daemon"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    if missing:
        pytest.skip(f"not in the repository yet: {', '.join(missing)}")


@pytest.mark.parametrize("path", UNITS, ids=[path.name for path in UNITS])
def test_a_unit_runs_without_rights_that_it_does_not_need(path):
    service = unit(path)["Service"]
    wanted = {
        "User": "mainflow",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
    }
    assert {key: service[key] for key in wanted} == wanted
    assert service["Restart"] == "always"
    assert service["StateDirectory"] == "mainflow"


def test_the_daemon_tells_systemd_when_it_is_ready_and_is_watched():
    service = unit(DEPLOY / "systemd" / "mainflow-daemon.service")["Service"]
    assert (service["Type"], service["WatchdogSec"]) == ("notify", "60")
    assert "AF_UNIX" in service["RestrictAddressFamilies"].split(), "the socket that is told"


def test_influxdb_1_does_not_stop_at_a_hundred_thousand_terminals():
    settings = tomllib.loads((DEPLOY / "influxdb" / "influxdb.conf").read_text())
    wanted = {"index-version": "tsi1", "max-values-per-tag": 0, "max-series-per-database": 0}
    assert {key: settings["data"][key] for key in wanted} == wanted


def test_grafana_calls_nobody_on_the_internet():
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(DEPLOY / "grafana" / "grafana.ini")
    for key in ("reporting_enabled", "check_for_updates", "check_for_plugin_updates"):
        assert ini["analytics"][key] == "false"
    assert ini["plugins"]["preinstall_disabled"] == "true"
    assert ini["news"]["news_feed_enabled"] == "false"
    assert ini["auth.anonymous"]["enabled"] == "false", "the compose file's Grafana may stand behind a proxy"
