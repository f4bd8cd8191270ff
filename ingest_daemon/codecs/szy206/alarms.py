"""Detection of messages with an alarm that is set. Called for every message; the alarm sink raises and clears alarms."""

from typing import Any

from ingest_daemon.codec_kit.api import Arrival
from ingest_daemon.codecs.szy206.decode import data_of, messages_of
from ingest_daemon.codecs.szy206.header import ALARM, NOW, head_of, is_whole
from ingest_daemon.codecs.szy206.layout import LAID_OUT, WORD, layout_of
from ingest_daemon.codecs.szy206.profile import DEFAULT, Station


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """Whether it is an alarm report (81H), or has an alarm word in which a bit with a code is set. Never raises."""
    station: Station = profile or DEFAULT
    return any(_is_alarm(frames, station) for frames in messages_of(arrival.raw))


def _is_alarm(frames: list[bytes], station: Station) -> bool:
    if not all(map(is_whole, frames)):
        return False
    heads = [head_of(frame) for frame in frames]
    head = heads[-1]
    if not head.is_up or head.function not in LAID_OUT or head.function == ALARM:
        return head.is_up and head.function == ALARM
    data = data_of(heads, station.time_tag if head.function != NOW else 0)
    start = layout_of(station, head.function, head.kind, len(data)).alarm_at
    return start is not None and bool(station.active(int.from_bytes(data[start : start + WORD], "little")))
