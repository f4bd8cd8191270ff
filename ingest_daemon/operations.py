"""The public functions of the daemon for other rooms, beside `contract` and `stores`.

A function imports what it needs when it is called, so that a help page loads no codec and no Polars. Every function works on a
site's folder, whether its daemon runs or not.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ingest_daemon.amr.errors import AmrError as AmrError
from ingest_daemon.amr.settings import AmrSettings as AmrSettings
from ingest_daemon.amr.settings import SourceSettings as SourceSettings
from ingest_daemon.commands.settings import CommandSettings as CommandSettings
from ingest_daemon.contract.settings import Settings
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.records import STREAMS as STREAMS
from ingest_daemon.reception.settings import DaemonSettings as DaemonSettings
from ingest_daemon.sms.settings import SmsSettings as SmsSettings

if TYPE_CHECKING:
    import polars as pl

    from ingest_daemon.amr.importer import Imported as Imported
    from ingest_daemon.amr.purge import Purged as Purged
    from ingest_daemon.amr.state import SourceState as SourceState
    from ingest_daemon.codec_kit.api import ExplainedField as ExplainedField
    from ingest_daemon.commands.queue import CommandQueue as CommandQueue
    from ingest_daemon.commands.queue import QueuedCommand as QueuedCommand
    from ingest_daemon.forwarding.arrivals import Arrivals as Arrivals
    from ingest_daemon.forwarding.drain import Drained as Drained
    from ingest_daemon.forwarding.drain import Progress as Progress
    from ingest_daemon.forwarding.preview import Preview
    from ingest_daemon.forwarding.quarantine import QuarantineEntry as QuarantineEntry
    from ingest_daemon.forwarding.quarantine import UnknownTerminal as UnknownTerminal
    from ingest_daemon.forwarding.replay import ReplayResult as ReplayResult
    from ingest_daemon.journal.inspection import JournalEntry as JournalEntry
    from ingest_daemon.journal.inspection import StreamCheck as StreamCheck
    from ingest_daemon.journal.reader import Stream as Stream
    from ingest_daemon.terminals.registry import Registry as Registry
    from ingest_daemon.terminals.registry import RegistryChange as RegistryChange
    from ingest_daemon.terminals.registry import Terminal as Terminal


def explain(data: bytes, protocol: str) -> "list[ExplainedField]":
    """Every byte of a frame explained. Raises `ValueError` for an unknown protocol."""
    from ingest_daemon import codecs

    return codecs.load(protocol).explain(data)


def preview(data: bytes, protocol: str, profile: str, now: datetime) -> "Preview":
    """What the daemon would store of these bytes (see `forwarding.preview`)."""
    from ingest_daemon.forwarding import preview as forwarding

    return forwarding.preview(data, protocol, profile, now)


def terminals(site: Site) -> "Mapping[str, Terminal]":
    """The registered terminals in force, by number; of a file that is not believed those before it."""
    from ingest_daemon.terminals.registry import Registry

    return Registry(site).terminals()


def registry(settings: Settings) -> "Registry":
    """The registry as the daemon has it in force, and what its file would change."""
    from ingest_daemon.terminals.registry import Registry

    return Registry(settings.folder, settings[DaemonSettings].data_protocol)


def accept_registry(site: Site) -> None:
    """Have daemon and figures take over `terminals.csv` as it is now, although it loses many terminals."""
    from ingest_daemon.contract.registry_belief import accept

    accept(site)


def arrivals(site: Site, terminal: str, start: datetime, end: datetime, until: datetime | None = None) -> "Arrivals":
    """Every arrival of the terminal's readings with start <= ts < end, as far as the journal is kept.

    `until`: only those received before it, which are found much sooner.
    """
    from ingest_daemon.forwarding import arrivals as forwarding

    return forwarding.arrivals(site, terminal, start, end, until)


# Commands to terminals


def queue_command(
    settings: Settings, terminal: str, kind: str, start: datetime | None, end: datetime | None, field: str
) -> list[str]:
    """Queue a command; gives the ids. Raises `ValueError` naming what the terminal's protocol allows."""
    from ingest_daemon.commands import requests

    return requests.queue_command(settings, settings[DaemonSettings].data_protocol, terminal, kind, start, end, field)


def commands(site: Site) -> "list[QueuedCommand]":
    """Every queued command with its state, oldest first."""
    from ingest_daemon.commands.queue import read_commands

    return read_commands(site)


def answers(site: Site, command: "QueuedCommand") -> "Iterator[pl.DataFrame | list[ExplainedField]]":
    """The terminal's answers to a command: readings, or the explained frame where it holds no reading."""
    from ingest_daemon.forwarding import arrivals as forwarding

    return forwarding.answers(site, command)


def command_queue(settings: Settings) -> "CommandQueue":
    """The queue of commands as it is on disk now."""
    from ingest_daemon.commands.queue import open_commands

    return open_commands(settings.folder, settings[CommandSettings])


def history_support(settings: Settings, now: datetime) -> Callable[[str, datetime, datetime, str], bool]:
    """A function (terminal, start, end, field): whether the terminal's protocol has a command for that history.

    Raises `OSError`, `ValueError` where the registry cannot be read.
    """
    from ingest_daemon.commands import requests

    return requests.history_support(settings, settings[DaemonSettings].data_protocol, now)


# Other systems


def amr_sync(settings: Settings, source: str, progress: Callable[[int], None] = lambda _: None) -> "Imported":
    """Import what is new in the tables of a source. Raises `AmrError`, `SettingError`, `OSError`, `ValueError`."""
    from ingest_daemon.amr import importer

    return importer.sync(settings, settings[AmrSettings].source(source), progress)


def amr_purge(settings: Settings, source: str, *, dry_run: bool) -> "Purged":
    """Delete old rows of a source that are imported for certain. Raises as `amr_sync`, and `StoreAway`."""
    from ingest_daemon.amr import purge

    return purge.purge(settings, settings[AmrSettings].source(source), dry_run=dry_run)


def amr_state(site: Site, source: str) -> "SourceState":
    """What is known of a source: how far it is imported, tags without a terminal, unknown codes, refused rows."""
    from ingest_daemon.amr import state

    return state.load(site, source)


def amr_check(settings: Settings, source: str) -> str:
    """Connect with a source and tell what answered. Raises `AmrError`."""
    from ingest_daemon.amr import tables
    from ingest_daemon.contract import odbc

    own = settings[AmrSettings].source(source)
    with tables.opened(own.connection, source) as session:
        return odbc.answered(session)


def allocate_terminals(site: Site, count: int, source: str) -> list[str]:
    """New numbers for terminals of other systems, never given before. Raises `OSError`, `ValueError`."""
    from ingest_daemon.amr import numbers

    return numbers.allocate(site, count, source)


# Journal


def journal_streams(site: Site) -> "list[Stream]":
    """Every stream of the journal that is on disk, with its readers' cursors."""
    from ingest_daemon.journal.reader import streams

    return streams(site)


def journal_entries(site: Site, stream: str, position: int) -> "Iterator[JournalEntry]":
    """The records of a stream from a position on, and the gaps of damaged bytes between them."""
    from ingest_daemon.journal import inspection

    return inspection.entries(site, stream, position)


def own_stream(site: Site, stream: str) -> str | None:
    """The stream of this site's journal that a reading's column `stream` names; None where it is another daemon's."""
    from ingest_daemon.journal import share

    return share.own_stream(site, stream)


def verify_journal(site: Site) -> "Iterator[StreamCheck]":
    """The result of checking every record's CRC, a stream at a time."""
    from ingest_daemon.journal import inspection

    return inspection.verify(site)


def backlog(site: Site) -> dict[str, int]:
    """Bytes of the journal that each reader has still to handle."""
    from ingest_daemon.journal.reader import backlog as unread

    return unread(site)


def cursor(site: Site, reader: str) -> int:
    """The journal position up to which a reader has handled its stream."""
    from ingest_daemon.journal.reader import read_cursor

    return read_cursor(site, reader)


def cursor_path(site: Site, reader: str) -> Path:
    """The file of a reader's cursor."""
    from ingest_daemon.journal.reader import cursor_path as path

    return path(site, reader)


def restore_cursors(site: Site) -> list[str]:
    """While no daemon runs: let readers whose cursor is damaged begin again at the oldest record; gives their names."""
    from ingest_daemon.journal.reader import restore_cursors as restore

    return restore(site)


def waiting_since(site: Site) -> dict[str, int | None]:
    """Receive time (µs since 1970 UTC) of the oldest record that each reader has still to handle; None: there is none."""
    from ingest_daemon.journal.reader import waiting_since as oldest

    return oldest(site)


def drain(
    settings: Settings, folder: Path, share: str = "", tell: "Callable[[Progress], None]" = lambda progress: None
) -> "Drained":
    """Bring what a lost daemon had not forwarded to the raw store and the database of these settings.

    `folder`: its site folder. `share`: its name, where its journal has none noted. Raises `SiteBusy` while it lives, `ValueError`
    where the folder has no journal or the raw store is one daemon's alone, `OSError`.
    """
    from dataclasses import replace

    from ingest_daemon.contract.files import read_json
    from ingest_daemon.contract.settings import PostgresSettings
    from ingest_daemon.forwarding import drain as forwarding
    from ingest_daemon.monitoring.lock import lock_site
    from ingest_daemon.stores import open_store
    from ingest_daemon.stores.settings import StoreSettings

    lost, own, stored = Site(folder.resolve()), settings[DaemonSettings], settings[StoreSettings]
    if stored.kind == "parquet":
        raise ValueError(
            f"[store] kind = 'parquet' of {settings.folder.root}: that archive is one daemon's alone; expected the settings of a "
            "site that uses the raw store which the daemons share (--site)"
        )
    forwarding.check_folder(lost)
    if share:
        replace(stored, share=share)  # a name that is none is refused before it is noted
    embedded = read_json(settings.folder.state / "postgres.json") or {}
    lock = lock_site(lost)
    try:
        return forwarding.drain(
            lost,
            own,
            open_store(lost, replace(stored, share=forwarding.identify(lost, share))),
            registry(settings),
            settings[PostgresSettings].dsn or embedded.get("dsn", ""),
            (own.segment_mb << 20, own.journal_mb << 20),
            tell,
        )
    finally:
        os.close(lock)


# Replay and quarantine


def request_adoption(site: Site) -> str:
    """Ask the daemon to store what terminals sent before they were registered; gives the request's name."""
    from ingest_daemon.forwarding import replay

    return replay.ask(site)


def request_replay(
    site: Site, *, streams: Sequence[str], terminal: str, received_us: tuple[int, int], positions: tuple[int, int]
) -> str:
    """Ask the daemon to decode part of the journal again; gives the request's name.

    `received_us`, `positions`: first and end, the end excluded; `terminal`: empty for all. Raises `ValueError` where another
    replay waits.
    """
    from ingest_daemon.forwarding import replay

    return replay.ask(site, replay.ReplayRange(tuple(streams), *received_us, *positions, terminal))


def replay_result(site: Site, name: str) -> "ReplayResult | None":
    """The daemon's answer to a request; None while there is none."""
    from ingest_daemon.forwarding import replay

    return replay.answer(site, name)


def quarantine_counts(site: Site) -> dict[str, int]:
    """Number of entries in quarantine by reason, without those that were adopted."""
    from ingest_daemon.forwarding import quarantine

    return quarantine.counts(site.quarantine)


def kept_aside(site: Site, terminal: str, start: datetime, end: datetime) -> "list[QuarantineEntry]":
    """What the quarantine has of a terminal about a time: received then, or of that device time."""
    from ingest_daemon.forwarding import quarantine

    return quarantine.entries_of(site.quarantine, terminal, start, end)


def unknown_terminals(site: Site) -> "dict[str, UnknownTerminal]":
    """The unregistered terminals whose frames wait for adoption, by number."""
    from ingest_daemon.forwarding import quarantine

    return quarantine.unknown_terminals(site.quarantine)
