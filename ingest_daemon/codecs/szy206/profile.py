"""A station's profile: the facts that its frames do not state. Shipped ones: `terminals/profiles/szy206-*`, `sl427-*`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest_daemon.codecs.szy206.header import ALARM_STATE, FLOW, PRESSURE
from ingest_daemon.contract.alarm_codes import OF_TERMINALS

ALARM_BITS = (
    ("交流电停电", "mains lost"),
    ("蓄电池电压低", "battery low"),
    ("水位超限", "level limit"),
    ("流量超限", "flow limit"),
    ("水质超限", "quality limit"),
    ("流量仪表故障", "flow meter fault"),
    ("水泵开停", "pump"),
    ("水位仪表故障", "level meter fault"),
    ("水压超限", "pressure limit"),
    ("温度超限", "temperature limit"),
    ("IC 卡功能", "IC card"),
    ("定值控制", "fixed-value control"),
    ("剩余水量下限", "remaining water low"),
    ("箱门", "door"),
    ("备用 14", "reserved 14"),
    ("备用 15", "reserved 15"),
)
"""Bits of the alarm word, bit 0 first (SL/T 427-2021, 7.3.14)."""

STATE_BITS = (
    ("工作模式位 0", "mode, bit 0"),
    ("工作模式位 1", "mode, bit 1"),
    ("IC 卡有效", "IC card valid"),
    ("定值控制投入", "fixed value on"),
    ("水泵停止", "pump stopped"),
    ("箱门关闭", "door closed"),
    ("蓄电池供电", "on battery"),
)
"""Bits of the state word, bit 0 first."""

_CODES = ("MAINS", "BATT", "", "Q_HI", "", "SENSOR", "", "SENSOR", "P_HI", "", "", "", "", "DOOR", "", "")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "flow_values": ("flow+total", "flow", "total"),
    "flow_unit": ("m3/h", "m3/s", "bits"),
    "time_tag": (0, 5, 6, 7),
    "alarm_report": ("word-first", "word-last"),
    "ack_type": ("zero", "copy"),
    "ack_time": (False, True),
}
_KINDS = {"flow": FLOW, "pressure": PRESSURE, "voltage": ALARM_STATE}


@dataclass(frozen=True)
class Station:
    """Settings of a station; the defaults are SZY 206-2016.

    `flow_values`: the values of each meter in a frame of type 3. `flow_unit`: unit of an instant flow; `bits`: bits 5-4 of its
    last byte state it (427). `time_tag`: bytes of Tp; 6 are ss mm hh DD MM YY. `alarm_report`: the place of the alarm word in
    81H, before the values or behind them as in C0. `ack_type`: type in our acknowledgement; `ack_time`: whether it has Tp, by
    which the station sets its clock. `step_min`: minutes between stored values (B1). `now`: the types that B0 requests. `alarms`:
    code of `alarm_codes.OF_TERMINALS` for each bit of the alarm word, bit 0 first, "" for none.
    """

    flow_values: str = "flow+total"
    flow_unit: str = "m3/h"
    time_tag: int = 5
    alarm_report: str = "word-first"
    ack_type: str = "zero"
    ack_time: bool = False
    step_min: int = 10
    now: tuple[int, ...] = (FLOW,)
    alarms: tuple[str, ...] = _CODES

    def active(self, word: int) -> list[str]:
        """The codes of an alarm word, each once."""
        return list(dict.fromkeys(code for bit, code in enumerate(self.alarms) if code and word >> bit & 1))


DEFAULT = Station()


def profile(table: Mapping[str, Any]) -> Station:
    """The settings of a TOML table; `alarms` in it has only the bits that differ, as `{"14" = "Q_REV"}`.

    Raises `ValueError` naming key and allowed values.
    """
    keys = {**_CHOICES, "step_min": (), "now": (), "alarms": ()}
    for key, value in table.items():
        if key not in keys:
            raise ValueError(f"{key}: no setting of this protocol; there are: {', '.join(keys)}")
        if (choices := keys[key]) and not any(value == choice and type(value) is type(choice) for choice in choices):
            raise ValueError(f"{key} is {value!r}; allowed: {', '.join(map(str, choices))}")
    settings = dict(table)
    step = settings.get("step_min", DEFAULT.step_min)
    if type(step) is not int or not 1 <= step <= 1440 or (60 % step and step % 60):
        raise ValueError(f"step_min is {step!r}; allowed: minutes that divide an hour, or whole hours up to 1440")
    if "now" in settings:
        settings["now"] = _kinds(settings["now"])
    if "alarms" in settings:
        settings["alarms"] = _codes(settings["alarms"])
    return Station(**settings)


def _kinds(names: Any) -> tuple[int, ...]:
    if not isinstance(names, list) or not names or not all(name in _KINDS for name in names):
        raise ValueError(f"now is {names!r}; allowed: a list of {', '.join(_KINDS)}")
    return tuple(dict.fromkeys(_KINDS[name] for name in names))


def _codes(table: Any) -> tuple[str, ...]:
    if not isinstance(table, dict):
        raise ValueError(f'alarms is {table!r}; allowed: a table of bit and code, such as {{"14" = "Q_REV"}}')
    codes = list(_CODES)
    for bit, code in table.items():
        if not bit.isdecimal() or int(bit) >= len(codes):
            raise ValueError(f"alarms: bit {bit!r}; allowed: 0 to {len(codes) - 1}")
        if code and code not in OF_TERMINALS:
            raise ValueError(f'alarms: code {code!r} of bit {bit}; allowed: "" for none, {", ".join(OF_TERMINALS)}')
        codes[int(bit)] = code
    return tuple(codes)
