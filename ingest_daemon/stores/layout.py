"""The layout of a site folder: a site that another version made is refused with what to do, before anything is read wrongly."""

from contextlib import suppress
from pathlib import Path

from ingest_daemon.contract.files import rebuilt_json, write_json
from ingest_daemon.contract.site import Site

LAYOUT = 2
"""Number of today's layout, noted in `state/layout.json`; it grows with each change that old sites do not follow."""

_OLD = ("kept", "state/asks")
"""Folders of sites that were made before the layout was noted."""


def check_layout(site: Site) -> None:
    """Note the layout of a new site. Raises `ValueError` where the site has another one."""
    path = site.state / "layout.json"
    noted = rebuilt_json(path, lambda value: {"layout": value["layout"]}, "the layout is looked at anew")
    if noted is None:
        if marks := [site.root / name for name in _OLD if (site.root / name).exists()] + _without_stream(site.raw):
            raise ValueError(_refusal(site, f"before {LAYOUT}: there is {marks[0]}"))
        with suppress(OSError):  # who only reads the site may not write there
            site.state.mkdir(parents=True, exist_ok=True)
            write_json(path, {"layout": LAYOUT}, durable=True)
    elif noted["layout"] != LAYOUT:
        raise ValueError(_refusal(site, f"{noted['layout']}, noted in {path}"))


def _refusal(site: Site, layout: str) -> str:
    return (
        f"站点 {site.root} 的数据布局与本版本不符：请用 mainflow init 新建站点并复制 site.toml 与 registry/ / "
        f"the site {site.root} has layout {layout}; this version reads layout {LAYOUT} only: make a new site "
        "(mainflow init), copy site.toml and registry/ to it, and keep the old folder with the version that made it"
    )


def _without_stream(raw: Path) -> list[Path]:
    """One file of the Parquet archive, where it lacks the column `stream`."""
    file = next(raw.glob("readings/day=*/*.parquet"), None)
    if file is None:
        return []
    import polars as pl

    return [] if "stream" in pl.read_parquet_schema(file) else [file]
