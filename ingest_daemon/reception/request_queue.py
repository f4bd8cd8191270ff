"""Questions on one connection: one in flight, time-outs, repeats. No journal and no protocol's detail.

Some answers do not say what they answer (Modbus RTU). So where an answer is overdue, the line is left alone for a while before
another request: what still comes then is nobody's answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest_daemon.codec_kit.api import Codec

GIVE_UP = 2
"""So many requests in a row without an answer end a question: nobody is there."""

MOST_ANSWERS = 64
"""A meter whose answers call for more answers without end is stopped here."""


@dataclass(slots=True)
class PendingRequest:
    """What is asked of one terminal, and what came.

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


class RequestQueue:
    """The questions of a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, codec: Codec, send: Callable[[bytes], None]) -> None:
        self._loop, self._codec, self._send = loop, codec, send
        self._waiting: deque[PendingRequest] = deque()
        self._now: PendingRequest | None = None
        self._request = b""
        self._tries = 0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, question: PendingRequest) -> None:
        """Ask once those before are done."""
        self._waiting.append(question)
        if self._now is None:
            self._next_question()

    def take(self, raw: bytes) -> bool:
        """Whether the frame is the answer that is waited for; then it is taken."""
        question = self._now
        if question is None or not self._request or not self._codec.answers(self._request, raw):
            return False
        question.answered.append((self._request, raw))
        question.failed_in_row = 0
        more = self._codec.follow_up(self._request, raw)
        if more is not None and len(question.answered) < MOST_ANSWERS:
            question.requests.appendleft(more)
        self._request = b""
        if self._tries > 1:  # the answers to the other tries may still come
            self._timer_for(question.answer_s, self._next_request)
        else:
            self._next_request()
        return True

    def close(self) -> None:
        """The connection ended: what was asked is done as it is."""
        self._stop_timer()
        for question in [*([self._now] if self._now else []), *self._waiting]:
            question.silent += len(question.requests) + (1 if question is self._now and self._request else 0)
            question.done(question)
        self._now = None
        self._waiting.clear()

    def _next_question(self) -> None:
        self._now = self._waiting.popleft() if self._waiting else None
        if self._now:
            self._next_request()

    def _next_request(self) -> None:
        self._stop_timer()
        question = self._now
        assert question is not None
        if question.requests and question.failed_in_row < GIVE_UP:
            self._request, self._tries = question.requests.popleft(), 0
            self._ask()
            return
        question.silent += len(question.requests)
        self._request = b""
        question.done(question)
        self._next_question()

    def _ask(self) -> None:
        assert self._now is not None
        self._tries += 1
        self._send(self._request)
        self._timer_for(self._now.answer_s, self._unanswered)

    def _unanswered(self) -> None:
        question = self._now
        assert question is not None
        if self._tries < question.tries:
            self._ask()
            return
        question.silent += 1
        question.failed_in_row += 1
        self._request = b""
        self._timer_for(question.answer_s, self._next_request)

    def _timer_for(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
