"""`mainflow decode`: a frame explained field by field, or the readings that the daemon would store from it."""

import json
import sys
from datetime import UTC, datetime

import click

from ingest_daemon import operations
from pipelines.cli.console import console, fields_table
from pipelines.cli.options import examples, report_failures

MOST_BYTES = 16_384
"""Noise of this length is searched for frames within seconds."""


@click.command(
    epilog=examples(
        "mainflow decode 7E7E01…B042",
        "mainflow decode --json '7E 7E 01 …'",
        "mainflow decode --readings --protocol mbus 681B1B6808057278563412720501071000000004138E8A4000053B0000C07F1016",
        "mainflow decode --readings --protocol modbus_rtu --profile badger-m2000 "
        "01030444800000EF2B 01030445000000EF3F 0103043F000000F627",
    )
)
@click.argument("hexadecimal", metavar="HEX", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="输出 JSON / print JSON")
@click.option("--readings", is_flag=True, help="会入库的读数 / what would be stored, one JSON object a line")
@click.option("--protocol", default="", show_default="sl651; with --readings the likely one", help="规约 / protocol")
@click.option("--profile", default="", help="配置名或 TOML 文件 / shipped profile or TOML file, for --readings")
@report_failures
def decode(hexadecimal: tuple[str, ...], as_json: bool, readings: bool, protocol: str, profile: str) -> None:
    """逐字段解释一帧，或列出会入库的读数 / explain a frame field by field, or list the readings in it.

    With --readings the bytes may hold several frames and noise. Answers of a polled meter need no requests: they count as asked
    just now, those of Modbus in the order of the profile's register blocks. Exit code 1 where nothing can be read.
    """
    data = _bytes("".join(hexadecimal))
    if readings:
        sys.exit(_print_readings(data, protocol, profile))
    if profile:
        raise ValueError("--profile: only --readings takes one")
    parts = operations.explain(data, protocol or "sl651")
    if as_json:
        rows = [
            {
                "offset": part.offset,
                "bytes": part.raw.hex().upper(),
                "zh": part.zh,
                "en": part.en,
                "value": part.value,
                "unit": part.unit,
            }
            for part in parts
        ]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    console.print(fields_table(parts))


def _bytes(text: str) -> bytes:
    digits = "".join(text.split())
    if len(digits) > 2 * MOST_BYTES:
        raise ValueError(
            f"{len(digits) // 2:,} bytes: expected at most {MOST_BYTES:,}, a few frames; cut the text, or use mainflow journal"
        )
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise ValueError(f"{digits[:40]!r}…: expected pairs of hexadecimal digits") from None


def _print_readings(data: bytes, protocol: str, profile: str) -> int:
    """The exit code."""
    result = operations.preview(data, protocol, profile, datetime.now(UTC))
    for reading in result.readings:
        click.echo(json.dumps({**reading, "ts": reading["ts"].isoformat()}, ensure_ascii=False))
    rest = {"refused": [refusal._asdict() for refusal in result.refused], "unused": result.unused}
    click.echo(json.dumps(rest, ensure_ascii=False))
    return 0 if result.readings else 1
