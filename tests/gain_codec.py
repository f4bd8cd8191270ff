"""An invented protocol for tests, and how a daemon gets it: lines of text whose meaning depends on the station's profile.

A line is `terminal minute count[ pressure]`. A profile says how many m³ a count is and which element the pressure comes from.
"""

import os
from pathlib import Path

SOURCE = '''
"""Gain, an invented protocol: lines `terminal minute count[ pressure]`."""

import polars as pl

from ingest_daemon.codec_kit.api import NOTHING, Decoded, Frame, ExplainedField

MAX_FRAME = 100


class _Decoder:
    def __init__(self):
        self._held = b""

    @property
    def pending(self):
        return len(self._held)

    def feed(self, data):
        *lines, self._held = (self._held + data).split(b"\\n")
        return [Frame(line + b"\\n") for line in lines]


def decoder():
    return _Decoder()


def terminal(frame):
    return frame.split()[0].decode()


def is_alarm(arrival, profile):
    return False


def reply(frame, now, profile):
    return b"ok " + frame


def profile(table):
    return {"factor": 1.0, "minutes": 0, **table}


def decode(arrivals, profiles):
    rows = []
    for place, arrival in enumerate(arrivals):
        number, minute, count, *more = arrival.raw.decode().split()
        settings = profiles.get(number) or profile({})
        at = (int(minute) + settings["minutes"]) * 60_000_000
        rows.append((place, number, at, int(count) * settings["factor"], float(more[0]) if more else None))
    columns = {"frame": pl.Int64, "terminal": pl.String, "ts": pl.Int64, "forward_m3": pl.Float64, "pressure_mpa": pl.Float64}
    said = pl.DataFrame(rows, schema=columns, orient="row").with_columns(pl.from_epoch("ts", "us").dt.replace_time_zone("UTC"))
    missing = [pl.lit(None, t).alias(n) for n, t in NOTHING.readings.schema.items() if n not in said.columns]
    return NOTHING._replace(readings=said.with_columns(missing).select(NOTHING.readings.columns))


def explain(frame):
    return [ExplainedField(0, frame, "行", "line", frame.decode(errors="replace"), "")]
'''

HOOK = """
import ingest_daemon.codecs

ingest_daemon.codecs.__path__.append({folder!r})
"""


def install(folder: Path) -> str:
    """Put the protocol into `folder`; a Python process that starts with what this gives as PYTHONPATH has the codec `gain`."""
    codecs = folder / "codecs"
    codecs.mkdir(parents=True)
    (codecs / "gain.py").write_text(SOURCE)
    (folder / "sitecustomize.py").write_text(HOOK.format(folder=str(codecs)))
    return os.pathsep.join((str(folder), str(Path(__file__).parents[1])))
