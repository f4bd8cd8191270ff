"""`mainflow journal` as an operator uses it: beside a running daemon, after it, and on a damaged disk."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest_daemon.contract.site import Site
from ingest_daemon.journal import reader
from ingest_daemon.journal.reader import segments, stream_end, walk
from ingest_daemon.journal.records import ALARM, BAD, DATA, EVENT, PART, STRANGER, pack
from ingest_daemon.journal.writer import Journal
from pipelines.cli.main import main
from tests.chain import mainflow
from tests.daemon_helpers import TERMINALS, Client, delivered, eventually, frame, make_site, minutes_ago, running

METER = TERMINALS[0]
START_US = 1_780_000_000_000_000
STREAMS = (DATA, ALARM, BAD, PART, EVENT, STRANGER)


def said(*arguments: object, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["journal", *map(str, arguments)])
    assert result.exit_code == code, f"{result.output}\n{result.exception}"
    return result.output


def fill(folder: Path, count: int, segment_bytes: int = 1 << 20) -> None:
    """`count` records, each of a group of its own and a second after the one before."""
    opened = Journal(folder, segment_bytes)
    for number in range(count):
        opened.append(f"record {number}".encode(), START_US + number * 1_000_000)
        opened.commit()
    opened.close()


def content(site: Site) -> dict[str, bytes]:
    """Every file of the site."""
    return {str(path): path.read_bytes() for path in sorted(site.root.rglob("*")) if path.is_file()}


def test_a_journal_is_listed_shown_and_verified_while_the_daemon_runs_and_after_it(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    good = [frame(METER, minutes_ago(9 - number), number, sequence=number + 1) for number in range(3)]
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(b"".join(good) + b"rubbish")
        client.acknowledged(3)
        eventually(lambda: stream_end(site.journal / BAD), "the rubbish is journaled")
        delivered(site)
        beside = [said(command, "--site", site.root) for command in ("ls", "show", "verify")]
    after = [said(command, "--site", site.root) for command in ("ls", "show", "verify")]
    assert beside == after
    end = stream_end(site.journal / DATA)
    assert f"cursor data: {end} of {end}, 待处理 / left 0 B" in after[0]
    assert "cursor alarm-events: 0 of 0" in after[0]
    assert [line.split()[-1] for line in after[1].splitlines()] == [raw.hex().upper() for raw in good]
    assert "data: 3 " in after[2]
    assert "bad: 1 " in after[2]
    assert b"rubbish".hex().upper() in said("show", "--site", site.root, "--stream", "bad")


def test_one_record_is_found_by_the_position_that_a_reading_carries_and_explained(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(b"".join(frame(METER, minutes_ago(9 - number), number, sequence=number + 1) for number in range(3)))
        client.acknowledged(3)
        second = delivered(site).row(1, named=True)
    text = said("show", "--site", site.root, "--from", second["frame"], "--limit", 1, "--explain")
    assert text.startswith(f"{second['frame']}  ")
    assert METER in text
    assert "CRC" in text
    assert len(re.findall(r"^\d+  2", text, re.MULTILINE)) == 1


def test_show_begins_at_the_next_record_when_the_position_lies_inside_one(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill(site.journal / DATA, 3)
    text = said("show", "--site", site.root, "--from", 5)
    assert "bytes hold no valid record" in text
    assert [line.split()[-1] for line in text.splitlines()[1:]] == [
        f"record {number}".encode().hex().upper() for number in (1, 2)
    ]


def test_ls_counts_segments_and_gives_the_times_of_the_first_and_last_record(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill(site.journal / DATA, 100, segment_bytes=500)
    known = segments(site.journal / DATA)
    known[0][1].unlink()  # as the disk budget does
    (stream,) = reader.streams(site)
    first = next(walk(site.journal / DATA)).records[0]
    assert (stream.name, stream.segments, stream.begin) == (DATA, len(known) - 1, known[1][0])
    assert stream.size == sum(path.stat().st_size for _, path in known[1:]) == stream.end - stream.begin
    assert (stream.first_us, stream.last_us) == (first.received_us, START_US + 99_000_000)
    text = said("ls", "--site", site.root)
    assert str(stream.segments) in text
    assert f"cursor data: 0 of {stream.end}, 待处理 / left {stream.end:,} B" in text


def test_the_last_record_is_found_although_the_newest_segment_is_empty(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill(site.journal / DATA, 5)
    (site.journal / DATA / f"{stream_end(site.journal / DATA):020d}.journal").touch()
    (stream,) = reader.streams(site)
    assert stream.last_us == START_US + 4_000_000


def test_an_empty_site_lists_nothing_and_is_sound(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    assert "segments" in said("ls", "--site", site.root)
    assert said("show", "--site", site.root) == ""
    assert [line.split(" ")[1] for line in said("verify", "--site", site.root).splitlines()] == ["0"] * len(STREAMS)


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


LENGTH = len(pack(b"record 0", 0, 0))

DAMAGES = [
    pytest.param(lambda path: spoil(path, 3 * LENGTH + 20), (3 * LENGTH, LENGTH), 9, id="a flipped bit in the middle"),
    pytest.param(lambda path: spoil(path, 9 * LENGTH + 20), (9 * LENGTH, LENGTH), 9, id="a flipped bit in the last record"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-3]), (9 * LENGTH, LENGTH - 3), 9, id="a torn tail"),
    pytest.param(lambda path: path.write_bytes(bytes(LENGTH) + path.read_bytes()[LENGTH:]), (0, LENGTH), 9, id="zeros in front"),
]


@pytest.mark.parametrize(("damage", "place", "sound"), DAMAGES)
def test_verify_names_damaged_places_ends_with_1_and_changes_nothing(tmp_path: Path, damage, place, sound) -> None:
    site = make_site(tmp_path)
    fill(site.journal / DATA, 10)
    fill(site.journal / BAD, 2)
    damage(segments(site.journal / DATA)[0][1])
    before = content(site)
    text = said("verify", "--site", site.root, code=1)
    assert f"damaged at {place[0]}: {place[1]} " in text
    assert text.count("damaged") == 1
    assert f"data: {sound} " in text
    assert "bad: 2 " in text
    assert content(site) == before


def test_a_byte_flipped_in_the_middle_costs_its_own_frame_and_is_counted_and_told(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    frames = [frame(METER, minutes_ago(9 - number), number, sequence=number + 1) for number in range(5)]
    with running(site) as daemon:
        client = Client(daemon.data_port)
        for sent in frames:
            client.send(sent)
            client.acknowledged(1)
        assert delivered(site).height == 5
    ((_, segment),) = segments(site.journal / DATA)
    content = bytearray(segment.read_bytes())
    content[content.index(frames[2]) + 20] ^= 0x10
    segment.write_bytes(content)
    for made in (site.state, site.raw):  # all of the journal has to be forwarded once more
        shutil.rmtree(made)
    with running(site) as daemon:
        assert delivered(site)["forward_m3"].to_list() == [0.0, 1.0, 3.0, 4.0]
        _, figures = daemon.get("/metrics")
        (lost,) = re.findall(r'journal_damaged_bytes_total\{stream="data"\} (\d+)', figures)
        assert int(lost) > len(frames[2])
        eventually(lambda: "日志损坏 / journal data damaged" in mainflow("status", "--site", site.root).stdout, "status tells it")
    assert f"{int(lost):,} " in said("verify", "--site", site.root, code=1)


def test_a_record_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / DATA
    fill(folder, 2)
    path = segments(folder)[0][1]
    record = pack(b"on its way", START_US, 0)
    with path.open("ab", buffering=0) as file:
        file.write(record[:15])
        monkeypatch.setattr(reader.time, "sleep", lambda _: file.write(record[15:]))
        chunks = list(walk(folder))
    assert [record.payload for chunk in chunks for record in chunk.records][-1] == b"on its way"
    assert [chunk.damaged for chunk in chunks] == [[]]
