"""M-Bus (EN 13757-2 and -3) behind a gateway or a DTU that passes its bytes on: the master's side, wired telegrams.

    E5                                          acknowledgement
    10 C A CS 16                                short: SND_NKE (C 40), REQ_UD2 (C 5B, 7B: the bit FCB toggles)
    68 L L 68 C A CI data CS 16                 long: L bytes from C on; CS is their sum; RSP_UD has C 08, 18, 28 or 38
    CI 72: id 4 (BCD), manufacturer 2, version 1, medium 1, access number 1, status 1, signature 2, then records (low byte first)
    record: DIF [DIFE ...] VIF [VIFE ...] [length] value; DIF 2F fills, 0F: the rest is the maker's, 1F: also, more frames follow

A reading takes present values of no tariff and no subunit (storage number 0): volume (with VIFE 3B: forward only), with VIFE 3C
the backward volume, flow, pressure, voltage. A round of polling is one reading, at its time of receipt.

One purpose a file: `framing` (the frame), `queries` (requests and their answers), `records` (a frame taken apart), `values` (what
a record measures), `decode` (rounds of answers to columns), `explain` (for people).

Not here: other media than water, the fixed structure (CI 73), encryption, wireless telegrams, writing to a meter.
"""

from ingest_daemon.codec_kit.api import NumberShape
from ingest_daemon.codecs.mbus.decode import decode, is_alarm, unused
from ingest_daemon.codecs.mbus.explain import explain
from ingest_daemon.codecs.mbus.framing import MAX_FRAME, decoder, terminal
from ingest_daemon.codecs.mbus.queries import answers, follow_up, identity, requests, rounds

POLLED = True

LINK_ADDRESS = NumberShape(
    r"\d{8}|0*([1-9]\d?|1\d\d|2[0-4]\d|250)",
    "a primary address from 1 to 250, or the 8 digits of the meter's number",
    "一次地址 1 至 250，或表号的 8 位数字",
)

__all__ = [
    "LINK_ADDRESS",
    "MAX_FRAME",
    "POLLED",
    "answers",
    "decode",
    "decoder",
    "explain",
    "follow_up",
    "identity",
    "is_alarm",
    "requests",
    "rounds",
    "terminal",
    "unused",
]
