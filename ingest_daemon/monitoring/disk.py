"""An early word on a disk that fills: how much is free, and which folder of the site grew."""

import os
import shutil
import time
from pathlib import Path

from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.contract.site import Site

FREE_SHARE = 0.15
"""A disk with less free space than this share is filling, ..."""
FREE_BYTES = 10 << 30
"""... unless it has this much free all the same."""
LOOK_S = 10.0
"""Seconds between two looks at the free space."""
MEASURE_S, BASELINE_S = 300.0, 3600.0
"""Seconds between two measurements of the folders: of a filling disk, and otherwise."""


class DiskWatch:
    """The site's disk as of the last `look`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._sizes: dict[Path, int] = {}
        self._measured_s = float("-inf")
        self._sentence = "ok"
        self._limited = RateLimitedLog()

    def look(self) -> str:
        """`ok`, or a sentence with the free space, the folder that grew most and the largest. Raises `OSError`."""
        now_s = time.monotonic()
        usage = shutil.disk_usage(self._site.root)
        is_full = usage.free < min(FREE_SHARE * usage.total, FREE_BYTES)
        if is_full and (self._sentence == "ok" or now_s - self._measured_s >= MEASURE_S):
            self._measured_s = now_s
            free = f"{usage.free >> 20} of {usage.total >> 20} MB are free"
            self._sentence = f"磁盘将满 / the disk of {self._site.root} fills: {free}; {self._growth()}"
        elif not is_full:
            self._sentence = "ok"
            if now_s - self._measured_s >= BASELINE_S:
                self._measured_s, self._sizes = now_s, folder_sizes(self._site)
        if self._sentence != "ok":
            self._limited.warn("disk", self._sentence)
        return self._sentence

    def _growth(self) -> str:
        before, self._sizes = self._sizes, folder_sizes(self._site)
        grown = {folder: size - before.get(folder, 0) for folder, size in self._sizes.items()}
        most = max(grown, key=lambda folder: grown[folder], default=None)
        if most is None:
            return "nothing of it is this site's"
        largest = sorted(self._sizes.items(), key=lambda item: -item[1])[:3]
        sizes = ", ".join(f"{folder} {size >> 20} MB" for folder, size in largest)
        return f"{most} grew most ({grown[most] >> 20} MB); largest: {sizes}"


def folder_sizes(site: Site) -> dict[Path, int]:
    """Bytes of each folder of the site, of the journal by stream; files that vanish meanwhile do not count."""
    folders = [path for path in site.root.iterdir() if path.is_dir() and path != site.journal]
    if site.journal.is_dir():
        folders += [path for path in site.journal.iterdir() if path.is_dir()]
    return {folder: _size(folder) for folder in folders}


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder, onerror=lambda error: None):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total
