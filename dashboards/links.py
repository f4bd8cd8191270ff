"""Where a row, a point or a board leads: another board with the period and the selection kept, or the desk."""

from dashboards import Json
from dashboards.vocabulary import ALARM_LINK, Word

PERIOD = "${__url_time_range}"


def address(board: str, *, keep: str = "", period: str = PERIOD, **fields: str) -> str:
    """The address of a board; `fields`: variable there = column of the row here; `keep`: variables of this board to pass on."""
    parts = [f"var-{variable}=${{__data.fields.{field}:percentencode}}" for variable, field in fields.items()]
    parts += [f"${{{name}:queryparam}}" for name in keep.split()]
    return f"/d/{board}?{'&'.join([*parts, period] if period else parts)}"


def to(board: str, title: Word, *, keep: str = "", period: str = PERIOD, **fields: str) -> Json:
    """The property of a column whose cells lead to `board` (as `address`)."""
    return {"links": [{"title": str(title), "url": address(board, keep=keep, period=period, **fields)}]}


def to_meter(field: str = "meter") -> Json:
    """The property of a column whose cells lead to the row's meter."""
    return to("meter", Word("查看水表", "See the meter"), meter=field)


def in_ms(instant: str) -> str:
    """SQL of an instant as Grafana has times in links: milliseconds, as text."""
    return f"CAST(CAST(1000 * extract(epoch FROM {instant}) AS bigint) AS text)"


def to_span(board: str, title: Word, *, keep: str = "", **fields: str) -> Json:
    """The property of a column whose cells lead to `board` over the span of the row: its columns `from_ms` and `to_ms`."""
    return to(board, title, keep=keep, period="from=${__data.fields.from_ms}&to=${__data.fields.to_ms}", **fields)


def to_customer(field: str = "customer_no") -> Json:
    """The property of a column whose cells lead to the row's customer."""
    return to("customer", Word("查看客户", "See the customer"), customer_no=field)


def to_meter_between() -> Json:
    """The property of a column whose cells lead to the row's meter over the span of the row."""
    return to_span("meter", Word("查看此期间的水表", "See the meter in this period"), meter="meter")


def to_desk() -> Json:
    """The property of a column of an alarm's row (its id in the column `alarm_id`) that leads to its page in the desk."""
    return _outside(ALARM_LINK["desk"], "/alarms/${__data.fields.alarm_id}")


def to_change() -> Json:
    """The property of a column of a meter's row that leads to the meter's change in the desk: candidates, steps, effect."""
    return _outside(Word("在工作台处理换表", "Change of the meter in the desk"), "/meters/${__data.fields.meter:percentencode}")


def to_maintain() -> Json:
    """The property of a column that leads to where the desk maintains the registry's files."""
    return _outside(Word("在工作台维护", "Maintain it in the desk"), "/maintain")


def to_frames() -> Json:
    """The property of a curve, on a board with the variable `meter`: its points lead to the frames that they come from."""
    return _outside(ALARM_LINK["frames"], "/frames?meter=${meter:percentencode}&at=${__value.time}")


def _outside(title: Word, path: str) -> Json:
    return {"links": [{"title": str(title), "url": f"${{desk:raw}}{path}", "targetBlank": True}]}
