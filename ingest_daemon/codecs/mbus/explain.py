"""Explaining a frame to people, every byte in order, in Chinese and English; nothing is decoded with it."""

from collections.abc import Iterator

from ingest_daemon.codec_kit.api import ExplainedField
from ingest_daemon.codec_kit.explained import UnplacedField, checksum_text, layout
from ingest_daemon.codecs.mbus.decode import ERRORS, STATUS_ALARMS, WATER
from ingest_daemon.codecs.mbus.framing import (
    ACK,
    APPLICATION_ERROR,
    END,
    FCB,
    FIXED,
    FROM_MASTER,
    FUNCTION,
    HEADER,
    LONG,
    OVERHEAD,
    REQ_UD2,
    RSP_UD,
    SELECT,
    SHORT,
    SND_NKE,
    SND_UD,
    VARIABLE,
    checksum_of,
    meter_number,
    size_of,
)
from ingest_daemon.codecs.mbus.records import (
    BACKWARD_ONLY,
    FILLER,
    FORWARD_ONLY,
    MAKERS,
    Record,
    TornRecordError,
    iter_records,
)
from ingest_daemon.codecs.mbus.values import Value, read_value
from ingest_daemon.contract.alarm_codes import ALARMS

_CONTROLS = {
    SND_NKE: ("复位链路 SND_NKE", "reset the link, SND_NKE"),
    REQ_UD2: ("请求数据 REQ_UD2", "ask for data, REQ_UD2"),
    SND_UD: ("发送数据 SND_UD", "send data, SND_UD"),
}
_CIS = {
    VARIABLE: ("可变数据结构", "variable structure"),
    FIXED: ("固定数据结构", "fixed structure"),
    APPLICATION_ERROR: ("应用层错误", "application error"),
    SELECT: ("选择从站", "select a meter"),
}
_HEADER = (
    (4, "表号", "number of the meter"),
    (2, "厂商", "manufacturer"),
    (1, "版本", "version"),
    (1, "介质", "medium"),
    (1, "访问序号", "access number"),
    (1, "状态", "status"),
    (2, "签名", "signature"),
)
_KINDS = (
    (0x00, 0x0F, "能量", "energy"),
    (0x10, 0x17, "体积", "volume"),
    (0x18, 0x1F, "质量", "mass"),
    (0x20, 0x23, "通电时间", "on time"),
    (0x24, 0x27, "工作时间", "operating time"),
    (0x28, 0x37, "功率", "power"),
    (0x38, 0x4F, "流量", "flow"),
    (0x50, 0x57, "质量流量", "mass flow"),
    (0x58, 0x5B, "供水温度", "flow temperature"),
    (0x5C, 0x5F, "回水温度", "return temperature"),
    (0x60, 0x63, "温差", "temperature difference"),
    (0x64, 0x67, "外部温度", "external temperature"),
    (0x68, 0x6B, "压力", "pressure"),
    (0x6C, 0x6C, "日期", "date"),
    (0x6D, 0x6D, "日期时间", "date and time"),
    (0x6E, 0x6E, "热分配单位", "units of heat cost"),
    (0x70, 0x73, "平均周期", "averaging time"),
    (0x74, 0x77, "数据时效", "age of the value"),
    (0x78, 0x78, "出厂编号", "fabrication number"),
    (0x79, 0x79, "标识", "identification"),
    (0x7A, 0x7A, "总线地址", "bus address"),
    (0x1FB10, 0x1FB11, "体积", "volume"),
    (0x1FB21, 0x1FB23, "体积", "volume"),
    (0x1FB24, 0x1FB26, "流量", "flow"),
    (0x1FD17, 0x1FD17, "错误标志", "error flags"),
    (0x1FD40, 0x1FD4F, "电压", "voltage"),
    (0x1FD74, 0x1FD77, "电池剩余时间", "battery time left"),
)
_FUNCTIONS = (("", ""), ("最大", "maximum "), ("最小", "minimum "), ("故障期间", "in error "))


def explain(frame: bytes) -> list[ExplainedField]:
    """Every byte of one frame or several, in order; also of torn ones and of such with a wrong checksum. Never raises."""
    return layout(_explained(frame))


def _explained(frame: bytes) -> Iterator[UnplacedField]:
    while frame:
        size = 1 if frame[0] == ACK else size_of(frame[:4]) if frame[0] in (SHORT, LONG) else 0
        if frame[0] == ACK:
            yield frame[:1], "确认", "acknowledgement", "", ""
        elif size and len(frame) >= size:
            yield from _explained_frame(frame[:size])
        else:
            size = next((offset for offset in range(1, len(frame)) if frame[offset] in (ACK, SHORT, LONG)), len(frame))
            yield frame[:size], "不属于报文", "not part of a frame", "", ""
        frame = frame[size:]


def _explained_frame(frame: bytes) -> Iterator[UnplacedField]:
    start = 1 if frame[0] == SHORT else 4
    yield frame[:1], "起始符", "start", "", ""
    yield frame[1 : start - 1], "长度 L", "length L", str(frame[1]), "byte"
    yield frame[start - 1 : start] if start > 1 else b"", "起始符", "start", "", ""
    control = frame[start]
    zh, en = _CONTROLS.get(control & ~FCB, ("主站命令", "command of the master"))
    if not control & FROM_MASTER:
        zh, en = ("应答 RSP_UD", "answer, RSP_UD") if control & FUNCTION == RSP_UD else ("从站", "of a meter")
    yield frame[start : start + 1], "控制 C", "control C", f"{control:02X} {zh} / {en}", ""
    yield frame[start + 1 : start + 2], "地址 A", "address A", str(frame[start + 1]), ""
    if frame[0] == LONG:
        zh, en = _CIS.get(frame[6], ("未知", "unknown"))
        yield frame[6:7], "控制信息 CI", "control information CI", f"{frame[6]:02X} {zh} / {en}", ""
        if frame[6] == VARIABLE and len(frame) >= HEADER + 2:
            yield from _explained_content(frame)
        elif frame[6] == APPLICATION_ERROR and len(frame) == OVERHEAD + 4:
            error = ERRORS[frame[7]] if frame[7] < len(ERRORS) else "unknown error"
            yield frame[7:8], "错误码", "error code", f"{frame[7]:02X} {error}", ""
        else:
            yield frame[7:-2], "数据内容", "data", "", ""
    yield frame[-2:-1], "校验码 CS", "checksum CS", checksum_text(f"{frame[-2]:02X}", f"{checksum_of(frame):02X}"), ""
    yield frame[-1:], "结束符", "end", "" if frame[-1] == END else f"{frame[-1]:02X} 应为 16 / expected 16", ""


def _explained_content(frame: bytes) -> Iterator[UnplacedField]:
    offset = 7
    values = {
        "number of the meter": meter_number(frame),
        "manufacturer": _maker(frame[11:13]),
        "medium": _medium(frame[14]),
        "status": _status(frame[16]),
    }
    for size, zh, en in _HEADER:
        yield frame[offset : offset + size], zh, en, values.get(en, ""), ""
        offset += size
    try:
        for record in iter_records(frame):
            zh, en = _name(record)
            value, unit = read_value(record) if record.vif else Value(None, "")
            text = "" if value is None else f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
            yield frame[offset : record.end], zh, en, text, unit
            offset = record.end
    except TornRecordError as torn:
        yield frame[offset:-2], "残缺", "torn", str(torn), ""


def _name(record: Record) -> tuple[str, str]:
    if not record.vif:
        special = {FILLER: ("填充", "filler"), MAKERS: ("厂商数据", "data of the maker")}
        return special.get(record.dif[0], ("厂商数据，后续有报文", "data of the maker, more frames follow"))
    zh, en = next(((zh, en) for low, high, zh, en in _KINDS if low <= record.kind <= high), ("其他", "other value"))
    directions = {BACKWARD_ONLY: ("反向", "backward "), FORWARD_ONLY: ("正向", "forward ")}
    direction = next((directions[code] for code in record.extensions if code in directions), ("", ""))
    function = _FUNCTIONS[record.dif[0] >> 4 & 3]
    stored = "" if record.is_present or record.dif[0] & 0x30 else " *"
    return function[0] + direction[0] + zh + stored, function[1] + direction[1] + en + stored


def _maker(raw: bytes) -> str:
    word = int.from_bytes(raw, "little")
    return "".join(chr((word >> shift & 0x1F) + 64) for shift in (10, 5, 0))


def _medium(code: int) -> str:
    return f"{code:02X} {WATER.get(code, '其他 / other')}"


def _status(code: int) -> str:
    names = sorted({f"{name} {ALARMS[name].zh} / {ALARMS[name].en}" for bit, name in STATUS_ALARMS if code & 1 << bit})
    return f"{code:02X}: {'; '.join(names) or '—'}"
