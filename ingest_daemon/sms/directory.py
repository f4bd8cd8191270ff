"""A folder in which a modem daemon drops what it received: files with PDUs in hex.

A PDU is a line of hex, or the hex behind `PDU:` (as smstools3 writes it with `store_received_pdu = 3`); other lines are not read.
A file is taken when it has not changed between two looks, and moved once all of it is safe: to `done/`, or to `refused/` where a
PDU is unreadable or absent, with the reason beside it (`<name>.reason`). One that is not safe stays and is tried again.
"""

import asyncio
import os
import re
import time
from collections import Counter
from pathlib import Path

from ingest_daemon.contract.files import sync_folder
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.sms.inbox import Inbox, NotSafe
from ingest_daemon.sms.pdu import BadPdu, read_pdu

DONE, REFUSED = "done", "refused"
FILE_BYTES = 1 << 20
AT_A_TIME = 200

_PDU = re.compile(r"(?:PDU:\s*)?((?:[0-9A-Fa-f]{2}){12,})", re.IGNORECASE)
"""The shortest DELIVER has 12 octets and more."""


def pdus(text: str) -> list[bytes]:
    """The PDUs of a file."""
    return [bytes.fromhex(found[1]) for line in text.splitlines() if (found := _PDU.fullmatch(line.strip()))]


class Directory:
    """The folder."""

    def __init__(self, folder: Path, inbox: Inbox, tally: Counter[str]) -> None:
        """Make the folders. Raises `OSError`."""
        self._folder, self._inbox, self._tally = folder, inbox, tally
        self._looks: dict[str, tuple[int, int]] = {}
        self._taken: dict[str, list[str]] = {}
        """Files that are safe but could not be moved yet, and what was wrong in them: not to be taken at each look."""
        self._limited = RateLimitedLog()
        for name in ("", DONE, REFUSED):
            (folder / name).mkdir(parents=True, exist_ok=True)

    async def look(self) -> None:
        """Take the files that are complete; a fault in one is logged and does not hold up the others."""
        try:
            settled = await asyncio.to_thread(self._settled)
        except OSError as error:
            self._limited.warn("sms directory", f"{self._folder}: {error}")
            return
        for path in settled:
            try:
                await self._take(path)
            except (OSError, NotSafe) as error:
                self._tally["in_not_safe"] += 1
                self._limited.warn("sms directory", f"{path.name} stays for the next look: {error}")

    def _settled(self) -> list[Path]:
        """Files unchanged since the last look, oldest first."""
        now = {
            entry.name: (entry.stat().st_mtime_ns, entry.stat().st_size)
            for entry in os.scandir(self._folder)
            if entry.is_file(follow_symlinks=False) and not entry.name.startswith(".")
        }
        settled = sorted((seen, name) for name, seen in now.items() if self._looks.get(name) == seen)
        self._taken = {name: wrong for name, wrong in self._taken.items() if now.get(name) == self._looks.get(name)}
        self._looks = now
        return [self._folder / name for _, name in settled[:AT_A_TIME]]

    async def _take(self, path: Path) -> None:
        if path.name not in self._taken:
            self._taken[path.name] = await self._read(path)
        await asyncio.to_thread(self._move, path, self._folder / (REFUSED if self._taken[path.name] else DONE))
        del self._taken[path.name]

    async def _read(self, path: Path) -> list[str]:
        """Take the PDUs of a file; all is safe on return. Returns the file's fault. Raises `NotSafe`, `OSError`."""
        now_us = time.time_ns() // 1000
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
        found = pdus(data.decode("latin-1")) if len(data) <= FILE_BYTES else []
        wrong = [] if found else [f"expected a line with a PDU in hex, in a file of at most {FILE_BYTES} bytes; there is none"]
        for pdu in found:
            try:
                sms = read_pdu(pdu)
            except BadPdu as error:
                wrong.append(f"{error}: {pdu.hex()}")
            else:
                await self._inbox.take(sms.sender, sms.content, now_us, sms.part)
                self._tally["in_messages"] += 1
        if wrong:
            (self._folder / REFUSED / f"{path.name}.reason").write_text("\n".join(wrong) + "\n", encoding="utf-8")
            self._tally["in_refused"] += len(wrong)
            self._limited.warn("sms directory", f"{path.name} moved to {REFUSED}: {wrong[0]}")
        return wrong

    def _move(self, path: Path, into: Path) -> None:
        target = into / path.name
        if target.exists():  # modem daemons use a name again after a restart
            target = into / f"{path.name}.{time.time_ns()}"
        path.replace(target)
        sync_folder(into)
        sync_folder(self._folder)
        self._looks.pop(path.name, None)
