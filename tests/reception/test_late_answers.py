"""Answers that do not name their request, on slow and bad lines: right or missing, never another's. In virtual time."""

import heapq
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ingest_daemon.codec_kit.api import Codec
from ingest_daemon.reception.request_queue import PendingRequest, RequestQueue

METERS, REGISTERS, ROUNDS, STEP_S, ANSWER_S = (1, 2), (207, 215, 237), 30, 60.0, 1.0


class Loop:
    """An event loop's clock and timers, in virtual time."""

    def __init__(self) -> None:
        self._now_s, self._number = 0.0, 0
        self._timers: list[tuple[float, int, Callable[[], None], SimpleNamespace]] = []

    def time(self) -> float:
        return self._now_s

    def call_later(self, delay_s: float, then: Callable[..., None], *arguments: Any) -> SimpleNamespace:
        self._number += 1
        handle = SimpleNamespace(is_cancelled=False)
        handle.cancel = lambda: setattr(handle, "is_cancelled", True)
        heapq.heappush(self._timers, (self._now_s + delay_s, self._number, lambda: then(*arguments), handle))
        return handle

    def run(self, until_s: float) -> None:
        while self._timers and self._timers[0][0] <= until_s:
            self._now_s, _, then, handle = heapq.heappop(self._timers)
            if not handle.is_cancelled:
                then()
        self._now_s = until_s


def request_of(meter: int, register: int) -> bytes:
    return f"{meter}/{register}".encode()


CODEC = cast(
    Codec,
    SimpleNamespace(
        answers=lambda request, frame: request.split(b"/")[0] == frame.split(b"/")[0],
        identity=lambda request: request.split(b"/")[0],
        follow_up=lambda request, frame: None,
    ),
)
"""Answers name their meter, not the register: `meter/`, and behind it what the test needs to see whose they are."""

LINES: dict[str, Callable[[random.Random], list[float]]] = {
    "in time": lambda chance: [chance.uniform(0.05, 0.5)],
    "jitter": lambda chance: [chance.uniform(0.5, 3)],
    "always late": lambda chance: [4.4],
    "later than all tries": lambda chance: [chance.uniform(3.5, 9)],
    "later than the next round": lambda chance: [65.0],
    "lost and late": lambda chance: [] if chance.random() < 0.3 else [chance.uniform(0.2, 3)],
    "lost, else quick": lambda chance: [] if chance.random() < 0.2 else [0.2],
    "each twice": lambda chance: [0.2, 0.25],
    "twice and jitter": lambda chance: [first := chance.uniform(0.1, 0.9), first + 0.05],
    "dead": lambda chance: [],
}
"""Delays of the answers to one request, in seconds where `answer_s` is one."""
MUST_READ = {"in time", "lost, else quick", "each twice", "jitter"}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("seed", range(20))
def test_an_answer_is_right_or_missing_and_not_of_an_earlier_round(line: str, seed: int) -> None:
    chance, loop = random.Random(seed), Loop()
    believed: list[tuple[float, list[tuple[bytes, bytes]]]] = []

    def send(request: bytes) -> None:
        for delay_s in LINES[line](chance):
            # The value differs by register, or not: two registers of zero are common.
            value = 0 if seed % 2 else int(request.split(b"/")[1])
            moment = "" if "twice" in line or seed % 2 else f"/{loop.time()}"
            answer = request.split(b"/")[0] + f"/{value}{moment}".encode()
            loop.call_later(delay_s, receive, answer)

    def receive(answer: bytes) -> None:
        if not queue.take(answer):
            queue.take_late(answer)

    def done(began_s: float, pending: PendingRequest) -> None:
        believed.append((began_s, pending.answered))

    queue = RequestQueue(cast(Any, loop), CODEC, send)
    for number in range(ROUNDS):
        began_s = number * STEP_S
        loop.run(began_s)
        for meter in METERS:
            requests = deque(request_of(meter, register) for register in REGISTERS)
            queue.put(PendingRequest(str(meter), requests, partial(done, began_s), 3, ANSWER_S))
    loop.run((ROUNDS + 30) * STEP_S)
    assert len(believed) == ROUNDS * len(METERS)
    for began_s, answered in believed:
        for request, answer in answered:
            meter, value, *sent_s = answer.split(b"/")
            assert meter == request.split(b"/")[0]
            assert seed % 2 or value == request.split(b"/")[1]
            assert not sent_s or float(sent_s[0]) >= began_s
    if line in MUST_READ and (line == "in time" or seed % 2 == 0):
        whole = sum(len(answered) == len(REGISTERS) for _, answered in believed)
        assert whole >= 0.5 * len(believed)
