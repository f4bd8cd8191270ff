"""Stand-ins for who is told of alarms: an HTTP server that takes what Grafana posts, and answers as the named robot would.

A stand-in is no proof of the vendor's own service: it checks the JSON by the published rules and answers with an errcode.
"""

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Post(NamedTuple):
    """What came: path without query, when (monotonic s), Authorization, body as it came and read, errcode of the answer."""

    path: str
    at: float
    authorization: str
    raw: bytes
    body: Any
    errcode: int


class StandIn:
    """Takes posts at any path; those of `ROBOTS` are checked as their vendors document."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.posts: list[Post] = []

    def to(self, path: str) -> list[Post]:
        """What came to a path."""
        return [post for post in self.posts if post.path == path]

    def alerts(self, path: str = "/webhook") -> list[dict[str, Any]]:
        """The alerts of Grafana's own JSON at a path, in order."""
        return [alert for post in self.to(path) for alert in post.body["alerts"]]


def dingtalk_errcode(body: Any) -> int:
    """The errcode that DingTalk's robot documents: 40035 for parameters that are missing, 0 for a markdown or text message."""
    kind = body.get("msgtype") if isinstance(body, dict) else None
    if kind == "markdown":
        inner = body.get("markdown", {})
        ok = all(isinstance(inner.get(key), str) and inner[key].strip() for key in ("title", "text")) and len(str(inner)) < 20_000
        return 0 if ok else 40035
    if kind == "text":
        return 0 if str(body.get("text", {}).get("content", "")).strip() else 40035
    return 40035


def wecom_errcode(body: Any) -> int:
    """The errcode that WeCom's robot documents: 40008 for an unknown msgtype, 44004 for no content, 40058 for too many bytes."""
    kind = body.get("msgtype") if isinstance(body, dict) else None
    if kind not in ("markdown", "text"):
        return 40008
    content = body.get(kind, {}).get("content", "")
    if not isinstance(content, str) or not content.strip():
        return 44004
    return 0 if len(content.encode()) <= (4096 if kind == "markdown" else 2048) else 40058


ROBOTS = {"/stand-in-of-dingtalk": dingtalk_errcode, "/stand-in-of-wecom": wecom_errcode}


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A running stand-in on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            path = self.path.partition("?")[0]
            body = json.loads(raw)
            errcode = ROBOTS[path](body) if path in ROBOTS else 0
            taken.posts.append(Post(path, time.monotonic(), self.headers.get("Authorization", ""), raw, body, errcode))
            answer = json.dumps({"errcode": errcode, "errmsg": "ok" if not errcode else "invalid parameter"}).encode()
            self.send_response(200)  # robots say no with 200 as well
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    taken = StandIn(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def stand_in_of_smtp() -> Iterator[tuple[int, list[Message]]]:
    """A stand-in of a mail server: its port, and the messages that it has taken."""
    taken: list[Message] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 stand-in\r\n")
            for line in self.rfile:
                word = line.split()[0].upper() if line.split() else b""
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    taken.append(message_from_bytes(b"".join(lines), policy=default))
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1], taken
        finally:
            server.shutdown()
