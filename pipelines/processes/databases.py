"""The SQLite databases of Dagster and Grafana in a site folder: one that is damaged is set aside before its service starts."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ingest_daemon.contract.log import LOG


def is_damaged(file: Path) -> bool:
    """Whether a database is empty, cut off, or of other bytes. One that is held or may not be opened is not judged."""
    if not file.stat().st_size:
        return True
    try:
        with closing(sqlite3.connect(file)) as database:
            return bool(database.execute("pragma quick_check(1)").fetchone() != ("ok",))
    except sqlite3.OperationalError:
        return False
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # it quotes what it found
        return True


def set_aside(path: Path, lost: str) -> None:
    """Rename a file or folder, with the time behind its name. `lost`: what is not there any more. Raises `OSError`."""
    aside = path.rename(f"{path}.{datetime.now(UTC):%Y%m%dT%H%M%S}")
    for end in ("-wal", "-shm", "-journal"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    LOG.warning(
        "数据库已损坏，移至 %s 并新建 / %s is damaged, it is kept as %s and made anew; %s; no reading and no figure is in it",
        aside.name,
        path,
        aside,
        lost,
    )
