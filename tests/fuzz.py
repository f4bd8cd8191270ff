"""Bytes that nobody meant to send, through every function of a codec that a stranger's bytes reach.

    python -m tests.fuzz --protocol NAME|all --bytes 1e8 --seed 1
    python -m tests.fuzz --protocol NAME|all --bytes 1e8 --seed 1 --time

The frames of the vectors (`tests/codecs/*.yaml`) are mutated, many of them with their checksum put right again so that what
lies behind it is reached, and mixed with noise. Nothing may raise, no decoder may hold more than `MAX_FRAME`, every byte fed must
come out once, and the memory must not grow.

With `--time` the bytes are those that make a decoder work: floods of start bytes and of headers, frames with a wrong checksum.
64 KB of any of them must cost little CPU time, in one piece, in pieces and byte by byte.
"""

import argparse
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Arrival, Frame, Rejected
from ingest_daemon.codec_kit.checksums import crc16_high_first

VECTORS = Path(__file__).parent / "codecs"
NOW = datetime(2026, 7, 1, tzinfo=UTC)
NOW_US = round(NOW.timestamp() * 1e6)
BATCH = 200
"""Frames that are decoded together."""
GROWTH_MB = 64
WARM = 1_000_000
"""After so many bytes all caches are as large as they get: from there on the memory is watched."""
STEP = 10_000_000
"""So many bytes lie between two lines of figures."""
FAILURES = 5
"""So many failures of a protocol are told; then it is given up."""


class Vectors(NamedTuple):
    """What the vectors of a protocol give: good frames, what was asked, and profiles of stations."""

    frames: list[bytes]
    requests: list[bytes]
    profiles: dict[str, Any]


class Figures(NamedTuple):
    """What a run of one protocol saw."""

    protocol: str
    fed: int
    frames: int
    rejected: int
    readings: int
    pending: int
    growth_mb: float
    seconds: float
    failures: list[str]

    def line(self) -> str:
        """The figures for a report."""
        return (
            f"{self.protocol:<11} {self.fed:>13,} bytes  {self.frames:>9,} frames  {self.rejected:>9,} rejected  "
            f"{self.readings:>9,} readings  pending ≤ {self.pending:,}  memory +{self.growth_mb:.0f} MB  "
            f"{self.seconds:,.0f} s  {len(self.failures)} failures"
        )


def vectors(protocol: str) -> Vectors:
    """The vectors of a protocol."""
    codec = codecs.load(protocol)
    found = Vectors([], [], {})
    for said in yaml.safe_load((VECTORS / f"{protocol}.yaml").read_text(encoding="utf-8")):
        found.requests.extend(_unhex(request) for request in said.get("asked", []))
        if "profile" in said:
            found.profiles[str(said["terminal"])] = codec.profile(said["profile"])
        raw = _unhex(said["hex"])
        found.frames.extend(piece.raw for piece in codec.decoder().feed(raw) if isinstance(piece, Frame))
    return found


def _unhex(text: str) -> bytes:
    return bytes.fromhex(" ".join(line.split("#")[0] for line in text.splitlines()))


Repair = Callable[[bytes], bytes]


def _crc_high(frame: bytes) -> bytes:
    return frame[:-2] + crc16_high_first(frame[:-2])


def _crc_low(frame: bytes) -> bytes:
    return frame[:-2] + crc16_high_first(frame[:-2])[::-1]


def _sum_from(skip: int) -> Repair:
    return lambda frame: frame[:-2] + bytes([sum(frame[skip:-2]) & 0xFF]) + frame[-1:]


def _crc8_from(skip: int, polynomial: int) -> Repair:
    def repair(frame: bytes) -> bytes:
        value = 0
        for byte in frame[skip:-2]:
            value ^= byte
            for _ in range(8):
                value = (value << 1 ^ polynomial) & 0xFF if value & 0x80 else value << 1
        return frame[:-2] + bytes([value]) + frame[-1:]

    return repair


REPAIRS: tuple[Repair, ...] = (
    _crc_high,
    _crc_low,
    *(_sum_from(skip) for skip in range(8)),
    *(_crc8_from(skip, polynomial) for skip in (3, 4) for polynomial in (0xE5, 0x07, 0x31)),
)
"""Ways in which protocols check their frames; which one a protocol uses is found by trying them on its good frames."""


def repairs_of(frames: Sequence[bytes]) -> list[Repair]:
    """Those ways that leave at least half of the good frames as they are."""
    return [repair for repair in REPAIRS if 2 * sum(repair(frame) == frame for frame in frames) >= len(frames) > 0]


def mutated(frame: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """The frame with one to four things wrong with it."""
    raw = bytearray(frame)
    for _ in range(chance.choice((1, 1, 2, 4))):
        if not raw:
            break
        at = chance.randrange(len(raw))
        size = chance.choice((1, 1, 2, 5, chance.randrange(1, 65)))
        match chance.randrange(9):
            case 0:
                raw[at] ^= 1 << chance.randrange(8)
            case 1:
                raw[at] = chance.choice((0x00, 0xFF, 0x7F, 0x80, 0x99, 0xAA, 0x16, 0x68, 0x7E))
            case 2:
                raw[at : at + size] = chance.randbytes(len(raw[at : at + size]))
            case 3:
                del raw[at : at + size]
            case 4:
                raw[at:at] = chance.randbytes(size)
            case 5:
                raw[at:at] = raw[at : at + size] * chance.choice((1, 2, 20))
            case 6:
                other = chance.choice(others)
                begin = chance.randrange(len(other))
                raw[at : at + size] = other[begin : begin + size]
            case 7:
                del raw[at:]
            case 8:
                raw[at : at + size] = bytes([chance.choice((0x00, 0xFF, 0x99))]) * len(raw[at : at + size])
    return bytes(raw)


READ = 1 << 16
"""Bytes that a connection reads at most at once."""
BOUNDS_MS = {"whole": 20.0, "pieces": 60.0, "bytes": 250.0}
"""CPU time for 64 KB in one piece, in pieces of 1 to 512 bytes, and byte by byte, on a quiet machine.

Byte by byte 65,536 calls that do nothing cost 15 ms.
"""
MARKS = b"\x01\x02\x03\x04\x10\x16\x68\x7e\x80\x83\xe5\xfe\xff\x00"


def floods(protocol: str, chance: random.Random) -> Iterator[bytes]:
    """Streams of `READ` bytes without end, that make a decoder of the protocol work."""
    frames = [frame for frame in vectors(protocol).frames if len(frame) > 4]
    while True:
        frame = chance.choice(frames)
        match chance.randrange(6):
            case 0:  # starts
                unit = chance.choice((frame[:1], bytes((chance.choice(MARKS),))))
            case 1:  # starts and one more
                unit = chance.choice((frame[:1], bytes((chance.choice(MARKS),)))) + chance.randbytes(1)
            case 2:  # headers
                unit = frame[: chance.randrange(2, min(25, len(frame)))]
            case 3:  # headers that declare another length
                head = bytearray(frame[: chance.randrange(2, min(25, len(frame)))])
                head[chance.randrange(len(head))] = chance.randrange(256)
                unit = bytes(head)
            case 4:  # a checksum that is wrong
                unit = frame[:-3] + bytes((frame[-3] ^ 1,)) + frame[-2:]
            case _:  # few values in any order
                values = chance.choice((MARKS, frame[:3] + frame[-1:], frame[:14]))
                unit = bytes(chance.choices(values, k=chance.choice((7, 61, READ))))
        yield (unit * (READ // len(unit) + 1))[:READ]


def cpu_ms(protocol: str, stream: bytes, cuts: str, chance: random.Random) -> float:
    """CPU time that a new decoder takes for 64 KB of such a stream, cut so; the less of two trials."""
    steps = {"whole": lambda: len(stream), "pieces": lambda: chance.randrange(1, 512), "bytes": lambda: 1}
    pieces, place = list[bytes](), 0
    while place < len(stream):
        pieces.append(stream[place : (place := place + steps[cuts]())])
    trials = []
    for _ in range(2):
        feed = codecs.load(protocol).decoder().feed
        began = time.process_time()
        for piece in pieces:
            feed(piece)
        trials.append(time.process_time() - began)
    return min(trials) * 1e3 * READ / len(stream)


def slowest(protocol: str, seed: int, streams: int, byte_by_byte: int = READ) -> dict[str, tuple[float, bytes]]:
    """The most CPU time of so many streams, by the way in which they are cut, and how that stream begins."""
    chance, most = random.Random(f"{protocol}/{seed}"), dict.fromkeys(BOUNDS_MS, (0.0, b""))
    for stream in islice(floods(protocol, chance), streams):
        for cuts in BOUNDS_MS:
            part = stream[:byte_by_byte] if cuts == "bytes" else stream
            most[cuts] = max(most[cuts], (cpu_ms(protocol, part, cuts, chance), stream[:32]))
    return most


class Fuzz:
    """One protocol under fire."""

    def __init__(self, protocol: str, seed: int) -> None:
        self.protocol, self.codec = protocol, codecs.load(protocol)
        self.vectors = vectors(protocol)
        self.repairs = repairs_of(self.vectors.frames)
        self.chance = random.Random(f"{protocol}/{seed}")
        self.failures: list[str] = []
        self.fed = self.frames = self.rejected = self.readings = self.pending = 0
        self._batch: list[Arrival] = []
        self._known: set[str] = set()
        self._before_mb = self._seconds = 0.0

    def run(self, size: int) -> Figures:
        """Feed until so many bytes were fed; may be called again with more."""
        began = time.monotonic()
        while self.fed < size and len(self.failures) < FAILURES:
            self._connection(min(1 << 16, size - self.fed))
            if not self._before_mb and self.fed > WARM:
                self._before_mb = _resident_mb()
        self._decode()
        growth_mb = max(0.0, _resident_mb() - self._before_mb) if self._before_mb else 0.0
        if growth_mb > GROWTH_MB:
            self.failures.append(f"the memory grew by {growth_mb:.0f} MB")
        self._seconds += time.monotonic() - began
        return Figures(
            self.protocol,
            self.fed,
            self.frames,
            self.rejected,
            self.readings,
            self.pending,
            growth_mb,
            self._seconds,
            self.failures,
        )

    def _connection(self, size: int) -> None:
        """Bytes of one connection, cut anywhere."""
        decoder, came, given = self.codec.decoder(), 0, 0
        out = b""
        kept = bytearray()
        while came < size:
            piece = self._piece()
            self._try("sniff", self.codec.sniff, piece[: self.chance.randrange(64)])
            at = 0
            while at < len(piece):
                step = self.chance.choice((1, 7, 64, len(piece)))
                found = self._try("feed", decoder.feed, piece[at : at + step])
                if found is None:
                    return
                kept += piece[at : at + step]
                at += step
                self.pending = max(self.pending, decoder.pending)
                if decoder.pending > self.codec.MAX_FRAME:
                    self._fail(f"{decoder.pending} bytes pending, MAX_FRAME is {self.codec.MAX_FRAME}", bytes(kept))
                    return
                for item in found:
                    given += len(item.raw)
                    out += item.raw
                    self._item(item)
                if len(out) > 1 << 12:
                    if not kept.startswith(out):
                        self._fail("the bytes that came out are not those that went in", bytes(kept))
                        return
                    del kept[: len(out)]
                    out = b""
            came += len(piece)
        self.fed += came
        if given + decoder.pending != came:
            self._fail(f"{came} bytes went in, {given} came out and {decoder.pending} are pending", b"")

    def _piece(self) -> bytes:
        chance, frames = self.chance, self.vectors.frames
        if not frames or chance.random() < 0.1:
            return chance.randbytes(chance.choice((1, 10, 100, 2000)))
        raw = chance.choice(frames)
        if chance.random() < 0.05:
            return raw
        raw = mutated(raw, frames, chance)
        if self.repairs and len(raw) > 2 and chance.random() < 0.7:
            raw = chance.choice(self.repairs)(raw)
        return raw

    def _item(self, item: Frame | Rejected) -> None:
        codec, raw = self.codec, item.raw
        parts = self._try("explain", codec.explain, raw)
        if parts is not None and b"".join(part.raw for part in parts) != raw:
            self._fail("explain does not give every byte once", raw)
        if isinstance(item, Rejected):
            self.rejected += 1
            return
        self.frames += 1
        number = self._try("terminal", codec.terminal, raw)
        self._try("password", codec.password, raw)
        self._try("packet", codec.packet, raw)
        self._try("reply", codec.reply, raw, NOW, self.vectors.profiles.get(number or ""))
        self._try("ask_again", codec.ask_again, raw, self.chance.randrange(1, 4096), NOW)
        asked: list[bytes] = []
        if self.vectors.requests and self.chance.random() < 0.9:
            fitting = [request for request in self.vectors.requests if self._try("answers", codec.answers, request, raw)]
            choice = fitting if fitting and self.chance.random() < 0.8 else self.vectors.requests
            asked = self.chance.choices(choice, k=self.chance.choice((1, 1, 2, 3)))
            for request in fitting[:2]:
                self._try("follow_up", codec.follow_up, request, raw)
        terminals = [number or "", *self.vectors.profiles]
        others = [before.raw for before in self._batch[-2:]] if self.chance.random() < 0.2 else []
        whole = b"".join([*others, raw])  # as a message in packets, or a round of polling
        arrival = Arrival(whole, NOW_US, self.chance.choice(terminals) if asked else "", tuple(asked))
        self._try("is_alarm", codec.is_alarm, arrival, self.vectors.profiles.get(arrival.terminal or number or ""))
        self._batch.append(arrival)
        if len(whole) > 1 << 16 or len(self._batch) >= BATCH:
            self._decode()

    def _decode(self) -> None:
        batch, self._batch = self._batch, []
        decoded = self._try("decode", self.codec.decode, batch, self.vectors.profiles)
        if decoded is not None:
            self.readings += len(decoded.readings)

    def _try(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} in {place.name}, line {place.lineno} of {Path(place.filename).name}"
            if key not in self._known:  # the same fault once
                told = [argument.hex() if isinstance(argument, bytes) else repr(argument)[:2000] for argument in arguments]
                self._known.add(key)
                self.failures.append(f"{key}: {name}({', '.join(told)})\n{traceback.format_exc()}")
            return None

    def _fail(self, what: str, raw: bytes) -> None:
        self.failures.append(f"{what}: {raw.hex()}")


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> int:
    """Fuzz and print the figures; exit code 1 where something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="bytes nobody meant to send; nothing may raise")
    parser.add_argument("--protocol", default="all", choices=["all", *codecs.names()])
    parser.add_argument("--bytes", type=float, default=1e7, help="how many bytes a protocol, e.g. 1e8")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--time", action="store_true", help="measure CPU time for 64 KB instead")
    options = parser.parse_args()
    failed = False
    for protocol in codecs.names() if options.protocol == "all" else [options.protocol]:
        if options.time:
            most = slowest(protocol, options.seed, max(1, int(options.bytes) // READ))
            for cuts, (milliseconds, begin) in most.items():
                print(f"{protocol:<11} {cuts:<7} {milliseconds:8.1f} ms, most with {begin.hex()}…", flush=True)
                failed |= milliseconds > BOUNDS_MS[cuts]
            continue
        fuzz, size = Fuzz(protocol, options.seed), int(options.bytes)
        for part in (*range(STEP, size, STEP), size):
            figures = fuzz.run(part)
            print(figures.line(), flush=True, end="\n" if part == size else "  (so far)\n")
        for failure in figures.failures:
            failed = True
            print(failure, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
