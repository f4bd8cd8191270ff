"""One site after `mainflow demo --days 40`, with what the command printed; what happened to it is checked by several files."""

from pathlib import Path
from typing import NamedTuple

from tests.chain import mainflow


class Demo(NamedTuple):
    """The site folder, and the output of the first run."""

    site: Path
    output: str

    @property
    def marts(self) -> Path:
        """Its marts.duckdb."""
        return self.site / "marts.duckdb"


def make_demo(site: Path) -> Demo:
    """Run the demo in a new folder."""
    return Demo(site, mainflow("demo", site, "--days", "40").stdout)
