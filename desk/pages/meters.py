"""`/meters`: meters that the figures propose to change, with what was decided and what came of it."""

from datetime import UTC, date, datetime
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from desk import meter_changes as changes
from desk.meter_changes import DONE, PROPOSED, STEPS, NoStep, TakenBefore
from desk.security import OPERATOR, VIEWER, Refused, Visit, action, page

STATES = ("open", *(state for state in STEPS if state))
LONGEST_NOTE = 1000


def proposals(visit: Visit) -> Response:
    """The list; `state` filters."""
    state = visit.query.get("state", "")
    if state not in ("", *STATES):
        raise Refused(400, "wrong_value", field="state", value=state)
    with visit.database() as connection:
        rows = changes.proposals(connection, state)
    return visit.show("meters.html", rows=rows, states=STATES, state=state)


def meter_page(visit: Visit) -> Response:
    """One meter: its candidates, the steps so far, the steps that its reader may take, before and after."""
    return _show(visit, visit.request.path_params["meter"])


def _show(visit: Visit, meter: str, status: int = 200, trouble: str = "") -> Response:
    with visit.database() as connection:
        present = connection.execute("select * from mart.meter where meter = %s", [meter]).fetchone()
        candidates, steps = changes.candidates(connection, meter), changes.steps(connection, meter)
        done = next((step for step in steps if step.state == DONE), None)
        effect = changes.effect(connection, done) if done else None
    if not (candidates or steps):
        raise Refused(404, "not_found")
    last = steps[0] if steps else None
    return visit.show(
        "meter.html",
        status,
        meter=meter,
        present=present,
        candidates=candidates,
        steps=steps,
        last=last,
        next_steps=[state for state, role in STEPS[last.state if last else None].items() if visit.may(role)],
        effect=effect,
        today=datetime.now(UTC).astimezone(visit.desk.settings.zone).date(),
        trouble=trouble,
    )


def take_step(visit: Visit) -> Response:
    """A step or note; who was slower is told who was faster."""
    meter, state, seen = visit.text("meter", 200), visit.text("step", 20), visit.text("seen", 18)
    if not (seen.isascii() and seen.isdecimal()):
        raise Refused(400, "wrong_value", field="seen", value=seen)
    note = visit.text("note", LONGEST_NOTE)
    with visit.database() as connection:
        last = next(iter(changes.steps(connection, meter)), None)
        role = STEPS[last.state if last else None].get(state, OPERATOR)
        if not visit.may(role):
            raise Refused(403, "needs_role", role=visit.desk.word(role))
        if last and state == last.state and not note:
            raise Refused(400, "note_is_empty")
        try:
            changes.take_step(
                connection,
                meter,
                state,
                visit.user,
                seen=int(seen),
                candidate=visit.text("candidate", 200) if state == PROPOSED else "",
                done_on=_day(visit) if state == DONE else None,
                note=note,
            )
        except TakenBefore as taken:
            connection.rollback()
            step = taken.step
            words = visit.desk.word(
                "taken_before",
                user=step.changed_by,
                at=visit.desk.moment(step.changed_at),
                state=visit.desk.word(f"meter_{step.state}"),
            )
            return _show(visit, meter, 409, words)
        except NoStep:
            raise Refused(409, "no_step") from None
    return RedirectResponse(f"/meters/{quote(meter, safe='')}", 303)


def _day(visit: Visit) -> date:
    """The day on which the meter was changed. Raises `Refused` for one that is none, or to come."""
    text = visit.text("done_on", 10)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Refused(400, "wrong_value", field="done_on", value=text) from None
    if day > datetime.now(UTC).astimezone(visit.desk.settings.zone).date():
        raise Refused(400, "wrong_value", field="done_on", value=text)
    return day


navigation = [("/meters", "meters_to_change", VIEWER)]
routes = [
    page("/meters", proposals),
    page("/meters/{meter:path}", meter_page),
    action("/meters", take_step, role=OPERATOR),
]
