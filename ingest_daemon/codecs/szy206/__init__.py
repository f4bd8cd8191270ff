"""The `68 L 68` family: SL/T 427-2021 and SZY 206-2012/-2016 (water-resource telemetry), the centre's and the terminal's side.

A frame (SL/T 427-2021 tables 3 to 10; numbers low byte first, times BCD of Beijing):

    offset  bytes  content
    0       3      68, L (bytes from C to Tp, 1 to 255), 68
    3       1      C: bit 7 up (1) or down (0); bit 6 one of several packets; bits 5-4 FCB, 3 in a new message and one less in
                   every repetition; bits 3-0 type (3 flow and volume, D alarm and state or voltage, F pressure ...)
    4       (1)    only where bit 6 is set: number of the packet, counting down to 1
    4       5      A: region code BCD 3, station 2; or 00 and 8 hex digits of a station code
    9       1      AFN (C0 self-report, 81 alarm, 84 voltage, 02 link test, B0 and B1 answers); FF and one more: the maker's
    10      n      D
    10 + n  (5-7)  Tp: ss mm hh DD, [MM YY], minutes of delay allowed; in a self-report the time of the measurement
    3 + L   1      CRC-8, polynomial E5, from C to Tp
    4 + L   1      16

D of a self-report is values, alarm word (2), state word (2). A station's profile gives its values, the form of Tp and the unit of
flow, which neither the length nor the frame reveals. The field `status` of a reading is the alarm word, and the state word 16
bits higher. Of several meters of a station the first is read: a reading belongs to one meter. A repetition differs in FCB and CRC
only, so it decodes to the same reading. A self-report has no send time, so there are no `clocks`.

A purpose a file: `header` (the bytes around D), `framing` (a stream cut into frames), `profile`, `layout` (the parts of D),
`timestamps`, `decode` (many frames into columns), `alarms` (frames that overtake), `queries` (acknowledgements and requests),
`explain` (for people), `encode` (the terminal's side). Not supported: pictures (83H), whose L counts KiB, and every function that
resets, erases, sets or changes a password.
"""

from ingest_daemon.codec_kit.api import NumberShape
from ingest_daemon.codecs.szy206.alarms import is_alarm
from ingest_daemon.codecs.szy206.decode import decode
from ingest_daemon.codecs.szy206.encode import link_test, reports
from ingest_daemon.codecs.szy206.explain import explain
from ingest_daemon.codecs.szy206.framing import decoder, sniff
from ingest_daemon.codecs.szy206.header import MAX_FRAME, packet, sealed, terminal
from ingest_daemon.codecs.szy206.profile import Station, profile
from ingest_daemon.codecs.szy206.queries import answers, reply, requests

TERMINAL_NUMBER = NumberShape(
    "[0-9A-F]{10}", "10 digits (0-9, A-F), the address A of SZY 206", "SZY 206 地址域 A 的 10 位（0-9、A-F）"
)

__all__ = [
    "MAX_FRAME",
    "TERMINAL_NUMBER",
    "Station",
    "answers",
    "decode",
    "decoder",
    "explain",
    "is_alarm",
    "link_test",
    "packet",
    "profile",
    "reply",
    "reports",
    "requests",
    "sealed",
    "sniff",
    "terminal",
]
