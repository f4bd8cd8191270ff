"""A real browser that tests drive through its own protocol (Chrome DevTools): pages, scripts, keys, pictures."""

import json
import shutil
import subprocess
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.daemon_helpers import eventually

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Chromium:
    """One page of a running browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._sent = connection, 0

    def do(self, method: str, **parameters: Any) -> Any:
        """Send a command of the protocol and give its result."""
        self._sent += 1
        self._connection.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(timeout=60))
            if answer.get("id") == self._sent:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        self.run("window.isOld = true")
        self.do("Page.navigate", url=url)
        self.await_new_page()

    def await_new_page(self) -> None:
        """Wait until another page is there than the one that was marked by `open` or `submit`."""
        eventually(lambda: self.run("!window.isOld && document.readyState === 'complete'"), "a new page is loaded", 60)

    def submit(self, script: str) -> None:
        """Run what leads to another page, and wait for it."""
        self.run(f"window.isOld = true; {script}")
        self.await_new_page()

    def press(self, *keys: str) -> None:
        """Press keys by their names: Tab, Enter, or one letter."""
        texts = {"Enter": "\r", "Space": " "}
        for key in keys:
            name = " " if key == "Space" else key
            text = texts.get(key, key if len(key) == 1 else "")
            codes = {"Enter": 13, "Tab": 9, "Space": 32}
            self.do("Input.dispatchKeyEvent", type="keyDown", key=name, text=text, windowsVirtualKeyCode=codes.get(key, 0))
            self.do("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=codes.get(key, 0))

    def picture(self, path: Path) -> None:
        """Write what is seen to a PNG."""
        path.write_bytes(b64decode(self.do("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium(folder: Path, width: int = 1366, height: int = 768) -> Iterator[Chromium]:
    """A browser for the time of the block, with its profile in `folder`."""
    assert PROGRAM
    size = f"--window-size={width},{height}"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-dev-shm-usage"]
    flags += ["--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0", f"--user-data-dir={folder}", size]
    process = subprocess.Popen([PROGRAM, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = eventually(lambda: _port(folder), "the browser listens", 60)

        def page() -> str | None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                pages = [each["webSocketDebuggerUrl"] for each in json.load(answer) if each["type"] == "page"]
            return pages[0] if pages else None

        with connect(eventually(page, "the browser has a page", 60), max_size=None, open_timeout=60) as connection:
            browser = Chromium(connection)
            browser.do("Network.enable")
            browser.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
            yield browser
    finally:
        process.terminate()
        process.wait(30)


def _port(folder: Path) -> int | None:
    path = folder / "DevToolsActivePort"
    lines = path.read_text().splitlines() if path.exists() else []
    return int(lines[0]) if lines else None
