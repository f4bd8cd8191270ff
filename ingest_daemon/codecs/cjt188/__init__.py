"""CJ/T 188-2004 and -2018, the municipal meter link: the master asks, the meter answers; here the master's side.

A frame (BCD and two-byte values low byte first; FE before it wakes the line):

    offset  bytes  content
    0       1      start 68
    1       1      T, meter: 10-19 water, 20-29 heat, 30-39 gas, 40-49 other, AA any
    2       7      A, address, BCD; often with the maker's code in the last two; seven AA: the only meter on the line
    9       1      C, control: bit 7 answer, bit 6 error, bit 5 more follows, bits 4-0 function (01 read, 03 address, 04 write)
    10      1      L, bytes of data
    11      2      DI, data identifier, in the wild in either order: 90 1F or 1F 90
    13      1      SER, request number, echoed
    14      L-3    data
    11 + L  1      CS, sum of all bytes before it
    12 + L  1      end 16

Data of a present reading (901F, 19 bytes): volume 4 with 2 decimals, unit 1, the same of the settlement day (not used here),
clock ss mm hh DD MM YYYY 7, status 2. Of a timed or instant freeze (2018: D3nn, D4nn, the n+1-th last one, 23 bytes): clock 7,
volume 4 and unit 1, flow 4 with 4 decimals and unit 1, temperature 3, pressure 3. Of a clock (907F): clock 7.

A meter's profile gives its peculiarities (`profile`). A present reading takes its time of receipt, as the meters' clocks are
often not set; a freeze has its own time. Sources: the standard as shiyuecamus/ng-gateway (Apache-2.0) has it, and real frames
(`tests/codecs/cjt188.yaml`). Not here: valves, prices, purchases, keys and addresses, which are never written, nor the clock;
heat and gas meters; registers of past months (D12n, D2nn), which come without a time.

A purpose a file: `framing` (the frame), `profile` (settings of a meter), `queries`, `decode` (answers to columns) and `explain`
(for people). Other rooms use only the names below.
"""

from ingest_daemon.codec_kit.api import NumberShape
from ingest_daemon.codecs.cjt188.decode import decode, is_alarm
from ingest_daemon.codecs.cjt188.explain import explain
from ingest_daemon.codecs.cjt188.framing import MAX_FRAME, decoder, terminal
from ingest_daemon.codecs.cjt188.profile import Profile, profile
from ingest_daemon.codecs.cjt188.queries import answers, requests

POLLED = True

LINK_ADDRESS = NumberShape(
    "([0-9A-Fa-f]{14})?", "14 digits, or none where the meter is the only one on its line", "14 位；线上只有一块表时可空"
)

__all__ = [
    "LINK_ADDRESS",
    "MAX_FRAME",
    "POLLED",
    "Profile",
    "answers",
    "decode",
    "decoder",
    "explain",
    "is_alarm",
    "profile",
    "requests",
    "terminal",
]
