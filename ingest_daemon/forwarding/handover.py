"""Newest readings of the frames that the forwarder decoded, handed to the thread that shows them: so a frame is decoded once."""

import threading
from typing import NamedTuple

import polars as pl

from ingest_daemon.contract.schema import READING
from ingest_daemon.stores.points import merge


class Span(NamedTuple):
    """Positions of a stream, and the newest reading of each terminal in the frames between them."""

    begin: int
    end: int
    readings: pl.DataFrame


class Handover:
    """The spans that were decoded and not taken yet, one a stream. Safe for one thread that gives and one that takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: dict[str, Span] = {}

    def start(self, stream: str, position: int) -> None:
        """Note the position from which frames will be handed over."""
        self._spans[stream] = Span(position, position, pl.DataFrame(schema=READING))

    def give(self, stream: str, begin: int, end: int, readings: pl.DataFrame, table: pl.DataFrame) -> None:
        """Hand over what the frames between two positions gave. It joins what is not taken yet where it follows on it.

        `table`: of `runs`.
        """
        # Within a run the times rise, so the newest reading of a terminal is the last one of a run.
        last = newest(readings[table["rows"].cum_sum() - 1].select(*READING))
        with self._lock:
            span = self._spans[stream]
            if span.begin <= begin <= span.end:
                begin, last = span.begin, newest(pl.concat([span.readings, last]))
                end = max(end, span.end)
            self._spans[stream] = Span(begin, end, last)

    def begin(self, stream: str) -> int:
        """Where the span that is not taken yet begins; the frames before it are not handed over any more."""
        return self._spans[stream].begin

    def take(self, stream: str, position: int) -> Span | None:
        """The span that holds the frames at a position; None where the frames there were not given yet, or no more."""
        with self._lock:
            span = self._spans[stream]
            if not span.begin <= position < span.end:
                return None
            self._spans[stream] = Span(span.end, span.end, span.readings.clear())
            return span


def newest(readings: pl.DataFrame) -> pl.DataFrame:
    """One row a terminal: its reading of the latest device time, merged from all readings for that time."""
    return merge(readings.filter(pl.col("ts") == pl.col("ts").max().over("terminal")))
