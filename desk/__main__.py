"""`python -m desk --site DIR`: serves the desk of a site until SIGTERM."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from desk.app import make_app
from desk.security import UPLOAD_BYTES
from desk.settings import DeskSettings, address_file
from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.http import HttpServer
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.settings import SettingError, Settings, read_settings
from ingest_daemon.contract.site import UMASK, Site

FAILED, MISUSED = 1, 2
"""Exit codes: a failure; a wrong setting or argument."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m desk", description=__doc__)
    parser.add_argument("--site", type=Path, default=os.environ.get("MAINFLOW_SITE", "."), help="the site folder")
    site = Site(parser.parse_args(arguments).site.resolve())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    os.umask(UMASK)
    try:
        asyncio.run(_serve(read_settings(site, all_sections=False)))
    except SettingError as error:
        LOG.error("%s", error)
        return MISUSED
    except OSError as error:
        LOG.error("the desk does not start: %s", error)
        return FAILED
    return 0


async def _serve(settings: Settings) -> None:
    own = settings[DeskSettings]
    server = HttpServer(make_app(settings), own.bind, own.port, body_bytes=UPLOAD_BYTES)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    port = await server.start()
    noted = address_file(settings.folder)
    write_json(noted, {"port": port, "link": own.link(port)}, durable=False)
    LOG.info("工作台 / desk: %s:%d, %s", own.bind, port, own.link(port))
    await stopped.wait()
    noted.unlink(missing_ok=True)
    await server.stop()


if __name__ == "__main__":
    sys.exit(main())
