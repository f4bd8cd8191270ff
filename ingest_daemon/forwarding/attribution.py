"""Whose rows they are: those of a registered sender, and those of the other stations that were judged when the frame came.

A frame has one sender, the station in its header; its body may name others, and the verdict on each stands in the record's header
(`RecordHeader.stations`). What reads frames from the journal goes through here: else whoever is on the line could write another
meter's readings and raise its alarms.
"""

from collections.abc import Container, Sequence
from typing import NamedTuple

import polars as pl

from ingest_daemon.codec_kit.api import Decoded
from ingest_daemon.contract.schema import DOUBTS, Reason
from ingest_daemon.forwarding.decoding import senders
from ingest_daemon.journal.envelope import RecordHeader
from ingest_daemon.journal.records import Record

_ROW = ("frame", "terminal")


class Unattributed(NamedTuple):
    """Rows of one frame and terminal that do not count: the frame's place in the group, the reason, the terminal to name."""

    frame: int
    reason: str
    terminal: str
    detail: str


class Attributed(NamedTuple):
    """Rows that count, and those that do not."""

    decoded: Decoded
    refused: list[Unattributed]


def attribute(decoded: Decoded, records: Sequence[Record], terminals: Container[str]) -> Attributed:
    """Take out the rows that do not count. `records`: the group that was decoded."""
    sent = senders(records, range(len(records)))
    sender = pl.Series([number for number, _, _ in sent], dtype=pl.String)
    is_registered = pl.Series([number in terminals for number, _, _ in sent], dtype=pl.Boolean)
    refused: dict[tuple[int, str, str], Unattributed] = {}
    pairs = []
    for table in (decoded.readings, decoded.alarms, decoded.clocks):
        frame = table["frame"]
        odd = (table["terminal"] != sender.gather(frame)) | ~is_registered.gather(frame)
        if not odd.any():
            continue
        for place, terminal in table.filter(odd).select(_ROW).unique(maintain_order=True).iter_rows():
            number, header, _ = sent[place]
            if (verdict := _verdict(place, terminal, number, header, terminals)) is not None:
                pairs.append((place, terminal))
                if table is not decoded.clocks:  # a sign of life is not worth a line
                    refused.setdefault(verdict[:3], verdict)
    if not pairs:
        return Attributed(decoded, [])
    taken_out = pl.DataFrame(pairs, schema={"frame": pl.Int64, "terminal": pl.String}, orient="row").unique()
    readings, alarms, clocks = (
        table.join(taken_out, on=_ROW, how="anti", maintain_order="left")
        for table in (decoded.readings, decoded.alarms, decoded.clocks)
    )
    return Attributed(Decoded(readings, alarms, clocks, decoded.rejected), list(refused.values()))


def _verdict(place: int, terminal: str, sender: str, header: RecordHeader, terminals: Container[str]) -> Unattributed | None:
    """Why rows of the terminal do not count; None where they do."""
    if sender not in terminals:
        return Unattributed(place, str(Reason.UNKNOWN_TERMINAL), sender, f"{sender} is not in registry/terminals.csv")
    if terminal == sender:
        return None
    judged = dict(header.stations)
    if terminal not in judged:
        detail = f"the frame of {sender} names {terminal}, on which nothing was decided when it came"
        return Unattributed(place, str(Reason.FOREIGN_STATION), terminal, detail)
    if reason := judged[terminal]:
        return Unattributed(place, reason, terminal, f"in a frame of {sender}: {DOUBTS[reason]}")
    if terminal not in terminals:
        return Unattributed(place, str(Reason.UNKNOWN_TERMINAL), terminal, f"{terminal} is not in registry/terminals.csv")
    return None
