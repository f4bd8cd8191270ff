"""Questions on one connection: one in flight, time-outs, repeats."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from ingest_daemon.codec_kit.api import Codec
from ingest_daemon.reception.request_queue import PendingRequest, RequestQueue

CODEC = cast(
    Codec,
    SimpleNamespace(
        answers=lambda request, frame: frame.lower().startswith(request.lower()),
        identity=lambda request: request,
        follow_up=lambda request, frame: b"more" if frame == b"A+" else None,
    ),
)
"""A made-up protocol: an answer begins like its request; `A+` calls for the request `more`."""


class Line:
    """A connection as an exchange sees it: what was sent, and what each question came to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.done: list[tuple[str, list[tuple[bytes, bytes]], int]] = []
        self.exchange = RequestQueue(asyncio.get_running_loop(), CODEC, self.sent.append)

    def put(self, terminal: str, *requests: bytes, tries: int = 2, answer_s: float = 0.01) -> None:
        self.exchange.put(PendingRequest(terminal, deque(requests), self._done, tries, answer_s))

    def _done(self, question: PendingRequest) -> None:
        self.done.append((question.terminal, question.answered, question.silent))


def on_line(script: Callable[[Line], Awaitable[Any]]) -> Line:
    async def run() -> Line:
        line = Line()
        await script(line)
        return line

    return asyncio.run(run())


def test_one_request_is_in_flight_and_the_next_follows_its_answer() -> None:
    async def script(line: Line) -> None:
        line.put("one", b"a", b"b", answer_s=9)
        line.put("two", b"c", answer_s=9)
        assert line.sent == [b"a"]
        assert line.exchange.take(b"A!")
        assert line.sent == [b"a", b"b"]
        assert line.exchange.take(b"B!")
        assert line.exchange.take(b"C!")

    line = on_line(script)
    assert line.sent == [b"a", b"b", b"c"]
    assert line.done == [("one", [(b"a", b"A!"), (b"b", b"B!")], 0), ("two", [(b"c", b"C!")], 0)]


def test_a_frame_that_answers_nothing_is_left_alone() -> None:
    async def script(line: Line) -> None:
        assert not line.exchange.take(b"A!")
        line.put("one", b"a", answer_s=9)
        assert not line.exchange.take(b"X")
        assert line.exchange.take(b"A!")
        assert not line.exchange.take(b"A!")

    assert on_line(script).done == [("one", [(b"a", b"A!")], 0)]


def test_a_request_without_an_answer_is_repeated_and_then_given_up() -> None:
    async def script(line: Line) -> None:
        line.put("one", b"a", tries=3)
        while not line.done:
            await asyncio.sleep(0.005)

    line = on_line(script)
    assert line.sent == [b"a"] * 3
    assert line.done == [("one", [], 1)]


def test_what_was_answered_is_kept_when_a_later_request_is_not() -> None:
    async def script(line: Line) -> None:
        line.put("one", b"a", b"b", b"c", tries=1)
        line.exchange.take(b"A!")
        while b"c" not in line.sent:
            await asyncio.sleep(0.005)
        line.exchange.take(b"C!")

    assert on_line(script).done == [("one", [(b"a", b"A!"), (b"c", b"C!")], 1)]


def test_an_answer_that_comes_too_late_passes_for_no_other() -> None:
    async def script(line: Line) -> None:
        line.put("one", b"a", tries=1)
        line.put("two", b"a", tries=1, answer_s=9)
        await asyncio.sleep(0.015)
        assert not line.exchange.take(b"A! of one")
        assert line.exchange.take_late(b"A! of one")
        while len(line.sent) < 2:
            await asyncio.sleep(0.005)
        assert line.exchange.take(b"A! of two")

    assert on_line(script).done == [("one", [], 1), ("two", [(b"a", b"A! of two")], 0)]


def test_a_terminal_that_is_away_does_not_hold_up_the_next_for_each_of_its_requests() -> None:
    async def script(line: Line) -> None:
        line.put("away", *[b"%d" % number for number in range(9)], tries=1)
        line.put("there", b"a", tries=1, answer_s=9)
        while b"a" not in line.sent:
            await asyncio.sleep(0.005)

    line = on_line(script)
    assert line.sent == [b"0", b"1", b"a"]
    assert line.done == [("away", [], 9)]


def test_an_answer_may_call_for_another_request_of_the_same_question() -> None:
    async def script(line: Line) -> None:
        line.put("one", b"a", b"b", answer_s=9)
        for answer in (b"A+", b"MORE", b"B"):
            assert line.exchange.take(answer)

    assert on_line(script).done == [("one", [(b"a", b"A+"), (b"more", b"MORE"), (b"b", b"B")], 0)]


def test_questions_of_a_connection_that_ends_are_done_as_they_are() -> None:
    async def script(line: Line) -> None:
        line.put("one", b"a", b"b", answer_s=9)
        line.put("two", b"c", answer_s=9)
        line.exchange.take(b"A!")
        line.exchange.close()
        await asyncio.sleep(0.02)

    line = on_line(script)
    assert line.done == [("one", [(b"a", b"A!")], 1), ("two", [], 1)]
    assert line.sent == [b"a", b"b"]
