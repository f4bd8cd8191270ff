"""What importing a module loads: figures load no codec, help pages load no Polars, numpy or DuckDB."""

import subprocess
import sys

import pytest

HEAVY = ("polars", "numpy", "duckdb", "pyarrow", "dagster", "psycopg", "pydantic", "starlette", "uvicorn")


def loaded_by(statement: str) -> set[str]:
    """The modules that are loaded after a statement in a fresh interpreter."""
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_figures_tables_load_no_codec_and_none_of_the_daemons_rooms() -> None:
    own = {name.split(".")[1] for name in loaded_by("import assets.tables") if name.startswith("ingest_daemon.")}
    assert own <= {"contract", "stores"}


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"], ["journal", "--help"], ["journal", "replay", "--help"]])
def test_a_help_page_loads_nothing_heavy_and_no_codec(arguments: list[str]) -> None:
    loaded = loaded_by(f"from pipelines.cli.main import main; main({arguments!r})")
    assert {name for name in HEAVY if name in loaded} == set()
    assert {name for name in loaded if name.startswith("ingest_daemon.codecs.")} == set()


def test_reading_a_sites_settings_loads_no_codec_and_nothing_heavy() -> None:
    loaded = loaded_by("import pipelines.settings")
    assert {name for name in HEAVY if name in loaded} == set()
    assert {name for name in loaded if name.startswith("ingest_daemon.codecs.")} == set()
