"""Requests on one connection: one in flight, time-outs, repeats, late answers. No journal, and no protocol's detail.

Some answers do not identify their request (Modbus RTU names the meter, but not the register). Requests whose answers cannot be
told apart have one *identity* (`Codec.identity`). While answers to earlier requests of an identity may still come, no other
request of that identity is sent: they are waited for and dropped, as many as requests were sent, or until they count as lost.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ingest_daemon.codec_kit.api import Codec

GIVE_UP = 2
"""Requests in a row without an answer after which the rest of a round is given up: nobody is there."""

MOST_ANSWERS = 64
"""Answers of one round; a meter whose answers call for more without end is stopped here."""

LATE_TIMES = 4
"""Times `answer_s` after which an answer that was not waited for counts as lost, where the meter answered a repeat."""

GONE_TIMES, GONE_S = 24, 120.0
"""Times `answer_s`, and least seconds, after which it counts as lost where the meter answered nothing at all."""

HOLD_TIMES, HOLD_S = 3, 0.3
"""A possible duplicate is held for so many times the last answer's delay, and so many seconds more."""


@dataclass(slots=True)
class PendingRequest:
    """A round of requests to one terminal, and their answers.

    `requests`: still to be sent. `answered`: the requests that were answered and the answers, in order. `silent`: how many got
    no answer. `done` is called once: when all is answered, given up, or the connection ended.
    """

    terminal: str
    requests: deque[bytes]
    done: Callable[["PendingRequest"], None]
    tries: int
    answer_s: float
    answered: list[tuple[bytes, bytes]] = field(default_factory=list)
    silent: int = 0
    failed_in_row: int = 0


@dataclass(slots=True)
class _Sent:
    """A request whose answer did not come yet; after `lost_s` it is not waited for any more."""

    request: bytes
    identity: bytes
    sent_s: float
    lost_s: float


class RequestQueue:
    """The requests of a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, codec: Codec, send: Callable[[bytes], None]) -> None:
        self._loop, self._codec, self._send = loop, codec, send
        self._waiting: deque[PendingRequest] = deque()
        self._current: PendingRequest | None = None
        self._request = b""
        self._tries = 0
        self._is_draining = False
        self._timer: asyncio.TimerHandle | None = None
        self._sent: list[_Sent] = []
        self._believed: dict[bytes, tuple[bytes, bytes, float]] = {}
        """The last request of each identity that was answered, its answer, and when that came."""
        self._held = b""
        self._is_repeated = self._is_duplicating = False
        """Whether the current request was sent again for its held answer; whether this line is known to send answers twice."""
        self._delay_s = self._longest_s = 0.0
        """Delay of the last answer, and the longest of all, from the first sending on."""

    @property
    def is_busy(self) -> bool:
        """Whether a round is under way."""
        return self._current is not None

    def put(self, pending: PendingRequest) -> None:
        """Add a round; it begins once those before are done."""
        self._waiting.append(pending)
        if self._current is None:
            self._next_round()

    def take(self, raw: bytes) -> bool:
        """Whether the frame is the answer that is waited for; then it is taken."""
        request = self._request
        if not request or not self._codec.answers(request, raw):
            return False
        self._account([request])
        if not self._repeats_another(request, raw):
            self._is_duplicating |= bool(self._held)
            self._believe(request, raw)
        elif self._is_duplicating:
            return True
        elif not self._held:
            self._held = raw
            self._start_timer(min(self._round.answer_s, HOLD_TIMES * self._delay_s + HOLD_S), self._ask_once_more)
        elif self._is_repeated:
            self._believe(request, raw)
        return True

    def take_late(self, raw: bytes) -> bool:
        """Whether the frame answers an earlier request that is not waited for any more; then it is accounted for."""
        requests = [sent.request for sent in self._sent if self._codec.answers(sent.request, raw)]
        if not requests:
            self._is_duplicating |= any(answer == raw for _, answer, _ in self._believed.values())
            return False
        self._account(requests)
        if self._current is None:
            self._next_round()
        elif self._is_draining:
            self._next_request()
        return True

    def close(self) -> None:
        """The connection ended: every round is done as it is."""
        self._stop_timer()
        for pending in [*([self._current] if self._current else []), *self._waiting]:
            pending.silent += len(pending.requests) + (1 if pending is self._current and self._request else 0)
            pending.done(pending)
        self._current = None
        self._waiting.clear()
        self._sent.clear()

    @property
    def _round(self) -> PendingRequest:
        assert self._current is not None
        return self._current

    # --- which request is next -------------------------------------------------------------------------------------------------

    def _next_round(self) -> None:
        """Begin the first waiting round whose answers could not be taken for late ones."""
        self._stop_timer()
        self._request, self._is_draining = b"", False
        self._current = next((pending for pending in self._waiting if not self._confusable(pending.requests)), None)
        if self._current:
            self._waiting.remove(self._current)
            self._next_request()
        elif self._waiting:
            self._start_timer(min(sent.lost_s for sent in self._sent) - self._loop.time(), self._next_round)

    def _next_request(self) -> None:
        """Send the next request of the round, once no late answer could be taken for its own."""
        self._stop_timer()
        self._request, self._is_draining = b"", False
        pending = self._round
        confusable = self._confusable(pending.requests)
        if pending.requests and pending.failed_in_row < GIVE_UP and not (pending.failed_in_row and confusable):
            if confusable:
                self._is_draining = True
                self._start_timer(max(sent.lost_s for sent in confusable) - self._loop.time(), self._next_request)
                return
            self._request, self._tries = pending.requests.popleft(), 0
            self._held, self._is_repeated = b"", False
            self._ask()
            return
        pending.silent += len(pending.requests)
        self._current = None
        pending.done(pending)
        if self._current is None:
            self._next_round()

    def _confusable(self, requests: Iterable[bytes]) -> list[_Sent]:
        """Unanswered earlier requests whose late answers could be taken for one to the first of these."""
        now_s = self._loop.time()
        self._sent = [sent for sent in self._sent if sent.lost_s > now_s]
        request = next(iter(requests), b"")
        if not request or not self._sent:
            return []
        identity = self._codec.identity(request)
        return [sent for sent in self._sent if sent.identity == identity]

    # --- one request -----------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._tries += 1
        now_s = self._loop.time()
        self._sent.append(_Sent(self._request, self._codec.identity(self._request), now_s, float("inf")))
        self._send(self._request)
        self._start_timer(self._round.answer_s, self._unanswered)

    def _ask_once_more(self) -> None:
        """The same answer as to the request before: a duplicate of that, unless it comes again."""
        self._is_repeated = True
        self._ask()

    def _unanswered(self) -> None:
        pending = self._round
        if self._tries < pending.tries:
            self._ask()
            return
        pending.silent += 1
        pending.failed_in_row += 1
        self._expire_after(max(GONE_TIMES * pending.answer_s, GONE_S))
        self._request = b""
        self._start_timer(pending.answer_s, self._next_request)

    def _believe(self, request: bytes, raw: bytes) -> None:
        pending = self._round
        self._believed[self._codec.identity(request)] = request, raw, self._loop.time()
        pending.answered.append((request, raw))
        pending.failed_in_row = 0
        more = self._codec.follow_up(request, raw)
        if more is not None and len(pending.answered) < MOST_ANSWERS:
            pending.requests.appendleft(more)
        self._expire_after(max(LATE_TIMES * pending.answer_s, 2 * self._longest_s))
        self._next_request()

    def _repeats_another(self, request: bytes, raw: bytes) -> bool:
        """Whether the frame could be a duplicate of the answer to another request of this identity."""
        before, answer, came_s = self._believed.get(self._codec.identity(request), (request, b"", 0.0))
        is_recent = self._loop.time() - came_s < LATE_TIMES * self._round.answer_s
        return is_recent and before != request and answer == raw

    # --- answers that are still to come ----------------------------------------------------------------------------------------

    def _account(self, requests: list[bytes]) -> None:
        """Count an answer to the oldest of these requests."""
        sent = next((sent for sent in self._sent if sent.request in requests), None)
        if sent is not None:
            self._sent.remove(sent)
            self._delay_s = self._loop.time() - sent.sent_s
            self._longest_s = max(self._longest_s, self._delay_s)

    def _expire_after(self, seconds: float) -> None:
        """The answers to the current request's other tries count as lost after this."""
        for sent in self._sent:
            if sent.request == self._request:
                sent.lost_s = min(sent.lost_s, sent.sent_s + seconds)

    def _start_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(max(0.0, seconds), then)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
