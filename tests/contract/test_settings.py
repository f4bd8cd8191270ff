"""Settings: what is wrong is named with what is allowed, the environment wins, secrets are not told."""

import itertools
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.contract.settings import SECTIONS, SettingError, SiteSettings, read_section
from ingest_daemon.contract.site import Site
from ingest_daemon.reception.settings import DaemonSettings
from ingest_daemon.stores.settings import StoreSettings
from pipelines import settings
from pipelines.settings import PROFILES, FigureSettings, TellingSettings, sample_file

SECRET = "s3cret-Пароль"
DEFAULTS = {name: {item.name: item.default for item in fields(kind)} for name, kind in SECTIONS.items()}


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("MAINFLOW_")]:
        monkeypatch.delenv(name)


def site(folder: Path, text: str) -> Path:
    Site(folder).settings.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[sites]\nzone = 'UTC'", ["[sites] is unknown", *SECTIONS]),
        ("[site]\nzones = 'UTC'", ["[site] zones is unknown", "utility", "zone", "language"]),
        ("site = 'Asia/Shanghai'", ["site", "expected a section [site]"]),
        ("daemon = 5", ["daemon", "expected a section [daemon]"]),
        ("zone = 'UTC'", ["[zone] is unknown", "site"]),
        ("[site]\nzone = 'Asia/Peking'", ["[site] zone", "'Asia/Peking'", "Asia/Shanghai"]),
        ("[site]\nzone = ''", ["[site] zone", "Asia/Shanghai"]),
        ("[site]\nlanguage = 'de'", ["[site] language", "'de'", "zh, en"]),
        ("[site]\nutility = 5", ["[site] utility", "5", "text in quotes"]),
        ("[store]\nkind = 'oracle'", ["[store] kind", "'oracle'", "parquet, influxdb"]),
        ("[store]\ninflux_auth = 'magic'", ["[store] influx_auth", "none, basic, token"]),
        ("[daemon]\ndata_port = 70000", ["[daemon] data_port", "70000", "65535"]),
        ("[daemon]\ndata_port = '4000'", ["[daemon] data_port", "'4000'", "a whole number"]),
        ("[daemon]\ndata_port = true", ["[daemon] data_port", "True", "a whole number"]),
        ("[daemon]\ndata_port = 4000.5", ["[daemon] data_port", "4000.5", "a whole number"]),
        ("[daemon]\ndata_protocol = 'morse'", ["[daemon] data_protocol", "'morse'", "sl651"]),
        ("[figures]\nmax_hole_h = 0", ["[figures] max_hole_h", "0", "at least 0.25 and at most 24"]),
        ("[figures]\nmax_hole_h = nan", ["[figures] max_hole_h", "nan", "at least 0.25"]),
        ("[figures]\nmax_hole_h = '2 h'", ["[figures] max_hole_h", "'2 h'", "a number"]),
        ("[billing]\noverlap_days = -1", ["[billing] overlap_days", "-1", "at least 0"]),
        ("[telling]\nreceivers = 'duty'", ["[telling] receivers", "a list of tables", "name, kind"]),
        ("[telling]\nreceivers = [{names = 'a'}]", ["[telling] receivers, row 1", "names is unknown", "by_day"]),
        ("[telling]\nreceivers = [{name = 'a', kind = 'fax'}]", ["row 1: kind", "'fax'", "webhook, email, sms, dingtalk, wecom"]),
        ("[telling]\nreceivers = [{name = 'a b', address = 'https://x'}]", ["receivers, a b: name", "letters, digits and -"]),
        ("[telling]\nreceivers = [{name = 'a', address = 'x'}]", ["receivers, a: address", "https://"]),
        ("[telling]\nreceivers = [{name = 'a', kind = 'email', address = 'x'}]", ["receivers, a: address", "e-mail addresses"]),
        ("[telling]\nreceivers = [{name = 'a', kind = 'sms', address = '138'}]", ["receivers, a: address", "[sms] gateway_url"]),
        (
            "[telling]\nreceivers = [{name = 'a', kind = 'dingtalk', address = 'https://x', secret = 'SEC'}]",
            ["receivers, a: secret", "cannot sign", "Mainflow"],
        ),
        ("[telling]\nreceivers = [{name = 'a', address = 'https://x', rest = '22-6'}]", ["rest = '22-6'", "22:00-06:00"]),
        (
            "[telling]\nreceivers = [{name = 'a', address = 'https://x', by_day = 'warning', at_rest = 'info'}]",
            ["at_rest = 'info'", "at least by_day (warning)"],
        ),
        (
            "[telling]\nreceivers = [{name = 'a', address = 'https://x'}, {name = 'a', address = 'https://y'}]",
            ["[telling] receivers", "twice", "a"],
        ),
        ("[site\nzone = 'UTC'", ["site.toml", "not valid TOML", "line 1"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(tmp_path: Path, text: str, named: list[str]) -> None:
    with pytest.raises(SettingError) as told:
        settings.load(site(tmp_path, text))
    assert [part for part in named if part not in str(told.value)] == []


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="mainflow init"):
        settings.load(tmp_path / "nowhere")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    Site(tmp_path).settings.write_bytes("[site]\nutility = '示例水务'".encode("gbk"))
    with pytest.raises(SettingError, match=r"site\.toml is not UTF-8"):
        settings.load(tmp_path)


def test_a_byte_order_mark_of_a_windows_editor_is_accepted(tmp_path: Path) -> None:
    assert settings.load(site(tmp_path, "\ufeff[site]\r\nutility = '水务'\r\n"))[SiteSettings].utility == "水务"


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    loaded = settings.load(site(tmp_path, ""))
    assert {name: {key: getattr(loaded[SECTIONS[name]], key) for key in keys} for name, keys in DEFAULTS.items()} == DEFAULTS
    assert (str(loaded.zone), loaded[FigureSettings].max_hole.total_seconds()) == ("Asia/Shanghai", 7200)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = site(tmp_path, "[daemon]\ndata_port = 4001\n[figures]\nmax_hole_h = 3\n[store]\nkind = 'influxdb'")
    monkeypatch.setenv("MAINFLOW_DAEMON_DATA_PORT", "4002")
    monkeypatch.setenv("MAINFLOW_FIGURES_MAX_HOLE_H", "1.5")
    monkeypatch.setenv("MAINFLOW_SITE_ZONE", "Europe/Rome")
    loaded = settings.load(folder)
    assert (
        loaded[DaemonSettings].data_port,
        loaded[FigureSettings].max_hole_h,
        str(loaded.zone),
        loaded[StoreSettings].kind,
    ) == (
        4002,
        1.5,
        "Europe/Rome",
        "influxdb",
    )


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("MAINFLOW_DAEMON_DATA_PORT", "high", ["MAINFLOW_DAEMON_DATA_PORT (environment)", "'high'", "a whole number"]),
        ("MAINFLOW_STORE_KIND", "oracle", ["MAINFLOW_STORE_KIND (environment)", "parquet, influxdb"]),
        ("MAINFLOW_FIGURES_MAX_HOLE_H", "nan", ["MAINFLOW_FIGURES_MAX_HOLE_H (environment)", "at least 0.25"]),
    ],
)
def test_a_wrong_value_in_the_environment_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: list[str]
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError) as told:
        settings.load(site(tmp_path, ""))
    assert [part for part in named if part not in str(told.value)] == []


SECRETS = [
    (name, item.name)
    for name, kind in SECTIONS.items()
    for item in fields(kind)
    if item.metadata["secret"] and not item.metadata["rows"]
]


def test_what_logs_in_somewhere_is_a_secret() -> None:
    assert {("store", "influx_password"), ("postgres", "dsn"), ("billing", "connection")} <= set(SECRETS)


@pytest.mark.parametrize(("section", "key"), SECRETS)
def test_a_secret_is_never_printed(tmp_path: Path, section: str, key: str) -> None:
    value = f"host=h password={SECRET}" if section == "postgres" else SECRET
    loaded = settings.load(site(tmp_path, f"[{section}]\n{key} = '{value}'"))
    assert getattr(loaded[SECTIONS[section]], key) == value
    assert SECRET not in repr(loaded) + str(loaded[SECTIONS[section]])
    with pytest.raises(SettingError) as told:
        settings.load(site(tmp_path, f"[{section}]\n{key} = ['{SECRET}']"))
    assert f"[{section}] {key}" in str(told.value)
    assert SECRET not in str(told.value)


def test_addresses_and_secrets_of_receivers_are_never_printed(tmp_path: Path) -> None:
    text = f"[telling]\nreceivers = [{{name = 'duty', address = 'https://x/{SECRET}', secret = '{SECRET}'}}]"
    loaded = settings.load(site(tmp_path, text))
    (row,) = loaded[TellingSettings].receivers
    assert (row.address, row.secret) == (f"https://x/{SECRET}", SECRET)
    assert SECRET not in repr(loaded) + str(loaded[TellingSettings]) + str(row)
    for wrong in (f"secret = 5, address = '{SECRET}'", f"kind = 'email', address = '{SECRET}'", f"address = ['{SECRET}']"):
        with pytest.raises(SettingError) as told:
            settings.load(site(tmp_path, f"[telling]\nreceivers = [{{name = 'duty', {wrong}}}]"))
        assert SECRET not in str(told.value)


def test_receivers_of_the_environment_are_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINFLOW_TELLING_RECEIVERS", '[{"name": "duty", "address": "https://x", "rest": "22:00-06:00"}]')
    (row,) = settings.load(site(tmp_path, ""))[TellingSettings].receivers
    assert (row.name, row.kind, row.hours, row.at_rest) == ("duty", "webhook", ("22:00", "06:00"), "critical")
    monkeypatch.setenv("MAINFLOW_TELLING_RECEIVERS", "duty")
    with pytest.raises(SettingError, match=r"MAINFLOW_TELLING_RECEIVERS \(environment\): expected a list as JSON"):
        settings.load(site(tmp_path, ""))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_sample_of_a_profile_reads_back_as_the_defaults_and_what_the_profile_says(tmp_path: Path, profile: str) -> None:
    text = sample_file(profile, {})
    read = {
        name: {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
        for name, table in tomllib.loads(text).items()
    }
    assert read == {name: {**keys, **PROFILES[profile].get(name, {})} for name, keys in DEFAULTS.items()}
    loaded = settings.load(site(tmp_path, text))
    assert loaded[StoreSettings].kind == {"embedded": "parquet", "site": "influxdb"}[profile]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_setting_of_the_sample_is_explained_in_both_languages(profile: str) -> None:
    lines = sample_file(profile, {}).splitlines()
    for before, line in itertools.pairwise(lines):
        if "=" in line and not line.startswith("#"):
            assert before.startswith("# "), line
            assert " / " in before, line


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_text_survives_the_sample(value: str) -> None:
    parsed: dict[str, dict[str, Any]] = tomllib.loads(
        sample_file("embedded", {"site": {"utility": value}, "billing": {"connection": value}})
    )
    assert (parsed["site"]["utility"], parsed["billing"]["connection"]) == (value, value)


def test_values_given_for_the_sample_win_over_the_profile() -> None:
    parsed = tomllib.loads(sample_file("site", {"daemon": {"data_port": 0}, "postgres": {"dsn": "host=db"}}))
    assert (parsed["daemon"]["data_port"], parsed["daemon"]["bind"], parsed["postgres"]["dsn"]) == (0, "0.0.0.0", "host=db")


def test_a_section_can_be_read_alone_with_its_own_environment() -> None:
    read = read_section(StoreSettings, "store", {"store": {"influx_user": "u"}}, {"MAINFLOW_STORE_INFLUX_DATABASE": "d"})
    assert (read.influx_user, read.influx_database, read.kind) == ("u", "d", "parquet")


@pytest.mark.parametrize(
    "dsn",
    [
        f"host=127.0.0.1 password={SECRET} and-{SECRET} dbname=d",
        f"postgresql://u:{SECRET}%zz@127.0.0.1/d",
        f"postgresql://u:a@{SECRET}@127.0.0.1/d",
    ],
)
@pytest.mark.parametrize("key", ["dsn", "board_dsn"])
def test_a_connection_string_that_cannot_be_read_is_refused_without_its_words(tmp_path: Path, key: str, dsn: str) -> None:
    with pytest.raises(SettingError) as told:
        settings.load(site(tmp_path, f"[postgres]\n{key} = '{dsn}'"))
    assert SECRET not in str(told.value)
    assert f"[postgres] {key}" in str(told.value)
