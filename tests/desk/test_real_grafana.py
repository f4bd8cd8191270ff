"""Log-ins of a real Grafana, with the desk started beside it as `mainflow up` does.

Runs where GRAFANA_HOME names an installed Grafana 12 or `grafana` is on the PATH.
"""

from pathlib import Path

import pytest
import requests

from dashboards import provisioning
from pipelines import site_folder
from pipelines.processes import servers
from pipelines.settings import ServerSettings, load
from tests.desk.conftest import Alarms
from tests.desk.desk_helpers import Browser
from tests.up_helpers import free_port

HOME = servers.grafana_home()
ROLES = {"vera": ("Viewer", "查看者", 403), "edith": ("Editor", "操作员", 200), "anna": ("Admin", "管理员", 200)}
PASSWORD = "a pass:word ü"


@pytest.mark.skipif(HOME is None, reason="needs a Grafana 12: set GRAFANA_HOME or put `grafana` on the PATH")
@pytest.mark.timeout(300)
def test_users_of_a_real_grafana_log_in_with_the_rights_of_their_role(tmp_path: Path, desk_dsn: str, alarms: Alarms) -> None:
    assert HOME is not None
    given = {
        "postgres": {
            "dsn": desk_dsn,
            "board_dsn": desk_dsn.replace("user=postgres", "user=mainflow_board"),
            "desk_dsn": desk_dsn.replace("user=postgres", "user=mainflow_desk"),
        },
        "servers": {"grafana_port": int(free_port()), "grafana_url": "https://boards.example"},
        "desk": {"port": 0},
    }
    settings = load(site_folder.create(tmp_path / "site", "embedded", given, examples=False).root)
    with servers.grafana(settings, HOME), servers.desk(settings, with_grafana=True) as url:
        grafana = settings[ServerSettings].grafana_local
        admin = ("admin", provisioning.admin_password(settings.folder.grafana))
        users = [(login, role, 1) for login, (role, _, _) in ROLES.items()]
        organisation = requests.post(f"{grafana}/api/orgs", json={"name": "East"}, auth=admin, timeout=30).json()["orgId"]
        for login, role, number in [*users, ("elsa", "Admin", organisation)]:
            user = {"login": login, "password": PASSWORD, "OrgId": number}
            made = requests.post(f"{grafana}/api/admin/users", json=user, auth=admin, timeout=30).json()
            place = f"{grafana}/api/orgs/{number}/users/{made['id']}"
            requests.patch(place, json={"role": role}, auth=admin, timeout=30).raise_for_status()
        for login, (_, word, status) in ROLES.items():
            browser = Browser(url)
            page = browser.log_in(login, PASSWORD)
            assert f"{login} · {word}" in page.text
            assert "https://boards.example" in page.text
            browser.get("/alarms")
            answer = browser.post("/alarms/acknowledge", {"alarm": alarms.low, "cause": "network"})
            assert (answer.status_code, "edith" in answer.text) == (status, status == 200)
        assert Browser(url).log_in("elsa", PASSWORD).status_code == 403
        assert Browser(url).log_in(*admin).status_code == 200
        assert Browser(url).log_in("vera", "wrong").status_code == 401
    logs = "".join(path.read_text() for path in settings.folder.logs.glob("desk*"))
    assert "edith logged in" in logs and PASSWORD not in logs and admin[1] not in logs
