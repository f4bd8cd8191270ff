"""The paths in a site folder."""

from dataclasses import dataclass
from pathlib import Path

UMASK = 0o027
"""Of every process that writes in a site: journals, settings and figures name customers, and some hold secrets."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site folder (`mainflow init DIR`): settings, registry and all that running makes."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "site.toml"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def journal(self) -> Path:
        """One folder a stream below: `data`, `alarm`, `stranger`, `bad`, `part`, `event`."""
        return self.root / "journal"

    @property
    def raw(self) -> Path:
        """The Parquet archive, where that is the raw store."""
        return self.root / "raw"

    @property
    def quarantine(self) -> Path:
        """Ledger of what was kept aside, one JSON line each, with its reason."""
        return self.root / "quarantine"

    @property
    def state(self) -> Path:
        """Cursors, locks and the running daemon's addresses."""
        return self.root / "state"

    @property
    def import_socket(self) -> Path:
        """Where the daemon takes what is imported from other systems; only its own user may connect."""
        return self.state / "import.sock"

    @property
    def registry_history(self) -> Path:
        """What the registry held when, a folder an edit."""
        return self.state / "registry-history"

    @property
    def marts(self) -> Path:
        return self.root / "marts.duckdb"

    @property
    def units(self) -> Path:
        """Intervals and flow histograms, a folder a local day."""
        return self.root / "units"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def grafana(self) -> Path:
        return self.root / "grafana"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def outputs(self) -> Path:
        """Files for other systems, a folder a version of the contract."""
        return self.root / "outputs"

    @property
    def logs(self) -> Path:
        return self.root / "logs"
