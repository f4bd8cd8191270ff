"""One alarm through the whole product: socket, row, webhook of a real Grafana, answer in a real browser, ticker, statistics.

Runs where GRAFANA_HOME names an installed Grafana 12 or `grafana` is on the PATH, and a Chromium is there.
"""

from pathlib import Path

import pytest
import requests

from pipelines.processes import servers
from tests.alarms.end_to_end import PASSWORD, running
from tests.daemon_helpers import TERMINALS, eventually
from tests.desk.chromium import PROGRAM, chromium
from tests.desk.desk_helpers import Browser

HOME = servers.grafana_home()


@pytest.mark.skipif(HOME is None, reason="needs a Grafana 12: set GRAFANA_HOME or put `grafana` on the PATH")
@pytest.mark.skipif(PROGRAM is None, reason="needs a Chromium on the PATH")
@pytest.mark.timeout(900)
def test_an_alarm_is_told_answered_and_counted(tmp_path: Path) -> None:
    assert HOME is not None
    with running(tmp_path, HOME, {"vera": "Viewer", "olga": "Editor"}) as whole:
        whole.tell(TERMINALS[0], ["MAG"])
        alarm_id = whole.alarm_of(TERMINALS[0], "MAG")
        ((_, told),) = eventually(lambda: whole.hook.about(alarm_id, "firing"), "it is told", 120)
        assert "强磁干扰" in told["annotations"]["summary"] and f"M{TERMINALS[0]}" in told["annotations"]["summary"]
        whole.tell(TERMINALS[0], [])
        ((_, resolved),) = eventually(lambda: whole.hook.about(alarm_id, "resolved"), "its end is told", 120)
        assert "恢复" in resolved["annotations"]["summary"]
        on_ticker = "select 1 from ops.alarm_ticker where alarm_id = %s and role = 'viewer'"
        assert whole.rows(on_ticker, alarm_id), "nobody has answered it"

        viewer = Browser(whole.desk)
        assert viewer.log_in("vera", PASSWORD).status_code == 200
        viewer.get("/alarms")
        assert viewer.post("/alarms/acknowledge", {"alarm": alarm_id, "cause": "network"}).status_code == 403
        forged = requests.get(f"{whole.desk}/alarms", cookies={"mainflow_desk": "olga.operator.forged"}, timeout=30)
        assert forged.url.startswith(f"{whole.desk}/login")

        with chromium(tmp_path / "profile") as browser:
            browser.open(f"{whole.desk}/login")
            browser.press(*"olga", "Tab", *(key if key != " " else "Space" for key in PASSWORD))
            browser.submit("document.querySelector('form').requestSubmit()")
            browser.open(f"{whole.desk}/alarms/{alarm_id}")
            browser.run("document.querySelector('[name=cause]').value = 'theft'")
            browser.submit("document.querySelector('[name=cause]').form.requestSubmit()")
        eventually(
            lambda: whole.rows("select 1 from ops.alarm where acknowledged_by = 'olga' and cause = 'theft'"), "answered", 30
        )
        assert not whole.rows(on_ticker, alarm_id)
        counted = "select alarms, open from mart.alarm_statistics where kind = 'cause' and code = 'theft' and alarm_code = 'MAG'"
        eventually(lambda: whole.rows("select to_regclass('mart.alarm_statistics')") != [(None,)], "the first figures", 240)
        assert whole.rows(counted) == [(1, 0)]
        assert len(whole.hook.about(alarm_id, "firing")) == len(whole.hook.about(alarm_id, "resolved")) == 1
