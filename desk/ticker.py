"""The ticker: which alarms roll over the wall and the boards, by role, and who set that to what."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from desk.security import ROLES

SHOWN = 200
LEAST_S, MOST_S = 1, 600


class Setting(NamedTuple):
    """What a role's ticker shows: these codes (none: every one) and severities, each alarm for so many seconds."""

    codes: tuple[str, ...]
    severities: tuple[str, ...]
    seconds: int


def rows(connection: psycopg.Connection[Any], role: str) -> Sequence[Any]:
    """The alarms of a role's ticker, open ones first, then the newest first."""
    return connection.execute(
        "select *, count(*) over () as total from ops.alarm_ticker where role = %s "
        "order by state desc, raised_at desc, alarm_id desc limit %s",
        [role, SHOWN],
    ).fetchall()


def settings(connection: psycopg.Connection[Any]) -> dict[str, Setting]:
    """By role."""
    found = connection.execute("select role, codes, severities, seconds from ops.ticker_setting").fetchall()
    known = {row.role: Setting(tuple(row.codes), tuple(row.severities), row.seconds) for row in found}
    return {role: known[role] for role in ROLES}


def change(connection: psycopg.Connection[Any], role: str, setting: Setting, user: str) -> bool:
    """Set a role's ticker, and note who did so and what was before; whether it was another."""
    row = connection.execute(
        "select codes, severities, seconds from ops.ticker_setting where role = %s for update", [role]
    ).fetchone()
    before = Setting(tuple(row.codes), tuple(row.severities), row.seconds)  # type: ignore[union-attr]
    if before == setting:
        return False
    connection.execute(
        "update ops.ticker_setting set codes = %s, severities = %s, seconds = %s where role = %s",
        [list(setting.codes), list(setting.severities), setting.seconds, role],
    )
    connection.execute(
        "insert into ops.setting_history (changed_by, setting, before, after) values (%s, %s, %s, %s)",
        [user, f"ticker.{role}", json.dumps(before._asdict()), json.dumps(setting._asdict())],
    )
    return True


def changes(connection: psycopg.Connection[Any]) -> Sequence[Any]:
    """Who changed the ticker's settings, the newest first."""
    return connection.execute(
        "select * from ops.setting_history where setting like 'ticker.%%' order by history_id desc limit 50", []
    ).fetchall()
