"""The raw store of a region: one root, a folder or a bucket of an object store, with a share for each daemon.

    lake.json                       in how many buckets each day is cut, decided once
    members/<share>.json            the site whose daemon writes the share, and the buckets by which it cuts
    shares/<share>/readings/day=YYYY-MM-DD/bucket=NNN/…   an archive as `parquet.py` describes, written by one daemon
    units/                          intervals and histograms of the figures (`assets/interval_files.py`)

A reader takes the union of all shares: a terminal that moved to another daemon is one terminal. The bucket of a terminal is its
CRC-32 modulo their number, so that whoever asks for some terminals opens the files of their buckets only.
"""

import json
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import polars as pl

from ingest_daemon.contract import ownership
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import Arrivals, StoreAway
from ingest_daemon.stores.parquet import NO_SPANS, FilesMissing, ParquetStore, away, bucket_of, read_points
from ingest_daemon.stores.points import ALL
from ingest_daemon.stores.storage import Storage

LAKE, MEMBERS, SHARES = "lake.json", "members", "shares"


class LakeStore:
    """The lake in `storage`, to which this site adds the share `share`. `new_buckets`: of a lake that is not there yet."""

    cuts_by_terminal = True

    def __init__(self, storage: Storage, share: str, site: Site, new_buckets: int) -> None:
        self._storage, self._share, self._site, self._new_buckets = storage, share, site, new_buckets
        self._noted_buckets: int | None = None
        self._opened: dict[str, ParquetStore] = {}
        """Of each share that was seen; its member is whole."""
        self._is_member = False

    def write(self, readings: pl.DataFrame) -> pl.DataFrame:
        """See `RawStore.write`. Durable when it returns; readers of the lake see the share from the first write on."""
        with self._away("cannot be written"):
            refused = self._own().write(readings)
            if not self._is_member and refused.height < readings.height:
                self._storage.put({self._member(self._share): json.dumps(self._membership()).encode()})
                self._is_member = True
        return refused

    def withdraw(self, points: pl.DataFrame) -> None:
        """See `RawStore.withdraw`. Only this site's share is searched: what another daemon stored is its own to take back."""
        with self._away("cannot be written"):
            self._own().withdraw(points)

    def read(
        self, start: datetime, end: datetime, *, columns: Sequence[str] = ALL, terminals: Collection[str] | None = None
    ) -> pl.DataFrame:
        """See `RawStore.read`. One scan over the days and buckets touched, of all shares."""
        with self._away("cannot be read"):
            return read_points(lambda: list(self._shares().values()), start, end, columns, terminals)

    def arrivals(self, cursor: str | None) -> Arrivals:
        """See `RawStore.arrivals`. The cursor has that of each share; a share that is not in it is new."""
        with self._away("cannot be read"):
            known = _cursors(cursor)
            found = {name: share.arrivals(known.get(name)) for name, share in self._shares().items()}
        spans = pl.concat([NO_SPANS, *(arrivals.spans for arrivals in found.values())])
        return Arrivals(spans, json.dumps({name: arrivals.cursor for name, arrivals in found.items()}))

    def check(self) -> str:
        """See `RawStore.check`. The days of each share."""
        place = self._storage.where()
        with self._away("cannot be read"):
            self._look_for_place()
            held = {name: share.days() for name, share in self._shares().items()}
            buckets = self._buckets()
        if not any(held.values()):
            return f"数据湖 {place}：尚无数据 / lake {place}: no readings yet"
        found = "; ".join(f"{name} {days[0]} … {days[-1]} ({len(days)} d)" for name, days in held.items() if days)
        return f"数据湖 {place}（{buckets} 桶）：{found} / lake {place} ({buckets} buckets): {found}"

    def damaged(self) -> list[str]:
        """Every file of the lake's archives that is not as it was written, below `shares`. Raises `StoreAway`."""
        with self._away("cannot be read"):
            return [f"{name}/readings/{file}" for name, share in self._shares().items() for file in share.damaged()]

    def buckets_of(self, terminals: Sequence[str]) -> list[int]:
        """See `RawStore.buckets_of`. Raises `StoreAway`."""
        with self._away("cannot be read"):
            return bucket_of(terminals, self._buckets() or self._new_buckets)

    def _buckets(self) -> int | None:
        """In how many buckets the lake cuts a day; None where there is no lake yet. Raises `StoreAway`, `OSError`."""
        if self._noted_buckets is None:
            noted = self._json(LAKE)
            if noted is not None:
                self._noted_buckets = noted["buckets"]
            elif self._storage.names(SHARES):
                raise StoreAway(
                    f"{self._storage.where(LAKE)} is missing: write there the number of buckets that the files in "
                    f'{self._storage.where(MEMBERS)} have, as {{"buckets": {self._new_buckets}}}'
                )
        return self._noted_buckets

    def _begin(self) -> int:
        """The number of buckets of the lake, which is made where there is none. Raises `StoreAway`, `OSError`."""
        if (buckets := self._buckets()) is None:
            self._look_for_place()
            self._storage.put({LAKE: json.dumps({"buckets": self._new_buckets}).encode()})
            buckets = self._buckets()  # of two daemons that made it at once the last
        assert buckets is not None
        return buckets

    def _look_for_place(self) -> None:
        """Raises `StoreAway`: a folder that is not mounted must not become another lake."""
        if not self._storage.exists():
            raise StoreAway(f"there is no {self._storage.where()}: mount it, or make it (a bucket, or an empty folder)")

    def _own(self) -> ParquetStore:
        """This site's share, to be written. Raises `StoreAway` where it is another site's."""
        if not self._is_member:
            self._begin()
            own, member = self._membership(), self._json(self._member(self._share))
            if member is not None and member["site"] != own["site"]:
                raise StoreAway(
                    f"the share {self._share} of the lake {self._storage.where()} is written by another site ({member['site']}, "
                    f"this one is {own['site']}): give each daemon a [store] share of its own; where this site takes the other's "
                    f"place, delete {self._storage.where(self._member(self._share))}"
                )
            for name in self._members() if member is None else ():  # a new share must not follow a number that was changed
                self._checked(name, self._json(self._member(name)))
            self._is_member = member is not None
            self._opened[self._share] = self._checked(self._share, member)
        return self._opened[self._share]

    def _membership(self) -> dict[str, Any]:
        return {"site": ownership.site_id(self._site), "buckets": self._buckets()}

    def _shares(self) -> dict[str, ParquetStore]:
        """All shares by name. Raises `FilesMissing` naming those that are not there any more."""
        there = self._storage.names(SHARES)
        if lost := sorted({*self._members()} - {*there}):
            raise FilesMissing(
                f"shares of the lake are missing: {', '.join(self._storage.where(f'{SHARES}/{name}') for name in lost)}; restore "
                f"them from a backup; where there is none, delete their files in {self._storage.where(MEMBERS)} and run "
                "`mainflow rebuild`: figures are then made from what is left"
            )
        for name in there:
            if name not in self._opened:
                self._opened[name] = self._checked(name, self._json(self._member(name)))
        return {name: self._opened[name] for name in there}

    def _members(self) -> list[str]:
        """The names of all shares that were ever written."""
        return [name.removesuffix(".json") for name in self._storage.names(MEMBERS) if name.endswith(".json")]

    def _checked(self, name: str, member: Any) -> ParquetStore:
        """A share. Raises `StoreAway` where its daemon cuts by another number of buckets: who asked for some terminals would
        miss readings."""
        buckets = self._buckets()
        if member is not None and member["buckets"] != buckets:
            raise StoreAway(
                f"the share {name} is cut into {member['buckets']} buckets, but {self._storage.where(LAKE)} has {buckets}: "
                f'write {{"buckets": {member["buckets"]}}} there again'
            )
        return ParquetStore(self._storage.at(f"{SHARES}/{name}"), buckets)

    def _member(self, name: str) -> str:
        return f"{MEMBERS}/{name}.json"

    def _json(self, path: str) -> Any:
        """The value in a JSON file; None where there is none. Raises `StoreAway` where it is none of ours."""
        try:
            content = self._storage.read(path)
        except FileNotFoundError:
            return None
        try:
            value = json.loads(content)
            value["buckets"] = int(value["buckets"])
        except (ValueError, TypeError, LookupError) as error:
            raise StoreAway(
                f"{self._storage.where(path)} is damaged ({error!r}): expected JSON with a number of buckets"
            ) from None
        return value

    def _away(self, what: str) -> AbstractContextManager[None]:
        return away(f"the lake {self._storage.where()} {what}")


def _cursors(cursor: str | None) -> dict[str, str]:
    """The cursor of each share; none of another kind of store."""
    try:
        known = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
