"""Files in a bucket of an object store (S3 and what speaks its protocol), see `storage.Storage`.

A PUT is atomic, and durable once it is acknowledged: nothing is renamed and nothing synced. Nothing can be appended to either, so
a log is a row of objects, each named by the offset at which it begins:

    arrivals.csv/00000000/0000000000000000
                          0000000000065520    the newest is replaced with each line, until it is full
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import NamedTuple, TypeVar

from pyarrow import fs

from ingest_daemon.stores import StoreAway
from ingest_daemon.stores.storage import Content

CONNECT_S, ANSWER_S = 5.0, 60.0
"""Seconds to wait for a connection, and for the next byte of an answer."""

TRIES = 3
"""Of each request; then the caller waits and tries the whole again."""

REQUESTS = 16
"""At a time: what costs is waiting for each answer."""

LOG_OBJECT = 1 << 16
"""A log begins another object beyond so many bytes: each line sends the object anew."""

LOG_FOLDER_BITS = 24
"""The objects of a log lie in a folder for each 2²⁴ bytes, so that the end is found without listing all of them."""

Result = TypeVar("Result")
Item = TypeVar("Item")


class Access(NamedTuple):
    """How the object store is reached; what is empty comes from the usual AWS environment variables, files or roles."""

    endpoint: str = ""
    region: str = ""
    key_id: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"Access({self.endpoint!r}, {self.region!r}, {self.key_id!r}, ***)"


class ObjectFile(NamedTuple):
    """A file as a listing shows it."""

    path: str
    size: int
    written_at: datetime


class ObjectStorage:
    """The objects of a bucket whose names begin with a prefix. `root`: bucket and prefix, with slashes between."""

    def __init__(self, root: str, access: Access, objects: fs.S3FileSystem | None = None) -> None:
        """`objects`: the client that others use, too."""
        self._root = root.strip("/")
        self._access = access
        self._ends: dict[str, tuple[int, bytes]] = {}
        """Of each log offset and content of the newest object, as it is for certain."""
        self._objects = objects or _client(access)

    def __reduce__(self) -> tuple[type["ObjectStorage"], tuple[str, Access]]:
        return ObjectStorage, (self._root, self._access)

    def where(self, path: str = "") -> str:
        """See `Storage.where`."""
        return f"s3://{self._full(path)}"

    def at(self, folder: str) -> "ObjectStorage":
        """See `Storage.at`."""
        return ObjectStorage(self._full(folder), self._access, self._objects)

    def exists(self) -> bool:
        """See `Storage.exists`."""
        with self._answering():
            (bucket,) = self._objects.get_file_info([self._root.partition("/")[0]])
        return bucket.type is not fs.FileType.NotFound

    def make_root(self) -> None:
        """See `Storage.make_root`. Objects have no folders."""

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        return sorted(info.base_name for info in self._listed(folder, recursive=False))

    def below(self, folder: str) -> list[str]:
        """See `Storage.below`."""
        return sorted(file.path for file in self.files(folder))

    def files(self, folder: str) -> list[ObjectFile]:
        """All files in a folder and its folders, as they come."""
        cut = len(self._root) + 1
        listed = self._listed(folder, recursive=True)
        return [ObjectFile(info.path[cut:], info.size, info.mtime) for info in listed if info.type is fs.FileType.File]

    def _listed(self, folder: str, *, recursive: bool) -> list[fs.FileInfo]:
        with self._answering():
            found: list[fs.FileInfo] = self._objects.get_file_info(
                fs.FileSelector(self._full(folder), allow_not_found=True, recursive=recursive)
            )
        return found

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        with self._answering(), self._objects.open_input_file(self._full(path)) as file:
            content: bytes = file.read()
        return content

    def sources(self, paths: Sequence[str]) -> list[bytes]:
        """See `Storage.sources`."""
        return _each(self.read, paths)

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """See `Storage.sizes`."""
        with self._answering():
            found = self._objects.get_file_info([self._full(path) for path in paths])
        if gone := [info.path for info in found if info.type is not fs.FileType.File]:
            raise FileNotFoundError(f"no object s3://{gone[0]}")
        return [info.size for info in found]

    def stamp(self, path: str) -> tuple[int, int] | None:
        """See `Storage.stamp`."""
        return None

    def put(self, contents: Mapping[str, Content], *, durable: bool = True) -> None:
        """See `Storage.put`. Several at a time; durable always."""
        _each(self._put, contents.items())

    def _put(self, item: tuple[str, Content]) -> None:
        path, content = item
        with self._answering():
            file = self._objects.open_output_stream(self._full(path))
            try:
                file.write(content)
            except BaseException:
                with suppress(OSError):  # closing would make an object of what was sent
                    file.abort()
                raise
            file.close()

    def delete(self, paths: Collection[str]) -> None:
        """See `Storage.delete`."""
        _each(self._delete, paths)

    def _delete(self, path: str) -> None:
        with suppress(FileNotFoundError), self._answering():
            self._objects.delete_file(self._full(path))

    def append(self, path: str, lines: bytes) -> None:
        """See `Storage.append`. What became of a PUT without an answer is looked up before the next."""
        start, held = self._ends.pop(path) if path in self._ends else self._end(path)
        if len(held) >= LOG_OBJECT:
            start, held = start + len(held), b""
        content = held + lines
        self.put({_log_object(path, start): content})
        self._ends[path] = (start, content)

    def _end(self, path: str) -> tuple[int, bytes]:
        for folder in reversed(self.names(path)):
            if objects := self.below(f"{path}/{folder}"):
                return int(objects[-1].rpartition("/")[2]), self.read(objects[-1])
        return 0, b""

    def tail(self, path: str, offset: int) -> bytes | None:
        """See `Storage.tail`."""
        folders = self.names(path)
        # One folder more: its last object may reach into the next.
        wanted = [folder for folder in folders if int(folder) >= (offset >> LOG_FOLDER_BITS) - 1]
        objects = [name for folder in wanted for name in self.below(f"{path}/{folder}")]
        if not objects:
            return b"" if folders else None
        starts = [int(name.rpartition("/")[2]) for name in objects]
        first = max(sum(start <= offset for start in starts) - 1, 0)
        return b"".join(self.sources(objects[first:]))[max(offset - starts[first], 0) :]

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Raise `StoreAway` where there is no answer, or a refusal, but for an object that is not there."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            place = f"{self.where()} at {self._access.endpoint}" if self._access.endpoint else self.where()
            raise StoreAway(f"the object store {place} cannot be used: {error}") from error


def _client(access: Access) -> fs.S3FileSystem:
    given = {"endpoint_override": access.endpoint, "region": access.region}
    if access.key_id:
        given |= {"access_key": access.key_id, "secret_key": access.secret}
    return fs.S3FileSystem(
        **{name: value for name, value in given.items() if value},
        connect_timeout=CONNECT_S,
        request_timeout=ANSWER_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
        allow_delayed_open=True,  # a small object is one request and not three
    )


def _log_object(path: str, start: int) -> str:
    return f"{path}/{start >> LOG_FOLDER_BITS:08}/{start:016}"


def _each(call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of calls in the order of the items, several at a time. Raises what the first that failed raised."""
    todo = list(items)
    if len(todo) < 2:
        return [call(item) for item in todo]
    with ThreadPoolExecutor(min(REQUESTS, len(todo))) as threads:
        return list(threads.map(call, todo))
