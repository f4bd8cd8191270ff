"""Every board in a real browser: what it shows wrongly, how long it takes, and a picture of it.

`python -m tests.dashboards.pictures OUT` writes pictures of all boards on a database of yours and prints a line each; needs
GRAFANA_HOME and Chromium. `--help` names the choices.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import dashboards
from tests.desk.chromium import Chromium, chromium
from tests.grafana_helpers import running_grafana

LANGUAGES, THEMES, WIDTHS = ("zh", "en"), ("dark", "light"), (1366, 1920)
TALLEST = 9000
"""Pixels of the tallest picture."""

PROBE = """(() => {
  const words = e => (e?.innerText || '').trim().split('\\n').join(' ').slice(0, 48);
  const all = s => [...document.querySelectorAll(s)];
  const cut = c => c.scrollWidth > c.clientWidth + 1 || c.role === 'columnheader' && c.scrollHeight > c.clientHeight + 2;
  const cells = all('[role="gridcell"],[role="columnheader"]').filter(c => c.innerText.trim() && cut(c));
  const grids = all('[role="grid"]').filter(g => g.scrollWidth > g.clientWidth + 1 && !g.querySelector('.rdg-cell-frozen'));
  const titles = all('section h2').filter(h => h.scrollWidth > h.clientWidth + 1);
  const errors = all('[data-testid="data-testid Panel status error"]');
  return JSON.stringify({
    errors: errors.map(e => words(e.closest('section'))),
    cells: [...new Set(cells.map(c => words(c)))],
    tables: grids.map(g => words(g.closest('section'))),
    titles: titles.map(words),
    page: document.documentElement.scrollWidth > window.innerWidth ? ['the page scrolls sideways'] : [],
    missing: all('h1').some(h => /not found/i.test(h.innerText)) ? ['no such board'] : [],
  });
})()"""
"""What is wrong: panels with an error, clipped cells, tables and a page wider than their place, cut titles.

A table whose first columns stay is meant to move: a month has 31 days.
"""

BUSY = """document.querySelectorAll('[aria-label="Panel loading bar"],[data-testid*="oading"]').length
  + (document.querySelector('section') ? 0 : 1)"""
OPEN = """document.querySelectorAll('button[aria-label="Expand row"],button[aria-label="展开行"]')
  .forEach(each => each.click())"""
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
HEIGHT = """Math.max(...[...document.querySelectorAll('.react-grid-layout, main, body')].map(e => e.scrollHeight)) + 160"""


class Seen(NamedTuple):
    """What a board showed: what is wrong by kind, seconds to the first paint and to the last panel."""

    wrong: dict[str, list[str]]
    first_s: float
    last_s: float


@contextmanager
def grafana_in_browser(folder: Path, dsn: str, *, language: str, theme: str, width: int) -> Iterator[tuple[Chromium, str]]:
    """A Grafana that reads the database at `dsn`, and a browser that is logged in there; gives browser and address."""
    with running_grafana(folder, dsn, [], language=language) as grafana, chromium(folder / "profile", width, 900) as browser:
        browser.open(f"{grafana.url}/login")
        _send(browser, "POST", "/login", {"user": "admin", "password": grafana.password})
        _send(browser, "PUT", "/api/user/preferences", {"theme": theme})
        yield browser, grafana.url


def look(browser: Chromium, url: str, uid: str, query: str = "", *, width: int, opened: bool = False) -> Seen:
    """Open a board and look at all of it; `opened`: its folded sections too. The page stays open, for a picture."""
    _size(browser, width, 900)
    began = time.monotonic()
    browser.open(f"{url}/d/{uid}?{query}")
    _settle(browser)
    last_s = time.monotonic() - began - 1.0  # the quiet second at the end is not the board's
    painted = browser.run(PAINTED)
    _size(browser, width, min(max(900, browser.run(HEIGHT)), TALLEST))
    if opened:
        _settle(browser)  # a click while panels move would be lost
        browser.run(OPEN)
        time.sleep(0.5)
        _size(browser, width, min(max(900, browser.run(HEIGHT)), TALLEST))
    time.sleep(0.5)
    _settle(browser)
    wrong = {kind: found for kind, found in json.loads(browser.run(PROBE)).items() if found}
    return Seen(wrong, (painted or 0) / 1000, last_s)


def _settle(browser: Chromium, longest_s: float = 90) -> None:
    """Wait until nothing has been loading for a second."""
    end, quiet = time.monotonic() + longest_s, 0
    while quiet < 4 and time.monotonic() < end:
        time.sleep(0.25)
        quiet = 0 if browser.run(BUSY) else quiet + 1


def _size(browser: Chromium, width: int, height: int) -> None:
    browser.do("Emulation.setDeviceMetricsOverride", width=width, height=int(height), deviceScaleFactor=1, mobile=False)


def _send(browser: Chromium, method: str, path: str, body: dict[str, Any]) -> None:
    text = json.dumps(json.dumps(body))
    headers = '{"Content-Type": "application/json"}'
    status = browser.run(
        f"fetch('{path}', {{method: '{method}', headers: {headers}, body: {text}}}).then(answer => answer.status)"
    )
    assert status == 200, (path, status)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="pictures of every board; for example: OUT --dsn 'host=… user=mainflow_board'")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    parser.add_argument("--dsn", required=True, help="the database, as the role of boards")
    parser.add_argument("--language", choices=LANGUAGES, default="zh")
    parser.add_argument("--theme", choices=THEMES, default="dark")
    parser.add_argument("--width", type=int, choices=WIDTHS, default=WIDTHS[0])
    parser.add_argument("--query", default="", help="what follows the board's address, such as from=now-1y&var-meter=M001")
    parser.add_argument("--only", nargs="*", default=[], help="boards; none: all")
    parser.add_argument("--opened", action="store_true", help="folded sections too")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="pictures-"))
    look_s = {"language": given.language, "theme": given.theme, "width": given.width}
    try:
        with grafana_in_browser(folder, given.dsn, **look_s) as (browser, url):
            for uid in given.only or dashboards.all_boards():
                seen = look(browser, url, uid, given.query, width=given.width, opened=given.opened)
                browser.picture(given.out / f"{uid}-{given.language}-{given.theme}-{given.width}.png")
                print(f"{uid:24} first {seen.first_s:4.1f} s, last {seen.last_s:4.1f} s  {seen.wrong or 'well'}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
