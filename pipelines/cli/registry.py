"""`mainflow registry`: the state in force, what the files would change and what held when; a person's word that it is meant."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingest_daemon import operations
from pipelines.cli.console import coloured, console
from pipelines.cli.options import SITE, examples, report_failures

if TYPE_CHECKING:
    from ingest_daemon.operations import Registry, RegistryChange

SHOWN = 10
"""Limit of terminals listed for each kind of change."""


@click.group(epilog=examples("mainflow registry check --site site", "mainflow registry history --site site M0001"))
def registry() -> None:
    """档案 / the registry as the daemon sees it: what is in force, and what the file would change."""


@registry.command(epilog=examples("mainflow registry check --site site"))
@SITE
@report_failures
def check(root: Path) -> None:
    """检查 / compare terminals.csv with the state in force; exit code 1 where a row or the file is refused."""
    from pipelines.settings import load

    settings = load(root)
    state = operations.registry(settings)
    change = state.change()
    _show(state, change)
    from assets import registry_history
    from ingest_daemon.contract.registry_files import read

    known = registry_history.known_meters(settings.folder, str(settings.zone))
    content = read(settings.folder.registry, known)
    console.print(f"统计不采用的行 / rows that the figures do not use: {len(content.problems):,}")
    for text in content.problems:
        click.echo(text)
    wrong = any(problem.row > 1 for problem in change.problems)
    # A file that only the daemon can use, on a site that never made figures, is well for the daemon.
    is_for_figures = "terminals" not in content.unread or bool(known)
    raise SystemExit(1 if change.disbelief or wrong or (content.problems and is_for_figures) else 0)


@registry.command(epilog=examples("mainflow registry history --site site M0001"))
@SITE
@click.argument("meter")
@report_failures
def history(root: Path, meter: str) -> None:
    """沿革 / what held of a meter from when to when, and when each row became known; ~ marks rows that were superseded."""
    from assets import registry_history
    from pipelines.settings import load

    settings = load(root)
    log = registry_history.changes(settings.folder.registry_history, "span")
    lines = list(registry_history.history_of(log, meter, settings.zone))
    if not lines:
        raise click.ClickException(f"无此水表 / meter {meter!r} was never in registry/terminals.csv as the figures read it")
    for line in lines:
        click.echo(line)


@registry.command(epilog=examples("mainflow registry accept --site site"))
@SITE
@report_failures
def accept(root: Path) -> None:
    """确认 / have the daemon take over terminals.csv as it is now, although it loses many terminals."""
    from pipelines.settings import load

    settings = load(root)
    state = operations.registry(settings)
    _show(state, state.change())
    operations.accept_registry(settings.folder)
    console.print("已确认 / accepted: the daemon takes it over within a second, or at its next start")


def _show(state: "Registry", change: "RegistryChange") -> None:
    """Print the registry in force and the changes in its file."""
    console.print(f"生效终端 / terminals in force: {len(state.terminals()):,}")
    for title, numbers in (("新增 added", change.added), ("消失 lost", change.lost), ("改变 changed", change.changed)):
        names = ", ".join(numbers[:SHOWN]) + (" …" if len(numbers) > SHOWN else "")
        console.print(f"{title}: {len(numbers):,}{f' ({names})' if numbers else ''}")
    for problem in change.problems:
        click.echo(problem.text(state.path))
    if change.disbelief:
        console.print(coloured("yellow", "未采用 / not taken over", f": {change.disbelief}"), soft_wrap=True)
