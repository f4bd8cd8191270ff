"""A page is in the site's language alone, apart from data; and every word that a page uses is written."""

import re
from html import unescape

import pytest

from desk.causes import SHIPPED
from desk.words import WORDS
from tests.desk.conftest import Alarms
from tests.desk.desk_helpers import ADMIN, KEY, UTILITY, Served

CHINESE = re.compile(r"[一-鿿，。：；（）“”]")
LATIN = re.compile(r"[A-Za-z]{2,}")
DATA = (UTILITY, "第一纺织厂", "市人民医院", "invented", ADMIN)
"""What stands in the database or in the settings."""
SIGNS = {"Grafana", "MPa"}
"""Names and units that are the same in both languages."""
PATHS = ("/alarms", "/alarms?state=all", "/alarms/{alarm}", "/alarms/{alarm}?known=2020-01-01", "/wall", "/ticker", "/nothing")


def words_of(page: str) -> str:
    """What a person reads: text, and the attributes that are shown or spoken."""
    spoken = re.findall(r'\b(?:title|aria-label|data-on|data-off|data-lost)="([^"]*)"', page)
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    text = unescape(" ".join([text, *spoken]))
    for known in DATA:
        text = text.replace(known, " ")
    return text


@pytest.fixture
def prepared(desk: Served, alarms: Alarms) -> Alarms:
    """Alarms, one acknowledged, and a change of the ticker."""
    browser = desk.browser(ADMIN)
    browser.get("/ticker")
    browser.post("/alarms/acknowledge", {"alarm": alarms.low, "cause": "network"})
    for seconds in ("7", "6"):
        browser.post("/ticker", {"role": "viewer", "severity": ["warning", "critical"], "seconds": seconds})
    return alarms


@pytest.mark.parametrize("path", ["/login", *PATHS])
def test_a_chinese_page_has_no_english_word_and_an_english_one_no_chinese_letter(
    desk: Served, english_desk: Served, prepared: Alarms, path: str
) -> None:
    user = None if path == "/login" else ADMIN
    address = path.format(alarm=prepared.low)
    chinese = words_of(desk.browser(user).get(address).text)
    english = words_of(english_desk.browser(user).get(address).text)
    assert CHINESE.search(chinese) and LATIN.search(english)
    assert CHINESE.findall(english) == []
    assert set(LATIN.findall(chinese)) - SIGNS == set()


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/alarms/acknowledge", {}), ("/alarms/acknowledge", {"alarm": "x"}), ("/ticker", {"role": "x"}), ("/alarms/1/note", {})],
)
def test_refusals_are_in_the_sites_language(
    desk: Served, english_desk: Served, alarms: Alarms, path: str, fields: dict[str, str]
) -> None:
    for served, pattern in ((desk, LATIN), (english_desk, CHINESE)):
        browser = served.browser(ADMIN)
        browser.get("/ticker")
        answer = browser.post(path, fields)
        assert answer.status_code == 400
        assert set(pattern.findall(words_of(answer.text).replace(f"{fields.get('alarm') or fields.get('role')}", ""))) == set()


def test_every_word_has_both_languages() -> None:
    for key, word in (WORDS | dict(SHIPPED)).items():
        assert word.zh and word.en, key
        assert not CHINESE.search(word.en), key
        assert set(re.findall(r"\{\w*\}", word.zh)) == set(re.findall(r"\{\w*\}", word.en)), key


def test_the_wall_by_its_key_is_in_one_language_too(english_desk: Served, alarms: Alarms) -> None:
    assert CHINESE.findall(words_of(english_desk.browser().get(f"/wall?key={KEY}").text)) == []
