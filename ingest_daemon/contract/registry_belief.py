"""Whether `terminals.csv` is believed: one that loses many terminals is so only when a person says that it is meant."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from ingest_daemon.contract.files import glance, write_json
from ingest_daemon.contract.site import Site

FILE = "terminals.csv"
LOST_SHARE = 0.2
"""A file that loses more than this share of the terminals in force is not believed unless somebody accepts it."""


def disbelief(site: Site, known: int, lost: Sequence[str]) -> str:
    """Why a file that loses these of so many known terminals is not believed; empty where it is. Raises `OSError`."""
    path = site.registry / FILE
    if len(lost) <= LOST_SHARE * known or digest(path) == glance(accepted_path(site.state), lambda value: value["sha256"]):
        return ""
    names = ", ".join(lost[:3]) + (" …" if len(lost) > 3 else "")
    return (
        f"{path}: {len(lost)} of {known} terminals are gone ({names}); if that is meant: mainflow registry accept "
        "/ 档案中消失的终端过多，确认无误请运行 mainflow registry accept"
    )


def accept(site: Site) -> None:
    """Have `terminals.csv` believed as it is now, however many terminals it loses. Raises `OSError`."""
    site.state.mkdir(parents=True, exist_ok=True)
    value = {"sha256": digest(site.registry / FILE), "accepted_at": datetime.now(UTC).isoformat()}
    write_json(accepted_path(site.state), value, durable=True)


def accepted_path(state: Path) -> Path:
    """The file that names the content which was accepted."""
    return state / "registry-accepted.json"


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return sha256(path.read_bytes()).hexdigest()
