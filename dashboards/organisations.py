"""What an organisation of Grafana beside the main one needs, through the API: files demand that their organisation is there.

    make(…)        an organisation with a data source of its own and the boards of now
    make_wall(…)   the one that is seen without a log-in

A second time nothing is written that is so already. Not here: who belongs to it (`people.py`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from grafana_api.grafana_api import GrafanaClientError

from dashboards import Json, all_boards, group_of, groups
from dashboards.provisioning import WALL, api_of, datasource
from dashboards.vocabulary import spoken

WALL_PLAYLIST = "大屏 Wall"
WALL_BOARDS = ("home", "alarms", "latest-data")
WALL_INTERVAL = "1m"

OF_GRAFANA = ("id", "version")
"""Keys of a stored board that are Grafana's own."""


class Writer:
    """Who changes a Grafana, and says each change; with `is_dry` he only says it."""

    def __init__(self, url: str, password: str, *, is_dry: bool = False) -> None:
        self.url = url
        self.api: Any = api_of(url, password)
        self.is_dry = is_dry
        self.changes: list[str] = []

    def send(self, text: str, method: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send a change and remember its text, where it has one of its own; gives the answer, None in a dry run."""
        answer = None if self.is_dry else getattr(self.api, method)(path, json=body, headers=headers)
        if text:
            self.changes.append(text)
        return answer

    def found(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        """What Grafana has at a path; None where there is nothing."""
        try:
            return self.api.GET(path, headers=headers)
        except GrafanaClientError as error:
            if error.status_code == 404:
                return None
            raise


class Organisation(NamedTuple):
    """An organisation that is there: its number, name, and the headers by which the administrator speaks for it."""

    number: int
    name: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Grafana-Org-Id": str(self.number)}


def make_wall(url: str, password: str, postgres: Mapping[str, Any], language: str) -> None:
    """Make the organisation `WALL` of the Grafana at `url`, with a data source of its own and the boards of now.

    `password`: the administrator's; `postgres`: libpq keywords of the role that only reads. Raises one of `FAILURES`.
    """
    make(Writer(url, password), WALL, postgres, all_boards(language), language)


def make(
    writer: Writer, name: str, postgres: Mapping[str, Any], boards: Mapping[str, Json], language: str
) -> Organisation | None:
    """The organisation with that data source and these boards; None where a dry run would make it.

    `postgres`: libpq keywords. Raises one of `FAILURES`.
    """
    found = writer.found(f"/orgs/name/{quote(name, safe='')}")
    if found is None:
        made = writer.send(f"组织 / organisation {name}", "POST", "/orgs", {"name": name})
        if made is None:
            return None
        found = {"id": made["orgId"]}
    place = Organisation(found["id"], name)
    _give_source(writer, place, postgres)
    _give_boards(writer, place, boards, language)
    return place


def _give_source(writer: Writer, place: Organisation, postgres: Mapping[str, Any]) -> None:
    """The data source, where it is absent, leads elsewhere, or does not answer: its password cannot be read back."""
    source = datasource(postgres)
    path = f"/datasources/uid/{source['uid']}"
    there = writer.found(path, place.headers)
    text = f"{place.name}: 数据源 / data source {source['user']}"
    if there is None:
        writer.send(text, "POST", "/datasources", source, place.headers)
        return
    is_same = all(there[key] == source[key] for key in ("url", "user")) and there["jsonData"] == source["jsonData"]
    if not (is_same and _is_well(writer, path, place)):
        writer.send(text, "PUT", path, source, place.headers)


def _is_well(writer: Writer, path: str, place: Organisation) -> bool:
    try:
        return bool(writer.api.GET(f"{path}/health", headers=place.headers)["status"] == "OK")
    except GrafanaClientError:  # so it answers where the database refuses the log-in
        return False


def _give_boards(writer: Writer, place: Organisation, boards: Mapping[str, Json], language: str) -> None:
    with spoken(language):
        titles = {f"mainflow-{name}": str(title) for name, title in groups().items()}
    there = {folder["uid"]: folder["title"] for folder in writer.api.GET("/folders?limit=1000", headers=place.headers)}
    for uid, title in titles.items():
        if uid not in there:
            folder = {"uid": uid, "title": title}
            writer.send(f"{place.name}: 文件夹 / folder {title}", "POST", "/folders", folder, place.headers)
    for uid, board in boards.items():
        folder_uid = f"mainflow-{group_of(board)}"
        found = writer.found(f"/dashboards/uid/{uid}", place.headers)
        stored = {key: value for key, value in found["dashboard"].items() if key not in OF_GRAFANA} if found else None
        wanted = {key: value for key, value in board.items() if key not in OF_GRAFANA}
        if stored != wanted or found["meta"].get("folderUid") != folder_uid:
            body = {"dashboard": board, "folderUid": folder_uid, "overwrite": True}
            writer.send(f"{place.name}: 看板 / board {uid}", "POST", "/dashboards/db", body, place.headers)


def give_home(writer: Writer, place: Organisation, boards: Mapping[str, Json]) -> None:
    """The home board of everybody who has no other, and the playlist of a wall."""
    if "home" in boards:
        there = writer.api.GET("/org/preferences", headers=place.headers)
        if there.get("homeDashboardUID") != "home":
            wanted = {**there, "homeDashboardUID": "home"}
            writer.send(f"{place.name}: 首页 / home board home", "PUT", "/org/preferences", wanted, place.headers)
    shown = [uid for uid in WALL_BOARDS if uid in boards]
    playlist = {
        "name": WALL_PLAYLIST,
        "interval": WALL_INTERVAL,
        "items": [{"type": "dashboard_by_uid", "value": uid} for uid in shown],
    }
    listed = writer.api.GET("/playlists", headers=place.headers)
    number = next((known["uid"] for known in listed if known["name"] == WALL_PLAYLIST), None)
    text = f"{place.name}: 轮播 / playlist {WALL_PLAYLIST}"
    if number is None:
        writer.send(text, "POST", "/playlists", playlist, place.headers)
        return
    there = writer.api.GET(f"/playlists/{number}", headers=place.headers)
    if any(there[key] != playlist[key] for key in ("interval", "items")):
        writer.send(text, "PUT", f"/playlists/{number}", playlist, place.headers)
