"""An object store for tests: the one at S3_ENDPOINT, or moto where it is installed."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from typing import NamedTuple

from ingest_daemon.stores.settings import StoreSettings

numbers = count()


class ObjectStore(NamedTuple):
    """A running object store that speaks S3."""

    endpoint: str
    key_id: str
    secret: str

    def new_bucket(self) -> str:
        """The name of a bucket that nobody uses."""
        from pyarrow import fs

        name = f"mainflow-{os.getpid()}-{next(numbers)}"
        store = fs.S3FileSystem(
            endpoint_override=self.endpoint, access_key=self.key_id, secret_key=self.secret, allow_bucket_creation=True
        )
        store.create_dir(name)
        return name

    def settings(self, bucket: str, share: str = "daemon-1", **more: object) -> dict[str, object]:
        """The section `[store]` of a lake in the bucket."""
        place = {"kind": "lake", "lake": f"s3://{bucket}/lake", "share": share, "s3_endpoint": self.endpoint}
        return {**place, "s3_region": "us-east-1", "s3_key_id": self.key_id, "s3_secret": self.secret, **more}

    def store_settings(self, bucket: str, share: str = "daemon-1", **more: object) -> StoreSettings:
        """See `settings`."""
        return StoreSettings(**self.settings(bucket, share, **more))  # type: ignore[arg-type]


class Relay:
    """A way to a server that can be cut, as a cable is, and laid again."""

    def __init__(self, address: str) -> None:
        """`address`: http://host:port of the server."""
        host, _, port = address.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self.is_up = True
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End what is open and refuse what comes."""
        self.is_up = False
        for connection in self._open:
            connection.close()
        self._open.clear()

    def close(self) -> None:
        """Take the way away."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_up:
                near.close()
                continue
            far = socket.create_connection(self._server)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def missing() -> str | None:
    """Why there is no object store for tests; None where there is."""
    if "S3_ENDPOINT" in os.environ or (find_spec("moto") and find_spec("flask")):
        return None
    return "no object store: set S3_ENDPOINT and the AWS_… keys (of MinIO, say), or install moto[server] beside Mainflow"


@contextmanager
def running_object_store() -> Iterator[ObjectStore]:
    """The object store of `missing`."""
    if endpoint := os.environ.get("S3_ENDPOINT"):
        yield ObjectStore(endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield ObjectStore(f"http://{host}:{port}", "testing", "testing-secret")
    finally:
        server.stop()
