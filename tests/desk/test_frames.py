"""The way back from a reading to its bytes: from which frame it is, when and by which way that came."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import unescape
from urllib.parse import quote, urlencode

import pytest
import requests

from desk.frames import in_language
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.reader import stream_end
from ingest_daemon.journal.records import DATA
from ingest_daemon.journal.writer import Journal
from tests.daemon_helpers import TERMINALS, Client, delivered, eventually, frame, kept, make_site, minutes_ago, running
from tests.desk.desk_helpers import VIEWER, Served, StandInGrafana, desk_on
from tests.desk.test_maintain import words

TERMINAL, OTHER = TERMINALS[:2]
READING_AT = minutes_ago(120)
REPEATED, LATE = frame(TERMINAL, READING_AT, 12.5, flow_m3h=3.25), frame(TERMINAL, READING_AT + timedelta(minutes=15), 13.5)
SECRET = "A5C3"
MARTS = """
create table mart.meter_history (meter text, terminal text, valid_from timestamptz, valid_to timestamptz);
create table mart.quarantine (reason text, reason_zh text, reason_en text);
insert into mart.quarantine values ('FUTURE_TIME', '时间在未来', 'Time in the future');
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, desk_dsn: str, stand_in: StandInGrafana) -> Iterator[Served]:
    """A desk on a site whose daemon received a few frames: one twice, one of the future."""
    site = make_site(tmp_path_factory.mktemp("frames"))
    with running(site) as daemon:
        client = Client(daemon.data_port)
        for raw in (
            REPEATED,
            LATE,
            REPEATED,
            frame(TERMINAL, READING_AT + timedelta(days=30), 99.0),
            frame(OTHER, READING_AT, 1.0),
        ):
            client.send(raw)
            client.acknowledged(1)
        client.close()
        delivered(site)
        eventually(lambda: kept(site, "FUTURE_TIME"), "the frame of the future is kept aside")
    with desk_on(site, dsn=desk_dsn, grafana=stand_in, language="en") as desk:
        desk.execute(MARTS)
        for meter, terminal in (("M1001", TERMINAL), ("M1002", OTHER)):
            desk.execute("insert into mart.meter_history values (%s, %s, null, null)", meter, terminal)
        yield desk
        desk.execute("drop table mart.meter_history, mart.quarantine")


def shown(raw: bytes) -> str:
    """A frame as the page has it: its password (octets 8 and 9) is hidden."""
    pairs = raw.hex(" ").upper().split()
    return " ".join([*pairs[:8], "••", "••", *pairs[10:]])


def look(served: Served, meter: str = "M1001", at: str = READING_AT.isoformat(), **more: str) -> requests.Response:
    return served.browser(VIEWER).get(f"/frames?{urlencode({'meter': meter, 'at': at, **more})}")


def arrivals(served: Served, page: requests.Response) -> str:
    """What htmx puts into the page a moment later."""
    found = re.search(r'hx-get="(/frames/arrivals[^"]+)"', page.text)
    assert found
    return words(served.browser(VIEWER).get(unescape(found[1])))


def test_a_reading_leads_to_its_frame_byte_by_byte(served: Served) -> None:
    page = look(served)
    assert page.status_code == 200
    assert shown(REPEATED) in page.text
    seen = words(page)
    assert "station address" in seen and TERMINAL in seen
    assert "3.25" in seen
    assert "sl651 · tcp" in seen


def test_each_arrival_of_a_reading_is_told_with_its_place_in_the_journal(served: Served) -> None:
    told = arrivals(served, look(served))
    assert re.search(r"tcp data 0 first .* tcp data \d{3} duplicate", told), told
    later = look(served, at=(READING_AT + timedelta(minutes=16)).isoformat())
    assert shown(LATE) in later.text, "the nearest reading"
    assert "duplicate" not in arrivals(served, later)


def test_each_reading_of_the_list_has_a_link_to_its_own_frame(served: Served) -> None:
    links = [unescape(link) for link in re.findall(r'href="(/frames\?[^"]+)"', look(served).text)]
    pages = [served.browser(VIEWER).get(link).text for link in links]
    assert len(pages) == 2
    assert [shown(raw) in text for raw, text in zip((REPEATED, LATE), pages, strict=True)] == [True, True]


def test_what_was_kept_aside_near_the_time_is_shown_with_its_reason(served: Served) -> None:
    now = look(served, at=minutes_ago(0).isoformat())
    assert "Time in the future" in words(now)
    other = look(served, "M1002", at=minutes_ago(0).isoformat())
    assert "Kept aside within two hours Nothing." in words(other)


def test_a_time_is_taken_in_every_form_in_which_links_write_it(served: Served) -> None:
    local = READING_AT.astimezone().isoformat()
    milliseconds = str(int(READING_AT.timestamp() * 1000))
    on_the_clock = (READING_AT + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M")
    for at in (local, milliseconds, on_the_clock, READING_AT.isoformat().replace("+00:00", "Z")):
        assert shown(REPEATED) in look(served, at=at).text, at


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"at": "yesterday"}, 400),
        ({"at": "9999-12-31T23:59:59+00:00"}, 400),
        ({"at": "0001-01-01T00:00"}, 400),
        ({"at": "9" * 40}, 400),
        ({"stream": "../state", "frame": "0"}, 400),
        ({"stream": "data", "frame": "-1"}, 400),
        ({"stream": "data", "frame": "3"}, 200),  # in the middle of a frame
        ({"stream": "data", "frame": "9" * 18}, 200),
        ({"meter": "<script>alert(1)</script>"}, 200),
        ({"meter": "'; drop table ops.alarm; --"}, 200),
        ({"meter": ""}, 200),
    ],
)
def test_a_wrong_address_is_refused_or_shows_nothing(served: Served, fields: dict[str, str], status: int) -> None:
    page = look(served, **fields)
    assert page.status_code == status, words(page)
    assert "<script>alert" not in page.text
    if "frame" in fields and status == 200:
        assert "The journal has this frame no more" in words(page)


def test_passwords_of_frames_are_hidden_in_the_field_and_in_the_bytes(served: Served) -> None:
    raw = bytearray(REPEATED)
    raw[8:10] = bytes.fromhex(SECRET)  # its checksum is wrong now; it is explained all the same
    journal = Journal(served.site.journal / DATA, 1 << 20)
    position = stream_end(served.site.journal / DATA)
    journal.append(encode_header(RecordHeader("sl651", "tcp")) + bytes(raw), int(datetime.now().timestamp() * 1e6))
    journal.commit()
    journal.close()
    page = look(served, stream=DATA, frame=str(position))
    assert "password •• " in words(page)
    assert SECRET not in page.text.upper().replace(" ", "")


def test_a_site_without_a_journal_or_an_unknown_meter_says_so(served: Served) -> None:
    assert "No terminal measured this meter then" in words(look(served, "M77"))
    assert served.browser().get(f"/frames?at={quote('x')}", allow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    ("value", "zh", "en"),
    [
        ("F239 正确 / good", "F239 正确", "F239 good"),
        ("上行 / up, 38", "上行, 38", "up, 38"),
        ("80: 上行 / up, FCB 1, 1 确认 / confirm", "80: 上行, FCB 1, 1 确认", "80: up, FCB 1, 1 confirm"),
        ("0001: 电池欠压 / battery low; 空管 / empty pipe", "0001: 电池欠压; 空管", "0001: battery low; empty pipe"),
        ("3 日 / day 3", "3 日 / day 3", "3 日 / day 3"),
        ("12.500", "12.500", "12.500"),
    ],
)
def test_an_explained_value_is_in_one_language_and_loses_nothing(value: str, zh: str, en: str) -> None:
    assert (in_language(value, "zh"), in_language(value, "en")) == (zh, en)
