"""Cut a byte stream into frames that declare their length and carry a checksum. Knows no protocol's layout or meaning.

Every place where a frame may begin is a candidate; of all candidates the one that ends first and is good is the frame. So a
start byte inside data does no harm, a damaged length does not swallow the good frame behind it, and the result does not depend
on how the stream is cut.

The cost is bounded for hostile bytes, too: each byte is searched once, a candidate is checked once, where it ends, and where
many candidates arrive together numpy checks all of them at a time.
"""

import re
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest_daemon.codec_kit.api import Frame, Rejected
from ingest_daemon.contract.schema import Reason

Fault = tuple[Reason, str]
Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Mask = NDArray[np.bool_]

PIECES = 16
"""The most rejected pieces between two frames; the last one holds all the rest, or noise would become thousands of records."""

_MANY = 32
"""From so many candidates on numpy is faster than checking them one by one."""


class Bulk(NamedTuple):
    """The frame format once more, for many candidates at a time.

    `marks`: the bytes to count for an upper bound of the candidates. `sizes`: for every place of a block with a whole header
    the size of the frame that begins there, 0 where none does. `good`: which candidates (starts, ends) of a block are good.
    """

    marks: bytes
    sizes: Callable[[Bytes], Offsets]
    good: Callable[[Bytes, Offsets, Offsets], Mask]


class FrameFormat(NamedTuple):
    """The frame format of a protocol.

    `begins`: finds the places where a frame may begin, those with a part of a header at the end of the bytes included; it
    consumes none of the bytes that it looks at. `header`: bytes that determine the size. `shortest`: bytes of the shortest
    frame, at least `header`. `size`: of a frame by its first bytes (at most `header`); 0 where they begin none, None where more
    are needed. `good`: whether the bytes of that size are a good frame; `fault`: what is wrong with bad ones. `expected`: what
    noise should have been. `end`: the last byte of every frame, None where it varies. `single`: a byte that is a frame of its
    own, unless it comes inside another. `lead`: the filling byte before a frame, which belongs to it, at most `most_lead` times.
    """

    begins: re.Pattern[bytes]
    header: int
    shortest: int
    size: Callable[[bytes | bytearray], int | None]
    good: Callable[[bytes | bytearray], bool]
    fault: Callable[[bytes], Fault]
    expected: str
    end: int | None = None
    single: bytes = b""
    lead: bytes = b""
    most_lead: int = 0
    bulk: Bulk | None = None


@cache
def _derived(frame_format: FrameFormat) -> tuple[re.Pattern[bytes], re.Pattern[bytes] | None, str]:
    """What finds anything but noise, what finds runs of singles, and the text for noise."""
    single, lead = re.escape(frame_format.single), re.escape(frame_format.lead)
    anything = b"|".join(filter(None, (frame_format.begins.pattern, single, lead)))
    runs = re.compile(b"(?:" + single + b")+") if single else None
    return re.compile(anything, re.DOTALL), runs, f"not part of a frame, expected {frame_format.expected}"


Candidate = tuple[int, int]
"""The end and the start of what may be a frame; sorted by the end. Offsets count from the beginning of the stream."""


class Framer:
    """The decoder (`api.Decoder`) of such a protocol."""

    def __init__(self, frame_format: FrameFormat) -> None:
        self._format = frame_format
        self._begins_anything, self._single_runs, self._noise_text = _derived(frame_format)
        self._held = bytearray()
        self._base = 0
        """Offset of the first byte held."""
        self._searched = 0
        """Candidates that begin before this offset are open, or decided."""
        self._open = deque[Candidate]()
        """Candidates in the order of their starts; the first has not ended yet."""
        self._starts_due = dict[int, list[int]]()
        """The starts of those that have not ended, by their end."""
        self._decided = 0
        """Candidates that end up to this offset are decided."""

    @property
    def pending(self) -> int:
        """Bytes held back because the frame is not complete yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        """Take bytes as they come, glued or split anywhere; give what is complete."""
        held, open_ = self._held, self._open
        if not held and not self._begins_anything.search(data):
            self._base = self._searched = self._decided = self._base + len(data)
            return [Rejected(data, Reason.NOISE, self._noise_text)] if data else []
        held += data
        until = self._base + len(held)
        search_at = self._searched + self._format.shortest
        if open_ and until < search_at and until < open_[0][0] and len(data) == 1 and until not in self._starts_due:
            return []  # byte by byte: nothing ends here, and what begins here cannot end yet
        out, done, is_header_taken = list[Frame | Rejected](), self._base, False
        good = self._ended(until) if self._starts_due else []
        if good or not self._starts_due or until >= search_at:
            done = self._take_good(until, good, out)
            is_header_taken = self._searched < done  # an incomplete header ended the search, but it was inside a frame
            if done > self._base:
                self._drop_overlapping(done, until)
        while open_ and open_[0][0] <= until:
            open_.popleft()
        keep = self._led(done, open_[0][1] if open_ else self._searched)
        if done < keep:
            self._refuse(done, keep, until, out)
        if keep > self._base:
            del held[: keep - self._base]
            self._base = keep
        return out + self.feed(b"") if is_header_taken else out

    def _take_good(self, until: int, good: list[Candidate], out: list[Frame | Rejected]) -> int:
        """Search for new candidates and give the good frames; the offset up to which all is given."""
        done, searched_from, single = self._base, self._searched, self._format.single
        has_singles = bool(single) and self._held.find(single, searched_from - done) >= 0
        earlier = list(self._open) if has_singles else []
        new = self._search(until, good)
        good.sort()
        if has_singles:
            done = self._take_singles(searched_from, earlier + new, good, out)
        for candidate in good:
            done = self._take(candidate, done, out)
        return done

    def _ended(self, until: int) -> list[Candidate]:
        """The good ones of the open candidates that have ended by now."""
        due, good = self._starts_due, list[Candidate]()
        steps = range(self._decided + 1, until + 1)
        self._decided = until
        for end in steps if len(steps) < len(due) else [end for end in due if end <= until]:
            for start in due.pop(end, ()):
                if self._is_good(start, end):
                    good.append((end, start))
        return good

    def _search(self, until: int, good: list[Candidate]) -> list[Candidate]:
        """Find new candidates, add the good ones that have ended to `good`; all new ones, in the order of their starts."""
        held, base, bulk, header = self._held, self._base, self._format.bulk, self._format.header
        new = list[Candidate]()
        if bulk and until - self._searched > _MANY:
            block = bytes(held[self._searched - base :])
            if sum(map(block.count, bulk.marks)) > _MANY:
                new = self._search_block(bulk, block, good)
        size_of = self._format.size
        for match in self._format.begins.finditer(held, self._searched - base):
            start = match.start()
            size = size_of(held[start : start + header])
            if size is None:
                self._searched = base + start
                return new
            if size:
                candidate = end, start = base + start + size, base + start
                new.append(candidate)
                if end > until:
                    self._open.append(candidate)
                    self._starts_due.setdefault(end, []).append(start)
                elif self._is_good(start, end):
                    good.append(candidate)
        self._searched = until
        return new

    def _search_block(self, bulk: Bulk, raw: bytes, good: list[Candidate]) -> list[Candidate]:
        """The same for many candidates: those of `raw`, the bytes not searched yet, whose whole header is there."""
        block, first, due = np.frombuffer(raw, np.uint8), self._searched, self._starts_due
        sizes = bulk.sizes(block)
        self._searched = first + len(sizes)
        starts = np.flatnonzero(sizes)
        ends = starts + sizes[starts]
        is_open = ends > len(raw)
        candidates = list(zip((ends[is_open] + first).tolist(), (starts[is_open] + first).tolist(), strict=True))
        self._open += candidates
        for end, start in candidates:
            due.setdefault(end, []).append(start)
        is_good = np.flatnonzero(~is_open)
        if self._format.end is not None:
            is_good = is_good[block[ends[is_good] - 1] == self._format.end]
        if len(is_good):
            is_good = is_good[bulk.good(block, starts[is_good], ends[is_good])]
            good += zip((ends[is_good] + first).tolist(), (starts[is_good] + first).tolist(), strict=True)
        if self._single_runs and self._format.single in raw:
            return list(zip((ends + first).tolist(), (starts + first).tolist(), strict=True))
        return []

    def _is_good(self, start: int, end: int) -> bool:
        """Whether a candidate that has ended is a good frame."""
        last = end - self._base - 1
        if self._format.end is not None and self._held[last] != self._format.end:
            return False
        return self._format.good(self._held[start - self._base : last + 1])

    def _drop_overlapping(self, done: int, until: int) -> None:
        """Forget the candidates that begin before a frame's end."""
        while self._open and self._open[0][1] < done:
            self._open.popleft()
        self._starts_due.clear()
        for end, start in self._open:
            if end > until:
                self._starts_due.setdefault(end, []).append(start)
        self._searched = max(self._searched, done)

    def _take(self, candidate: Candidate, done: int, out: list[Frame | Rejected]) -> int:
        """Give a good frame, unless it overlaps the one before, which ended first; the offset up to which all is given."""
        end, start = candidate
        if start < done:
            return done
        begin = self._led(done, start)
        if done < begin:
            self._refuse(done, begin, begin, out)
        out.append(Frame(bytes(self._held[begin - self._base : end - self._base])))
        return end

    def _take_singles(
        self, searched_from: int, candidates: list[Candidate], good: list[Candidate], out: list[Frame | Rejected]
    ) -> int:
        """Give the singles that came inside no candidate, and the good frames before them, which leave `good`."""
        held, base, done, reach, header = self._held, self._base, self._base, 0, self._format.header
        starting = iter(candidates)
        candidate = next(starting, None)
        taken = 0
        assert self._single_runs
        for run in self._single_runs.finditer(held, searched_from - base, self._searched - base):
            place, run_end = run.start() + base, run.end() + base
            while taken < len(good) and good[taken][0] <= place:
                if (taken_end := self._take(good[taken], done, out)) > done:
                    done, reach = taken_end, 0
                taken += 1
            while candidate and candidate[1] < place:
                if candidate[1] >= done:
                    reach = max(reach, candidate[0])
                candidate = next(starting, None)
            while place < run_end:
                if reach > place + 1:  # a frame that has begun covers it
                    place = reach - 1
                elif self._format.begins.search(held, max(done, place + 2 - header) - base, place + 1 - base):
                    place += 1  # it may belong to a header
                else:
                    if done < place:
                        self._refuse(done, place, place, out)
                    out += [Frame(self._format.single)] * (run_end - place)
                    done = place = run_end
        del good[:taken]
        return done

    def _led(self, done: int, start: int) -> int:
        """`start`, or where the filling before it begins."""
        if not self._format.lead:
            return start
        before = self._held[max(done, start - self._format.most_lead) - self._base : start - self._base]
        return start - len(before) + len(before.rstrip(self._format.lead))

    def _refuse(self, done: int, upto: int, known: int, out: list[Frame | Rejected]) -> None:
        """Give the bytes from `done` to `upto` as rejected: what began like a frame with its fault, the rest as noise.

        What is left of a frame's beginning is noise where it is shorter than a header.
        `known`: where what may belong to these pieces ends: before a good frame, or all that came.
        """
        if upto - done < self._format.header:
            self._refuse_noise(done, upto, out)
            return
        held, base, header, place, pieces = self._held, self._base, self._format.header, done, 0
        while upto - place >= header and (match := self._format.begins.search(held, place - base, known - base)):
            start = match.start() + base
            if upto - start < header:
                break
            size = self._format.size(held[start - base : start + header - base])
            if not size:
                place = start + 1
                continue
            begin = self._led(done, start)
            self._refuse_noise(done, begin, out)
            if start + size > known:
                reason, detail = Reason.BAD_LENGTH, f"declares {size} bytes, but another whole frame begins before they end"
            else:
                reason, detail = self._format.fault(bytes(held[start - base : start + size - base]))
            place, pieces = min(start + size, upto), pieces + 1
            if pieces == PIECES and place < upto:
                detail, place = f"{detail}; the {upto - place} bytes behind these are no frame, either", upto
            out.append(Rejected(bytes(held[begin - base : place - base]), reason, detail))
            done = place
        self._refuse_noise(done, upto, out)

    def _refuse_noise(self, done: int, upto: int, out: list[Frame | Rejected]) -> None:
        if done < upto:
            out.append(Rejected(bytes(self._held[done - self._base : upto - self._base]), Reason.NOISE, self._noise_text))
