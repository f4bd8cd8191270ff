"""SL 651-2014 (hydrological telemetry), HEX/BCD form: the default protocol, both the centre's side and the terminal's.

A frame (the standard's tables 15-40 and annex C; numbers high byte first, times BCD of Beijing):

    offset  bytes  content
    0       2      start symbol 7E7E
    2       6      up: centre 1, station 5; down: station 5, centre 1
    8       2      password
    10      1      function (2F keep-alive, 30 test, 31 uniform series, 32 timed, 33 event ...)
    11      2      direction (high nibble: 0 up, 8 down) and length (12 bits: bytes from 14 to before the end symbol)
    13      1      second start symbol: 02 (STX), or 16 (SYN) for a packet of several (M3)
    14      (3)    after SYN only: packets in all (12 bits) and number of this one (12 bits)
    14      n      body: sequence number 2, send time YYMMDDhhmmss 6, then for 30-3A elements
    14 + n  1      end symbol: 03 (ETX), 17 (ETB); of an answer 06 (ACK), 15 (NAK), 04 (EOT), 1B (ESC); of a query 05 (ENQ)
    15 + n  2      CRC-16 of all bytes before it

The elements are F1F1 with station 5 and type 1, then groups: F0F0 with the observation time YYMMDDhhmm, then elements of an
id (one byte, or FF and one more), a definition byte (bytes of the value x 8 + decimals) and a value (BCD, FF before negative
ones, all FF for none). Elements `FF A1`-`FF A7` are our own, in the range that the standard leaves to extensions (6.6.3.2):
forward, reverse and net total, alarm word, flow in m³/h, seconds of the observation, signal.

The ASCII form begins with 01 (SOH), has the header in hex digits and a body of words (see `ascii_form`). A packet of several has
a length of 16 bits; only the first has sequence and time; the bodies in order are the body of the message.

A purpose a file: `header` (the bytes around the body), `framing` (a stream cut into frames), `packets` (M3), `ascii_form`,
`timestamps`, `elements` (ids, names, units), `profile` (settings of a station), `iter_elements` (a body element by element),
`batcher` and `decode` (many frames into columns), `alarms` (frames that overtake), `stations` (stations named in a body), `acks`
and `queries` (the centre's side), `explain` (for people), `encode` (the terminal's side). Other rooms use only the names below.

Kept aside: test reports, manual texts and pictures are acknowledged and kept as received. The counters of 50H are no alarms (they
come without times) and are explained only, as are 45H, 46H and the parameters of 41H and 43H. Nothing writes parameters, erases,
resets or changes a password.
"""

from ingest_daemon.codec_kit.api import NumberShape
from ingest_daemon.codecs.sl651.acks import acknowledged_sequence, ask_again, reply
from ingest_daemon.codecs.sl651.alarms import is_alarm

# Tests compare its two ways of reading a body.
from ingest_daemon.codecs.sl651.decode import _decode as _decode
from ingest_daemon.codecs.sl651.decode import decode
from ingest_daemon.codecs.sl651.elements import (
    ALARM,
    ALARM_BITS,
    FLOW,
    FLOW_M3S,
    FORWARD,
    NET,
    PICTURE,
    PRESSURE,
    REVERSE,
    SECONDS,
    SIGNAL,
    STATION,
    STATUS,
    STEP,
    TEXT,
    TIME,
    VOLTAGE,
)
from ingest_daemon.codecs.sl651.encode import answer, in_packets, keep_alive, reports
from ingest_daemon.codecs.sl651.explain import explain
from ingest_daemon.codecs.sl651.framing import decoder, sniff
from ingest_daemon.codecs.sl651.header import (
    ACK,
    ENDS,
    ENQ,
    EOT,
    ESC,
    ETB,
    ETX,
    EVENT,
    HEADER,
    KEEP_ALIVE,
    LONGEST,
    MAX_FRAME,
    NAK,
    OVERHEAD,
    SERIES,
    START,
    STX,
    SYN,
    TEST,
    TIMED,
    is_reply,
    password,
    sequence_of,
    terminal,
)
from ingest_daemon.codecs.sl651.packets import packet
from ingest_daemon.codecs.sl651.profile import Settings, profile
from ingest_daemon.codecs.sl651.queries import answers, follow_up, requests
from ingest_daemon.codecs.sl651.stations import other_stations

TERMINAL_NUMBER = NumberShape(
    "[0-9A-F]{10}", "10 digits (0-9, A-F), the station address of SL 651", "SL 651 站地址的 10 位（0-9、A-F）"
)

__all__ = [
    "ACK",
    "ALARM",
    "ALARM_BITS",
    "ENDS",
    "ENQ",
    "EOT",
    "ESC",
    "ETB",
    "ETX",
    "EVENT",
    "FLOW",
    "FLOW_M3S",
    "FORWARD",
    "HEADER",
    "KEEP_ALIVE",
    "LONGEST",
    "MAX_FRAME",
    "NAK",
    "NET",
    "OVERHEAD",
    "PICTURE",
    "PRESSURE",
    "REVERSE",
    "SECONDS",
    "SERIES",
    "SIGNAL",
    "START",
    "STATION",
    "STATUS",
    "STEP",
    "STX",
    "SYN",
    "TERMINAL_NUMBER",
    "TEST",
    "TEXT",
    "TIME",
    "TIMED",
    "VOLTAGE",
    "Settings",
    "acknowledged_sequence",
    "answer",
    "answers",
    "ask_again",
    "decode",
    "decoder",
    "explain",
    "follow_up",
    "in_packets",
    "is_alarm",
    "is_reply",
    "keep_alive",
    "other_stations",
    "packet",
    "password",
    "profile",
    "reply",
    "reports",
    "requests",
    "sequence_of",
    "sniff",
    "terminal",
]
