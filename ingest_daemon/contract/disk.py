"""What a disk answers that takes nothing more, in one sentence: which file, how much is free, what to do."""

import errno
import getpass
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class _Kind(NamedTuple):
    """A refusal: its words in errors of libraries, and what a person reads and does."""

    spelled: str
    zh: str
    en: str
    advice: str


_FREE = "清理或扩大磁盘后重试 / free some space or move the site to a larger disk, then try again (docs/operations.md, Disk)"
_MINE = "以站点所有者运行，或交出该文件 / run mainflow as the owner of the site, or give the file to user {user}"

_KINDS = {
    errno.ENOSPC: _Kind(r"No space left on device|disk is full", "磁盘已满", "the disk is full", _FREE),
    errno.EDQUOT: _Kind("Disk quota exceeded", "磁盘配额用尽", "the disk quota is used up", _FREE),
    errno.EROFS: _Kind(
        "Read-only file system",
        "磁盘只读",
        "the disk is read-only",
        "改为可写挂载；若因磁盘故障，先检查磁盘 / mount it writable; where a fault made it read-only look at it first (dmesg)",
    ),
    errno.EACCES: _Kind("Permission denied", "没有权限", "this user may not use the file", _MINE),
    errno.EPERM: _Kind("Operation not permitted", "没有权限", "this user may not use the file", _MINE),
}
_PATH = re.compile(r"""["'](/[^"']+)["']""")


def trouble(error: BaseException, site: Path) -> str | None:
    """The sentence where a full or closed disk lies behind an error, else None. `site`: what is asked where no file is named."""
    for cause in _causes(error):
        kind = _kind(cause)
        if kind is None:
            continue
        named = getattr(cause, "filename", None) or next(iter(_PATH.findall(str(cause))), None)
        path = site if named is None or str(named).startswith("/proc/") else Path(str(named))
        return f"{kind.zh} / {kind.en}: {path}; {_free(path)}{kind.advice.format(user=getpass.getuser())}"
    return None


def _kind(error: BaseException) -> _Kind | None:
    if isinstance(error, OSError) and error.errno in _KINDS:
        # Without a file it is a port or a process that is refused.
        return _KINDS[error.errno] if error.filename or error.errno not in (errno.EACCES, errno.EPERM) else None
    return next((kind for kind in _KINDS.values() if re.search(kind.spelled, str(error))), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _free(path: Path) -> str:
    with suppress(OSError, StopIteration):
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        return f"剩余 / free there {shutil.disk_usage(there).free / 1e9:.1f} GB; "
    return ""
