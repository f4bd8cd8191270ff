"""Requests to an InfluxDB server and the judgement of its answers, whatever the content.

influxdb-client carries the requests; its own write API is not used, because 1.x before 1.8 does not have it and because it
drops a batch after some minutes of absence.
"""

import base64
import gzip
import re
import struct
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import urllib3
from fastcrc import crc32
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException

from ingest_daemon.stores import StoreAway
from ingest_daemon.stores.settings import StoreSettings

_SITE_LIMITS = ("max-values-per-tag", "max-series-per-database")
"""Limits in the server's configuration: it answers 400 as if the line were wrong, but the site is (see `deploy/`)."""

_PERMANENT = re.compile(
    r"dropped=[1-9]|beyond retention|field type conflict|out of (?:bounds|range)|outside[a-z ]* range|unable to parse",
    re.IGNORECASE,
)
"""Reasons of a refusal that no later try changes; 2.x sends some of them with status 500."""

_STORED = 0xFFFF
"""Most bytes of a stored block."""

_LOG_IN_STATUSES = (401, 403, 407)
_NO_DATABASE_STATUSES = (404, 405)
_WAIT_STATUSES = (408, 429)


class Refused(Exception):
    """The server will never take (some part of) this request; `words` are its reason, `status` is its status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class Trouble(StoreAway):
    """The server failed on this request (5xx, no answer in time, cut off, no proper yes); `words` say how.

    The server may be in trouble, or this request alone may be the cause.
    """

    def __init__(self, message: str, words: str) -> None:
        super().__init__(message)
        self.words = words


class Denied(StoreAway):
    """The log-in or the kind of server does not allow this request; another one may work."""


class InfluxServer:
    """The server that the settings name. `timeout_ms`: connect and read."""

    def __init__(self, settings: StoreSettings, timeout_ms: tuple[int, int]) -> None:
        parts = urlsplit(settings.influx_url)
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._database = settings.influx_database
        self._password = settings.influx_password
        self._login = _login(settings)
        # To compress what crosses no wire costs both sides more than it saves.
        self._pack = stored_gzip if _is_here(parts.hostname or "") else partial(gzip.compress, compresslevel=1)
        self._takes_gzip: bool | None = None
        """None until the server accepted a compressed body; False once it accepted only the plain one."""
        self._api: Any = InfluxDBClient(url=self.address, token="", timeout=timeout_ms).api_client

    def write(self, body: bytes, precision: str, timeout_ms: tuple[int, int]) -> None:
        """Write lines; returns only after an empty 204, the one answer that means that all lines are stored.

        Raises `Refused` or `StoreAway`. A server behind a proxy that does not take gzip gets plain bodies.
        """
        if self._takes_gzip is not False:
            try:
                self._write_body(self._pack(body), {"Content-Encoding": "gzip"}, precision, timeout_ms)
            except Refused:
                if self._takes_gzip:
                    raise
            else:
                self._takes_gzip = True
                return
        self._write_body(body, {}, precision, timeout_ms)
        self._takes_gzip = False

    def _write_body(self, body: bytes, headers: Mapping[str, str], precision: str, timeout_ms: tuple[int, int]) -> None:
        parameters = {"db": self._database, "precision": precision}
        headers = {"Content-Type": "text/plain; charset=utf-8", **headers}
        answer = self.send("POST", "/write", parameters, headers, body, timeout_ms=timeout_ms)
        if answer.status != 204 or _has_content(answer):
            words = self.words(self.content(answer)) or "no words"
            raise Trouble(
                f"InfluxDB at {self.address} answered {answer.status} to a write, expected 204 without content; "
                f"check that [store] influx_url is the server itself: {words}",
                words,
            )
        answer.drain_conn()

    def send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        form: Mapping[str, str] | None = None,
        timeout_ms: tuple[int, int] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The 2xx answer to one request, not read yet. Raises `Refused` or `StoreAway` for any other."""
        content = {} if headers and "Content-Type" in headers else {"Content-Type": "text/plain"}
        try:
            answer: urllib3.BaseHTTPResponse = self._api.call_api(
                path,
                method,
                query_params=list(parameters.items()),
                header_params={**content, **(headers or {}), **self._login},
                body=body,
                post_params=list((form or {}).items()),
                auth_settings=[],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=timeout_ms,
            )
        except ApiException as error:
            if not error.status:
                raise StoreAway(f"InfluxDB at {self.address}: no secure connection: {error.reason}") from None
            raise self._judged(error) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._unanswered(error) from None
        return answer

    def content(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """The whole content of an answer. Raises `Trouble` where it is cut short."""
        try:
            return answer.read()
        except urllib3.exceptions.HTTPError as error:
            raise self._unanswered(error) from None

    def away(self, refusal: Refused) -> StoreAway:
        """The error for a request that every healthy server takes."""
        return StoreAway(f"InfluxDB at {self.address} is in trouble ({refusal.status}): {refusal.words}")

    def words(self, body: Any) -> str:
        """The server's own words of an answer (JSON or text), in one line, without the password."""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
        message = re.search(r'"(?:error|message)"\s*:\s*"((?:[^"\\]|\\.)*)"', text)
        words = " ".join((message[1].replace('\\"', '"') if message else text).split())
        return (words.replace(self._password, "***") if self._password else words)[:500]

    def _unanswered(self, error: urllib3.exceptions.HTTPError) -> StoreAway:
        # urllib3 counts a refused connection and one that could not be made in time among the time-outs.
        if isinstance(error, urllib3.exceptions.NewConnectionError):
            return StoreAway(f"InfluxDB at {self.address} cannot be reached ({type(error).__name__})")
        if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
            return StoreAway(f"InfluxDB at {self.address} does not answer in time")
        if isinstance(error, urllib3.exceptions.TimeoutError):
            return Trouble(f"InfluxDB at {self.address} does not answer in time", "no answer in time")
        words = f"{type(error).__name__}: the connection ended before the answer was whole"
        return Trouble(f"InfluxDB at {self.address} cannot be reached ({words})", words)

    def _judged(self, error: ApiException) -> Exception:
        words, status, server = self.words(error.body), int(error.status), f"InfluxDB at {self.address}"
        if any(limit in words for limit in _SITE_LIMITS):
            return StoreAway(f"{server} is at a limit of its own configuration; set it to 0: {words}")
        if status in _LOG_IN_STATUSES:
            kind = Denied if status == 403 else StoreAway
            keys = "[store] influx_auth, influx_user and influx_password"
            return kind(f"{server} refuses the log-in ({status}); see {keys}: {words}")
        if status in _NO_DATABASE_STATUSES:
            return Denied(f"{server} has no {self._database!r}; create it or mend [store] influx_database ({status}): {words}")
        message = f"{server} is in trouble ({status}): {words}"
        if status in _WAIT_STATUSES or status < 400:
            return StoreAway(message)
        if status < 500 or _PERMANENT.search(words):
            return Refused(status, words)
        return Trouble(message, words)


def stored_gzip(data: bytes) -> bytes:
    """The data as gzip without compression (RFC 1952, stored blocks of RFC 1951), many times quicker than zlib's level 0."""
    blocks = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"]
    for start in range(0, max(len(data), 1), _STORED):
        block = data[start : start + _STORED]
        is_last = start + _STORED >= len(data)
        blocks += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*blocks, struct.pack("<II", crc32.iso_hdlc(data), len(data) & 0xFFFFFFFF)])


def _has_content(answer: urllib3.BaseHTTPResponse) -> bool:
    """Whether the headers announce content, or an error of InfluxDB 1.x; HTTP libraries do not read content of a 204."""
    length = answer.headers.get("Content-Length", "0").strip()
    return length not in ("", "0") or "Transfer-Encoding" in answer.headers or "X-Influxdb-Error" in answer.headers


def _login(settings: StoreSettings) -> dict[str, str]:
    if settings.influx_auth == "token":
        return {"Authorization": f"Token {settings.influx_password}"}
    if settings.influx_auth == "basic":
        pair = f"{settings.influx_user}:{settings.influx_password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _is_here(host: str) -> bool:
    """Whether the server is on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
