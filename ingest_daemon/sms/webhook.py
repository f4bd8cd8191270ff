"""`POST /sms`: a gateway's request → authorization → messages → replay check → inbox. Answered once it is safe on disk."""

import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from hashlib import sha256
from typing import Any, NamedTuple

from starlette.datastructures import Headers
from starlette.responses import Response

from ingest_daemon.contract.http import json_response, refusal
from ingest_daemon.contract.schema import Reason
from ingest_daemon.sms.inbox import Inbox, NotSafe, Taken
from ingest_daemon.sms.pdu import BadPdu, Part, read_pdu
from ingest_daemon.sms.replay import Seen
from ingest_daemon.sms.settings import SmsSettings

MOST_MESSAGES = 500
_MS_FROM = 1e11
"""Numbers from here on are milliseconds: as seconds they would be the year 5138."""


class Message(NamedTuple):
    """A message of a gateway. `identity`: distinguishes it from every other; `at_us`: time of sending (None: not given)."""

    sender: str
    content: str | bytes
    coding: str
    part: Part | None
    identity: bytes
    at_us: int | None


class Posted(NamedTuple):
    """A request of a gateway."""

    headers: Headers
    body: bytes


class Unusable(ValueError):
    """A request or message that does not have the form of the settings; the text names the expected form."""


def authorized(request: Posted, secret: str) -> bool:
    """Whether the request has the secret: in X-Mainflow-Secret, as a bearer token, or as the body's HMAC-SHA-256 in hex.

    Compared in constant time, so that the time of an answer does not reveal the secret.
    """
    key = secret.encode()
    signature = hmac.new(key, request.body, sha256).hexdigest()
    bearer = request.headers.get("authorization", "")
    given = (
        (request.headers.get("x-mainflow-secret", ""), secret),
        (bearer[7:].strip() if bearer[:7].lower() == "bearer " else "", secret),
        (request.headers.get("x-signature", "").lower().removeprefix("sha256="), signature),
    )
    return any(hmac.compare_digest(shown.encode("latin-1"), wanted.encode("latin-1")) for shown, wanted in given)


class Webhook:
    """Answers `POST /sms`."""

    def __init__(self, settings: SmsSettings, zone: tzinfo, inbox: Inbox, seen: Seen, tally: Counter[str]) -> None:
        """`zone`: of times that name none."""
        self._settings, self._zone, self._inbox, self._seen, self._tally = settings, zone, inbox, seen, tally
        self._in_work: set[bytes] = set()

    async def answer(self, request: Posted) -> Response:
        """Accept the messages of an authorized request."""
        now_us = time.time_ns() // 1000
        try:
            return await self._take(request, now_us)
        except NotSafe as error:
            self._tally["in_not_safe"] += 1
            return refusal(503, f"未能落盘，请稍后重发：{error}", f"not safe on disk, send it again later: {error}")

    async def _take(self, request: Posted, now_us: int) -> Response:
        try:
            items = list(self._items(request))
        except Unusable as error:
            await self._inbox.keep("", Reason.NOISE, str(error), request.body, now_us)
            self._tally["in_refused"] += 1
            return refusal(422, f"请求无法使用：{error}", f"the request cannot be used: {error}")
        taken, repeated, refused = Taken(), 0, []
        for item in items:
            try:
                message = self._message(item)
            except (Unusable, BadPdu) as error:
                raw = item.encode() if isinstance(item, str) else json.dumps(item).encode()
                await self._inbox.keep("", Reason.NOISE, str(error), raw, now_us)
                refused.append(str(error))
                continue
            if message.identity in self._in_work:
                raise NotSafe("the same message is being taken right now")
            if message.identity in self._seen:
                repeated += 1
            elif late := self._late(message, now_us):
                raw = message.content if isinstance(message.content, bytes) else message.content.encode("utf-8", "replace")
                await self._inbox.keep(message.sender, Reason.REPLAYED, late, raw, now_us)
                repeated += 1
            else:
                taken = taken.plus(await self._one(message, now_us))
        self._tally.update(in_refused=len(refused), in_repeated=repeated)
        body = {**taken._asdict(), "repeated": repeated, "refused": refused}
        if any(taken):
            return json_response(200, body)
        if repeated:
            zh, en = "消息已收过，或其时间超出时间窗", "the message came before, or its time is outside of the window"
            return refusal(409, zh, en, **body)
        zh, en = f"消息无法使用：{'; '.join(refused)}", f"the message cannot be used: {'; '.join(refused)}"
        return refusal(422, zh, en, **body)

    async def _one(self, message: Message, now_us: int) -> Taken:
        self._in_work.add(message.identity)
        try:
            taken = await self._inbox.take(message.sender, message.content, now_us, message.part, message.coding)
        finally:
            self._in_work.discard(message.identity)
        self._seen.add(message.identity, now_us)  # only once it is safe: after a 503 the gateway sends again
        self._tally["in_messages"] += 1
        return taken

    def _late(self, message: Message, now_us: int) -> str:
        """The reason for which the message's time is refused; "" where it is accepted or absent."""
        window_h = self._settings.window_h
        if message.at_us is None or abs(now_us - message.at_us) <= window_h * 3.6e9:
            return ""
        return (
            f"sent {(now_us - message.at_us) / 3.6e9:.1f} h ago by its own word, expected at most {window_h:g} ([sms] window_h)"
        )

    def _items(self, request: Posted) -> Iterator[Mapping[str, Any] | str]:
        """The messages of a body: JSON objects, or PDUs in hex, one a line. Raises `Unusable`."""
        try:
            body = request.body.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise Unusable(f"expected UTF-8: {error}") from None
        if "json" not in request.headers.get("content-type", "") and body[:1] not in ("{", "["):
            items: Any = body.split()
        else:
            try:
                items = json.loads(body)
            except (ValueError, RecursionError) as error:
                raise Unusable(f"expected JSON: {error}") from None
            if isinstance(items, dict):
                inside = _at(items, self._settings.messages_field)
                items = inside if isinstance(inside, list) else [items]
        if not isinstance(items, list) or not 0 < len(items) <= MOST_MESSAGES:
            raise Unusable(f"expected an object, a list of 1 to {MOST_MESSAGES} of them, or PDUs in hex")
        yield from items

    def _message(self, item: Any) -> Message:
        """One message. Raises `Unusable`, `BadPdu`."""
        if isinstance(item, str):
            return _from_pdu(item, "", None)
        if not isinstance(item, dict):
            raise Unusable(f"expected an object, there is {type(item).__name__}")
        own = _at(item, self._settings.id_field)
        identity = "" if own is None else str(own)
        at_us = self._time(_at(item, self._settings.time_field))
        if pdu := _at(item, self._settings.pdu_field):
            return _from_pdu(str(pdu), identity, at_us)
        sender, content = _at(item, self._settings.sender_field), _at(item, self._settings.content_field)
        if not isinstance(sender, (str, int)) or not isinstance(content, str):
            names = f"{self._settings.sender_field} and {self._settings.content_field}, or {self._settings.pdu_field}"
            raise Unusable(f"expected the fields {names} ([sms] …_field); there are: {list(item)}")
        coding = str(_at(item, self._settings.coding_field) or "")
        words = (f"id {identity}" if identity else f"said {content}", str(sender), str(at_us))
        return Message(str(sender), content, coding, None, "\n".join(words).encode("utf-8", "replace"), at_us)

    def _time(self, value: Any) -> int | None:
        """µs since 1970 UTC of a gateway's time. Raises `Unusable`."""
        if value is None or value == "":
            return None
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            try:
                moment = datetime.fromisoformat(str(value))
            except ValueError:
                raise Unusable(f"{self._settings.time_field} = {value!r}: expected ISO 8601, or seconds since 1970") from None
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=self._zone)).timestamp()
        if not abs(seconds) < _MS_FROM * 1000:  # nan is none, either
            raise Unusable(f"{self._settings.time_field} = {value!r}: no time")
        return int(seconds * 1e6 if abs(seconds) < _MS_FROM else seconds * 1e3)


def _from_pdu(text: str, identity: str, at_us: int | None) -> Message:
    try:
        pdu = bytes.fromhex(text)
    except ValueError as error:
        raise Unusable(f"expected a PDU in hex: {error}") from None
    sms = read_pdu(pdu)
    sent_us = int(sms.sent_at.timestamp() * 1e6) if sms.sent_at else None
    return Message(sms.sender, sms.content, "", sms.part, identity.encode("utf-8", "replace") + b"\n" + pdu, at_us or sent_us)


def _at(table: Mapping[str, Any], name: str) -> Any:
    """A field by its name, inwards at each dot; None where it is absent."""
    value: Any = table
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
