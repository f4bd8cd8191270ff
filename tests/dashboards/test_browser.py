"""Every board in a real Grafana and a real browser, on the demo: no error, nothing cut off, in both languages."""

from pathlib import Path

import pytest

import dashboards
from pipelines import settings
from pipelines.processes import postgres, servers
from tests.dashboards import pictures
from tests.demo_site import Demo
from tests.desk.chromium import PROGRAM
from tests.grafana_helpers import HOME

pytestmark = [
    pytest.mark.skipif(HOME is None, reason="needs a Grafana 12: set GRAFANA_HOME or put `grafana` on the PATH"),
    pytest.mark.skipif(PROGRAM is None, reason="needs Chromium on the PATH"),
]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("language", "theme", "width"), [("zh", "dark", 1366), ("en", "light", 1920)])
def test_no_board_shows_an_error_or_cuts_anything_off(demo: Demo, tmp_path: Path, language: str, theme: str, width: int) -> None:
    loaded = settings.load(demo.site)
    with (
        servers.postgres(loaded),
        pictures.grafana_in_browser(tmp_path, postgres.board_dsn(loaded.folder), language=language, theme=theme, width=width) as (
            browser,
            url,
        ),
    ):
        wrong = {uid: pictures.look(browser, url, uid, width=width, opened=True).wrong for uid in dashboards.all_boards()}
    assert {uid: found for uid, found in wrong.items() if found} == {}
