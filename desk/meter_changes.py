"""Meters to change: from a proposal of the figures to the effect of the new meter; a row of `ops.meter_change` a step or note.

    proposed ──▶ approved ──▶ done
        └──▶ rejected ◀──┘     operators propose, note and report done; administrators approve and reject

The newest row of a meter is its state, so a meter has one candidate at a time. What the proposal promised is kept with each step:
the figures look at the meter as it is now.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg

from desk.security import ADMIN, OPERATOR

PROPOSED, APPROVED, REJECTED, DONE = "proposed", "approved", "rejected", "done"
STEPS: Mapping[str | None, Mapping[str, str]] = {
    None: {PROPOSED: OPERATOR},
    PROPOSED: {APPROVED: ADMIN, REJECTED: ADMIN},
    APPROVED: {DONE: OPERATOR, REJECTED: ADMIN},
    REJECTED: {PROPOSED: OPERATOR},
    DONE: {PROPOSED: OPERATOR},
}
"""The steps from each state, and the role that may take them."""

LOCK = int.from_bytes(b"meters")
"""Key of the advisory lock that one step holds."""
REPLACED_WITHIN_D = 31
"""Days between the reported day and that on which the registry has the new sizes."""


class Step(NamedTuple):
    """A step or note."""

    change_id: int
    meter: str
    candidate: str
    state: str
    saving_m3_year: float | None
    saving_cny_year: float | None
    payback_years: float | None
    done_on: date | None
    note: str | None
    changed_by: str
    changed_at: datetime


STEP = f"select {', '.join(Step._fields)} from ops.meter_change"


class TakenBefore(Exception):
    """Somebody took a step since the user looked; nothing was done."""

    def __init__(self, step: Step) -> None:
        super().__init__(f"{step.meter}: {step.state} by {step.changed_by}")
        self.step = step


class NoStep(Exception):
    """No such step leads on from the meter's state, or the figures do not propose the candidate; nothing was done."""


LIST = """
with best as (
    select distinct on (meter) meter, candidate, saving_m3_year, saving_cny_year, payback_years, fit_class
    from mart.meter_resize
    where passes
    order by meter, payback_years nulls last, saving_m3_year desc nulls last, candidate
),
step as (select distinct on (meter) * from ops.meter_change order by meter, change_id desc)
select
    coalesce(best.meter, step.meter) as meter,
    present.customer_name,
    present.dn_mm,
    present.technology,
    best.fit_class,
    coalesce(step.candidate, best.candidate) as candidate,
    coalesce(step.saving_m3_year, best.saving_m3_year) as saving_m3_year,
    coalesce(step.saving_cny_year, best.saving_cny_year) as saving_cny_year,
    coalesce(step.payback_years, best.payback_years) as payback_years,
    step.state,
    step.changed_by,
    step.changed_at,
    step.note
from best
full join step on step.meter = best.meter
left join mart.meter as present on present.meter = coalesce(best.meter, step.meter)
where %(state)s = '' or coalesce(step.state, 'open') = %(state)s
order by saving_cny_year desc nulls last, meter
"""


def proposals(connection: psycopg.Connection[Any], state: str) -> Sequence[Any]:
    """The meters that the figures propose to change or that somebody took a step for, the largest saving first.

    `state`: only those in it, `open` before any step; empty: all.
    """
    return connection.execute(LIST, {"state": state}).fetchall()


def candidates(connection: psycopg.Connection[Any], meter: str) -> Sequence[Any]:
    """What the figures propose for a meter, the shortest payback first."""
    return connection.execute(
        "select * from mart.meter_resize where meter = %s and passes "
        "order by payback_years nulls last, saving_m3_year desc nulls last, candidate",
        [meter],
    ).fetchall()


def steps(connection: psycopg.Connection[Any], meter: str) -> list[Step]:
    """The steps and notes of a meter, the newest first."""
    rows = connection.execute(f"{STEP} where meter = %s order by change_id desc", [meter])
    return [Step(*row) for row in rows]


def take_step(
    connection: psycopg.Connection[Any],
    meter: str,
    state: str,
    user: str,
    *,
    seen: int,
    candidate: str = "",
    done_on: date | None = None,
    note: str = "",
) -> None:
    """Bring a meter to a state, or add a note to the one that it is in.

    `seen`: number of the newest step that the user saw, 0 for none. Raises `TakenBefore`, `NoStep`.
    """
    connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])
    last = next(iter(steps(connection, meter)), None)
    if last and last.change_id != seen:
        raise TakenBefore(last)
    is_note = last is not None and state == last.state and state != DONE
    if not is_note and state not in STEPS[last.state if last else None]:
        raise NoStep
    if state == PROPOSED and not is_note:
        chosen = next((row for row in candidates(connection, meter) if row.candidate == candidate), None)
        if chosen is None:
            raise NoStep
        promised = (chosen.candidate, chosen.saving_m3_year, chosen.saving_cny_year, chosen.payback_years)
    else:
        assert last is not None
        promised = (last.candidate, last.saving_m3_year, last.saving_cny_year, last.payback_years)
    connection.execute(
        "insert into ops.meter_change "
        "(meter, state, done_on, note, changed_by, candidate, saving_m3_year, saving_cny_year, payback_years) "
        "values (%s, %s, %s, nullif(%s, ''), %s, %s, %s, %s, %s)",
        [meter, state, done_on, note, user, *promised],
    )


class Effect(NamedTuple):
    """What the figures know of a change: `replaced_on` None while the registry has none near the day, the sides once known."""

    replaced_on: date | None
    days_after: int
    least_days: int
    sides: Sequence[Any]


def effect(connection: psycopg.Connection[Any], step: Step) -> Effect:
    """Before and after the change that was reported done; sides only once enough complete days are known of each."""
    rows = connection.execute(
        "select * from mart.replacement_effect where meter = %(meter)s and replaced_on = ("
        "select replaced_on from mart.replacement_effect where meter = %(meter)s "
        "and abs(replaced_on - %(day)s::date) <= %(within)s order by abs(replaced_on - %(day)s::date) limit 1"
        ") order by side desc",
        {"meter": step.meter, "day": step.done_on, "within": REPLACED_WITHIN_D},
    ).fetchall()
    least = connection.execute(
        "select value from mart.criterion where name = 'fit.least_days' and valid_from <= current_date "
        "order by valid_from desc limit 1"
    ).fetchone()
    after = next((row for row in rows if row.side == "after"), None)
    is_known = after is not None and after.realised_m3_year is not None
    return Effect(
        rows[0].replaced_on if rows else None,
        after.days_complete if after else 0,
        int(least.value) if least else 0,
        rows if is_known else (),
    )
