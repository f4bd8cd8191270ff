"""Files of an object store as DuckDB asks for them; its own extension for that is not in its package."""

from io import BytesIO
from typing import Any

import duckdb
from fsspec import AbstractFileSystem

from ingest_daemon.stores.object_storage import ObjectFile, ObjectStorage
from ingest_daemon.stores.storage import Storage


def register(connection: duckdb.DuckDBPyConnection, files: Storage) -> str:
    """Let the connection read the files; gives what their paths begin with in SQL, but for a slash."""
    assert isinstance(files, ObjectStorage)
    if _Objects.protocol in connection.list_filesystems():
        connection.unregister_filesystem(_Objects.protocol)
    connection.register_filesystem(_Objects(files))
    return f"{_Objects.protocol}:/"


class _Objects(AbstractFileSystem):  # type: ignore[misc]
    """Listed at the first query, then each file is fetched whole: who writes registers them again."""

    protocol = "units"
    cachable = False

    def __init__(self, files: ObjectStorage) -> None:
        super().__init__()
        self._files = files
        self._listed: dict[str, ObjectFile] = {}

    def glob(self, path: str, **_: Any) -> list[str]:
        """The files of the name at the end of the pattern."""
        self._listed = self._listed or {file.path: file for file in self._files.files("")}
        name = path.rpartition("/")[2]
        return [found for found in self._listed if found.endswith(f"/{name}")]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Size and time of a file that was listed."""
        file = self._listed[self._strip_protocol(path)]
        return {"name": file.path, "size": file.size, "type": "file", "created": file.written_at}

    def modified(self, path: str) -> Any:
        """When the file was written."""
        return self._listed[self._strip_protocol(path)].written_at

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BytesIO:
        return BytesIO(self._files.read(path))
