"""How far a source is imported, and what of it waits: `state/amr/<source>.json`, replaced durably after each batch.

Beside it lie the rows whose time of writing is looked at again (`<source>-seen.parquet`): what did not change is not sent again.
Without that file it would be, which changes nothing.
"""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from ingest_daemon.amr.settings import SourceSettings
from ingest_daemon.amr.tables import Mark
from ingest_daemon.contract.files import parsed_json, set_aside, write_json, write_parquet
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.site import Site

SHOWN = 20
"""Refused rows that are kept as examples; all of them stay in the intermediate table."""

WRITTEN = "%Y-%m-%d %H:%M:%S"
SEEN: dict[str, pl.DataType] = {"row_id": pl.Int64(), "digest": pl.UInt64(), "written_at": pl.String()}


def folder(site: Site) -> Path:
    """Where the importer keeps its state."""
    return site.state / "amr"


@dataclass
class UnmappedTag:
    """A tag without a terminal: when it was first seen, its rows of readings and of alarms, and the highest of each.

    `tried`: the rows of the map that were tried last.
    """

    first_seen: str
    readings: int = 0
    last_reading: int = 0
    alarms: int = 0
    last_alarm: int = 0
    tried: str = ""

    def count_readings(self, row_ids: pl.Series) -> None:
        """Add rows; one that was counted before a kill is not counted again."""
        self.readings += int((row_ids > self.last_reading).sum())
        self.last_reading = max(self.last_reading, *row_ids)

    def count_alarms(self, row_ids: pl.Series) -> None:
        """The same of alarms."""
        self.alarms += int((row_ids > self.last_alarm).sum())
        self.last_alarm = max(self.last_alarm, *row_ids)


@dataclass
class UnknownCode:
    """An alarm code of the source without one of ours: when it was first seen, how often, with which text last."""

    first_seen: str
    rows: int = 0
    text: str = ""


@dataclass
class SourceState:
    """What is known of a source. Times are ISO 8601, UTC; `last_new_at`: when a sync found a row that was not there before."""

    readings: Mark = field(default_factory=Mark)
    alarms: Mark = field(default_factory=Mark)
    last_new_at: str = ""
    tags: dict[str, UnmappedTag] = field(default_factory=dict)
    codes: dict[str, UnknownCode] = field(default_factory=dict)
    refused: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def late_by(self, source: SourceSettings, now: datetime) -> timedelta | None:
        """Since when nothing new came, where that is longer than two periods; None: it came in time, or never a sync ran."""
        if not self.last_new_at:
            return None
        since = now - datetime.fromisoformat(self.last_new_at)
        return since if since > 2 * timedelta(minutes=source.period_min) else None

    def tag(self, name: str) -> UnmappedTag:
        """The ledger's entry of a tag, made where there is none."""
        return self.tags.setdefault(name, UnmappedTag(now_text()))

    def refuse(self, rows: pl.DataFrame) -> None:
        """Note rows that cannot be used (`row_id`, `tag`, `reason`)."""
        self.refused += rows.height
        self.examples = [*self.examples, *rows.tail(SHOWN).iter_rows(named=True)][-SHOWN:]


def load(site: Site, source: str) -> SourceState:
    """The state of a source; a new one where it was never imported. Raises `OSError`, `ValueError` naming the file."""
    return parsed_json(folder(site) / f"{source}.json", _parsed) or SourceState()


def save(site: Site, source: str, state: SourceState) -> None:
    """Replace the state durably. Raises `OSError`."""
    folder(site).mkdir(parents=True, exist_ok=True)
    write_json(folder(site) / f"{source}.json", asdict(state), durable=True)


def _parsed(value: dict[str, Any]) -> SourceState:
    return SourceState(
        **{
            **value,
            "readings": Mark(*value["readings"]),
            "alarms": Mark(*value["alarms"]),
            "tags": {name: UnmappedTag(**tag) for name, tag in value["tags"].items()},
            "codes": {name: UnknownCode(**code) for name, code in value["codes"].items()},
        }
    )


def identified(page: pl.DataFrame) -> pl.DataFrame:
    """Row, digest and time of writing (`SEEN`) of each row of a page, in its order."""
    return page.select(
        pl.col("row_id").cast(pl.Int64),
        pl.struct(pl.all()).hash().alias("digest"),
        written_at(pl.col("written_at")).alias("written_at"),
    )


def written_at(text: pl.Expr) -> pl.Expr:
    """A time of writing as text in whole seconds; null where it is none."""
    whole = text.str.slice(0, 19).str.replace("T", " ", literal=True)
    return pl.when(whole.str.to_datetime(WRITTEN, strict=False).is_not_null()).then(whole)


def load_seen(site: Site, source: str, what: str) -> pl.DataFrame:
    """The rows that were sent (`SEEN`) of the readings or the alarms; none where the file is damaged."""
    path = folder(site) / f"{source}-{what}-seen.parquet"
    try:
        return pl.read_parquet(path, glob=False).select(list(SEEN))
    except FileNotFoundError:
        pass
    except (OSError, pl.exceptions.PolarsError) as error:
        LOG.warning("%s: %s: rows are sent again", path, error)
        set_aside(path)
    return pl.DataFrame(schema=SEEN)


def save_seen(site: Site, source: str, what: str, seen: pl.DataFrame) -> None:
    """Replace the rows that were sent. Raises `OSError`."""
    write_parquet(folder(site) / f"{source}-{what}-seen.parquet", seen.select(list(SEEN)))


def now_text() -> str:
    """Now, as it stands in the state."""
    return datetime.now(UTC).isoformat(timespec="seconds")
