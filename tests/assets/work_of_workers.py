"""What the tests let worker processes do: a worker imports this file, so nothing costly is imported here."""

import os
import signal


def square(number: int) -> int:
    return number * number


def threads(_: int) -> int:
    import polars

    return polars.thread_pool_size()


def killed_at_3(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def away_at_3(number: int) -> int:
    from ingest_daemon.stores import StoreAway

    if number == 3:
        raise StoreAway("the archive cannot be read")
    return number
