"""Boards and rules as files that Grafana reads at its start, and a look whether a running Grafana took them.

`generate()` writes the committed files (for containers, with values from the environment); `write()` the configuration of a
Grafana that `mainflow up` starts. Not here: what boards and rules contain.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import requests
import yaml
from grafana_api.grafana_api import GrafanaException
from grafana_api.grafana_face import GrafanaFace
from psycopg.conninfo import conninfo_to_dict
from requests import RequestException

from dashboards import GROUPS, LINKS, Json, Links, all_boards, all_rules, group_of, groups
from dashboards.panels.core import DATASOURCE
from dashboards.telling import NEVER_AGAIN, WEBHOOK, Receiver, notifications
from dashboards.vocabulary import spoken

GENERATED = Path(__file__).parent / "generated"
FOLDER = "Mainflow"
WALL = "Wall"
"""The organisation that is seen without a log-in where that is switched on."""
LANGUAGES = {"zh": "zh-Hans", "en": "en-US"}
CONTAINER_BOARDS = "/etc/grafana/provisioning/boards"
NOTIFICATIONS = "alerting/notifications.yaml"
WEBHOOK_VARIABLE = "MAINFLOW_ALERT_WEBHOOK"

CONTAINER_POSTGRES = {
    "host": "$MAINFLOW_GRAFANA_PG_HOST",
    "dbname": "$MAINFLOW_GRAFANA_PG_DATABASE",
    "user": "$MAINFLOW_GRAFANA_PG_USER",
    "password": "$MAINFLOW_GRAFANA_PG_PASSWORD",
}
"""Grafana puts the environment's values in when it reads the file."""


FAILURES = (GrafanaException, RequestException, LookupError, ValueError)
"""What a Grafana that answers otherwise than expected, or not at all, raises."""


class Check(NamedTuple):
    """One thing looked at in a running Grafana: what, whether it is well, and what was seen."""

    name: str
    ok: bool
    detail: str


def files(
    postgres: Mapping[str, str],
    receivers: Sequence[Receiver],
    board_folder: str,
    *,
    language: str,
    zone: str = "UTC",
    links: Links = LINKS,
    former: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Json]:
    """The provisioning tree as content by relative path.

    `postgres`: libpq keywords; `board_folder`: where the boards' JSON is; `zone`: of the receivers' hours of rest; `former`: the
    content of `alerting/notifications.yaml` that Grafana may have read before.
    """
    return {
        "datasources/mainflow.yaml": {"apiVersion": 1, "datasources": [datasource(postgres)]},
        "dashboards/mainflow.yaml": _providers(board_folder, language),
        "alerting/rules.yaml": _groups(language, links),
        NOTIFICATIONS: notifications(receivers, former, zone, language),
    }


def generate(folder: Path = GENERATED) -> list[Path]:
    """Write the committed files below `folder`, a tree a language, for a container. Gives their paths."""
    told = [Receiver("webhook", WEBHOOK, f"${WEBHOOK_VARIABLE}")]
    texts: dict[str, str] = {}
    for language in LANGUAGES:
        made = files(CONTAINER_POSTGRES, told, CONTAINER_BOARDS, language=language)
        texts |= {f"{language}/{path}": _yaml(content) for path, content in made.items()}
        texts |= {f"{language}/boards/{path}": text for path, text in _board_texts(language, LINKS).items()}
    for path, text in texts.items():
        _write(folder / path, text)
    return [folder / path for path in texts]


def write(
    folder: Path,
    *,
    postgres_dsn: str,
    zone: str,
    language: str,
    http_port: int,
    receivers: Sequence[Receiver],
    links: Links = LINKS,
    link: str = "",
    wall: bool = False,
    theme: str = "dark",
) -> Path:
    """Write `grafana.ini` and the provisioning tree into `folder` (of a site) and give the ini's path.

    `zone`: IANA zone of the utility; `language`: `zh` or `en`; `link`: address of Grafana for links, empty for that of this
    machine; `links`: where else they lead. Nobody looks without a log-in, but with `wall` at the organisation that
    `organisations.make_wall` makes; nothing calls the internet.
    Passwords lie in files of mode 0600; the administrator's is made once, in `admin_password`.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}: allowed: {', '.join(LANGUAGES)}")
    ZoneInfo(zone)
    folder = folder.resolve()
    secret = folder / "admin_password"
    if not secret.exists():
        _write(secret, secrets.token_urlsafe(24), private=True)
    postgres = {key: _literal(str(value)) for key, value in conninfo_to_dict(postgres_dsn).items() if value is not None}
    literal = [each._replace(address=_literal(each.address), secret=_literal(each.secret)) for each in receivers]
    before = folder / "provisioning" / NOTIFICATIONS
    former = yaml.safe_load(before.read_text(encoding="utf-8")) if before.exists() else {}
    boards = folder / "boards"
    texts = _board_texts(language, links)
    for gone in set(boards.rglob("*.json")) - {boards / path for path in texts}:
        gone.unlink()  # of a former version: Grafana would go on showing it
    for group in GROUPS:  # one folder that is not there would keep Grafana from reading the others
        (boards / group).mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        _write(boards / path, text)
    made = files(postgres, literal, str(boards), language=language, zone=zone, links=links, former=former)
    for path, content in made.items():
        _write(folder / "provisioning" / path, _yaml(content), private=True)
    for empty in ("plugins", "provisioning/plugins", *(f"boards/{name}" for name in GROUPS)):  # the server wants each to be there
        (folder / empty).mkdir(parents=True, exist_ok=True)
    ini = folder / "grafana.ini"
    _write(ini, _ini(folder, secret, zone, language, http_port, link, wall, theme), private=True)
    return ini


def admin_password(folder: Path) -> str:
    """The administrator's password of the Grafana that `write` prepared in `folder`."""
    return (folder / "admin_password").read_text(encoding="utf-8")


def launch(home: Path, ini: Path, zone: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment that start the server. Alerts print times in the zone of the environment (TZ)."""
    command = [str(home / "bin" / "grafana"), "server", "--homepath", str(home), "--config", str(ini)]
    return command, {**os.environ, "TZ": zone}


def verify(url: str, password: str, *, wall: bool = False) -> list[Check]:
    """Whether the Grafana at `url` answers, reaches the marts, and has every board and rule without an error.

    `password`: the administrator's; `wall`: whether who has no log-in is to see the organisation of the wall.
    """
    api = api_of(url, password)
    login = _check("login", partial(_login, api))
    if not login.ok:  # five wrong passwords would lock the administrator out
        return [login]
    checks = [login, _check("datasource", partial(_datasource_health, api))]
    checks += [_check(f"board {name}", partial(_board_title, api, name)) for name in all_boards()]
    checks += [_check(f"rule {name}", partial(_rule_health, api, name)) for name in all_rules()]
    return checks + ([_check("wall", partial(_seen_without_login, url))] if wall else [])


def api_of(url: str, password: str) -> Any:
    """The API of the Grafana at `url` for its administrator, whose password it is."""
    place = urlsplit(url)
    return GrafanaFace(auth=("admin", password), host=place.hostname, port=place.port, protocol=place.scheme).api


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except FAILURES as error:
        return Check(name, False, str(error))


def _login(api: Any) -> str:
    return str(api.GET("/user")["login"])


def _seen_without_login(url: str) -> str:
    answer = requests.get(f"{url}/api/org", timeout=5)
    if answer.status_code != 200 or answer.json()["name"] != WALL:
        raise ValueError(
            f"expected organisation {WALL} without a log-in; Grafana answers {answer.status_code} {answer.text[:200]}"
        )
    return f"organisation {WALL} without a log-in"


def _datasource_health(api: Any) -> str:
    answer = api.GET(f"/datasources/uid/{DATASOURCE['uid']}/health")
    if answer["status"] != "OK":
        raise ValueError(answer["message"])
    return str(answer["message"])


def _board_title(api: Any, uid: str) -> str:
    return str(api.GET(f"/dashboards/uid/{uid}")["dashboard"]["title"])


def _rule_health(api: Any, uid: str) -> str:
    title = api.GET(f"/v1/provisioning/alert-rules/{uid}")["title"]
    groups = api.GET("/prometheus/grafana/api/v1/rules")["data"]["groups"]
    found = next((rule for group in groups for rule in group["rules"] if rule["uid"] == uid), None)
    if found is None:
        raise LookupError(f"{title}: provisioned, but no evaluation is scheduled")
    if found["health"] == "error":
        raise ValueError(f"{title}: {found.get('lastError', 'evaluation failed')}")
    return f"{title}: {found['state']}"


def datasource(postgres: Mapping[str, Any]) -> Json:
    """The data source of every board. `postgres`: libpq keywords of the role that it reads as."""
    host = postgres.get("host") or postgres.get("hostaddr", "127.0.0.1")
    mode = postgres.get("sslmode", "disable")
    # Grafana knows no "prefer"; what is not a demand for encryption is none.
    sslmode = mode if mode in ("require", "verify-ca", "verify-full") else "disable"
    return {
        "name": "Mainflow mart",
        "type": DATASOURCE["type"],
        "uid": DATASOURCE["uid"],
        "access": "proxy",
        "isDefault": True,
        "editable": False,
        "url": f"{host}:{postgres.get('port', '5432')}",
        "user": postgres.get("user", "postgres"),
        "jsonData": {
            "database": postgres.get("dbname", "postgres"),
            "sslmode": sslmode,
            "postgresVersion": 1500,
            "maxOpenConns": 10,
        },
        "secureJsonData": {"password": postgres.get("password", "")},
    }


def _providers(board_folder: str, language: str) -> Json:
    """A folder in Grafana a group of boards."""
    with spoken(language):
        titles = {name: str(title) for name, title in groups().items()}
    providers = [
        {
            "name": f"mainflow-{name}",
            "orgId": 1,
            "folder": title,
            "folderUid": f"mainflow-{name}",
            "type": "file",
            "disableDeletion": False,
            "allowUiUpdates": False,
            "updateIntervalSeconds": 60,
            "options": {"path": f"{board_folder}/{name}", "foldersFromFilesStructure": False},
        }
        for name, title in titles.items()
    ]
    return {"apiVersion": 1, "providers": providers}


def _groups(language: str, links: Links) -> Json:
    groups = []
    for name, found in all_rules(language, links).items():
        rule = dict(found)
        groups.append({"orgId": 1, "name": name, "folder": FOLDER, "interval": rule.pop("every"), "rules": [rule]})
    # Rules of before, which judged the newest figures by themselves.
    gone = [{"orgId": 1, "uid": uid} for uid in ("no-data", "pressure-below-limit")]
    return {"apiVersion": 1, "groups": groups, "deleteRules": gone}


def _ini(folder: Path, secret: Path, zone: str, language: str, port: int, link: str, wall: bool, theme: str) -> str:
    root_url = link or f"http://127.0.0.1:{port}"
    sections: dict[str, dict[str, object]] = {
        "paths": {
            "data": folder / "data",
            "logs": folder / "logs",
            "plugins": folder / "plugins",
            "provisioning": folder / "provisioning",
        },
        "server": {"http_addr": "127.0.0.1", "http_port": port, "root_url": f"{root_url}/"},
        "analytics": {
            "reporting_enabled": "false",
            "check_for_updates": "false",
            "check_for_plugin_updates": "false",
            "feedback_links_enabled": "false",
        },
        "plugins": {"preinstall_disabled": "true", "plugin_admin_enabled": "false", "public_key_retrieval_disabled": "true"},
        "news": {"news_feed_enabled": "false"},
        "snapshots": {"enabled": "false"},
        "security": {
            "admin_user": "admin",
            "admin_password": f"$__file{{{secret}}}",
            "disable_gravatar": "true",
            "cookie_secure": str(root_url.startswith("https:")).lower(),
        },
        "users": {"allow_sign_up": "false", "default_language": LANGUAGES[language], "default_theme": theme},
        "auth.anonymous": {"enabled": str(wall).lower(), "org_name": WALL, "org_role": "Viewer", "hide_version": "true"},
        "date_formats": {"default_timezone": zone},
        "dashboards": {"default_home_dashboard_path": folder / "boards" / "overview" / "home.json"},
        # A new receiver counts from the start on, not only a minute later.
        "unified_alerting": {"notification_log_retention": NEVER_AGAIN, "alertmanager_config_poll_interval": "10s"},
        "log": {"mode": "console", "level": "warn"},
    }
    lines = [f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) for name, values in sections.items()]
    return "\n".join(lines)


def _board_texts(language: str, links: Links) -> dict[str, str]:
    """The file of each board, by its path below the folder of boards."""
    return {
        f"{group_of(board)}/{name}.json": json.dumps(board, ensure_ascii=False, indent=1) + "\n"
        for name, board in all_boards(language, links).items()
    }


def _literal(value: str) -> str:
    """`value` so that Grafana's interpolation gives it back unchanged."""
    return value.replace("$", "$$")


def _yaml(content: Json) -> str:
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=1000)


def _write(path: Path, text: str, *, private: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600 if private else 0o644
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
