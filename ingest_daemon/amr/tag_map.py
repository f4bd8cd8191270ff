"""Which terminal a tag of a source is, from when to when (`registry/tags.csv`), and which alarm a code is (`amr_alarms.csv`)."""

from collections.abc import Collection
from hashlib import sha256

import polars as pl

from ingest_daemon.contract import registry_files
from ingest_daemon.contract.alarm_codes import OF_TERMINALS
from ingest_daemon.contract.identifiers import half_width
from ingest_daemon.contract.site import Site

OTHER = "OTHER"
"""Our code for those of a source that are not in the map."""


class TagMap:
    """The tags and codes of one source. Days are local ones of the site's zone."""

    def __init__(self, tags: pl.DataFrame, codes: pl.DataFrame, zone: str) -> None:
        """`tags`, `codes`: rows of the registry's files of this source, of terminals that are registered."""
        self._tags = tags.select(
            half_width(pl.col("tag")).alias("tag"), "terminal", pl.col("valid_from"), pl.col("valid_to")
        ).unique(maintain_order=True)
        self._codes: dict[str, str] = dict(codes.select("code", "alarm").iter_rows())
        self._zone = zone
        self._digests = {
            str(tag): sha256(rows.write_csv().encode()).hexdigest()[:16]
            for (tag,), rows in self._tags.group_by("tag", maintain_order=True)
        }

    def digest(self, tag: str) -> str:
        """Changes with the tag's rows in the map; "" where there is none."""
        return self._digests.get(tag, "")

    def with_terminals(self, rows: pl.DataFrame, time: str) -> pl.DataFrame:
        """The rows with a column `terminal`, null where the tag is nobody's on the local day of the time."""
        day = pl.col(time).dt.convert_time_zone(self._zone).dt.date()
        found = (
            rows.with_row_index("place")
            .with_columns(day=day)
            .join(self._tags, on="tag", how="inner")
            .filter(
                (pl.col("valid_from").is_null() | (pl.col("valid_from") <= pl.col("day")))
                & (pl.col("valid_to").is_null() | (pl.col("day") < pl.col("valid_to")))
            )
            .select("place", "terminal")
        )
        return rows.with_row_index("place").join(found, on="place", how="left", maintain_order="left").drop("place")

    def alarm(self, code: str) -> str:
        """Our code of an alarm: that of the map, the same where it is one of ours, else `OTHER`."""
        return self._codes.get(code) or (code if code in OF_TERMINALS else OTHER)


def load(site: Site, source: str, zone: str, registered: Collection[str]) -> TagMap:
    """The map of a source. `registered`: terminals that the daemon has in force; a tag of another one waits."""
    rows = registry_files.read(site.registry).rows
    own = pl.col("source") == source
    return TagMap(rows.tags.filter(own & pl.col("terminal").is_in(list(registered))), rows.amr_alarms.filter(own), zone)
