"""A new site folder: the commented settings file and a registry with a few example rows."""

from pathlib import Path
from typing import Any

from ingest_daemon.contract.registry_files import FILES
from ingest_daemon.contract.settings import check_place
from ingest_daemon.contract.site import Site
from pipelines.settings import sample_file

EXAMPLES: dict[str, list[tuple[object, ...]]] = {
    "terminals": [
        (
            "0010000001",
            "示例-1",
            "示例客户",
            "sl651",
            100,
            "ultrasonic",
            0.625,
            1,
            100,
            125,
            7,
            0.1,
            15,
            "register",
            0.14,
            0.5,
            "2026-01-01",
            "",
        ),
        (
            "0010000002",
            "示例-2",
            "示例客户",
            "sl651",
            150,
            "electromagnetic",
            1,
            1.6,
            250,
            312.5,
            7,
            0.1,
            15,
            "register",
            0.14,
            0.5,
            "2026-01-01",
            "",
        ),
    ],
    "replacements": [],
    "customers": [("示例客户", "示例大客户 Example customer", "factory", "east", "示例路 1 号")],
    "relations": [("示例-1", "network", "N1", "2026-01-01", "")],
    "vocabulary": [("network", "N1", "一号管网", "Network 1")],
    "points": [("示例-1", 12.5, 31.2304, 121.4737, "WGS84", "J-101", "", "no")],
}
"""Example rows of a new registry, to be replaced."""


class SiteExists(ValueError):
    """The folder already is a site."""


def create(root: Path, profile: str, values: dict[str, dict[str, Any]], *, examples: bool = True) -> Site:
    """Make the site folder `root`. Raises `SiteExists`, `SettingError`."""
    site = Site(root.resolve())
    check_place(site.root)
    if site.settings.exists():
        raise SiteExists(f"{site.settings} exists already; edit it, or choose another folder")
    site.registry.mkdir(parents=True, exist_ok=True)
    site.state.mkdir(parents=True, exist_ok=True)
    for name, columns in FILES.items():
        rows = EXAMPLES.get(name, []) if examples else []
        lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
        (site.registry / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    site.settings.write_text(sample_file(profile, values), encoding="utf-8")
    return site
