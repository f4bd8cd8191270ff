"""The documents: links resolve, examples work, names exist; and nothing in the repository tells what it must not.

A fenced block may name a file behind its language: the block is that file's content. A `diff` block names a word, too: lines to
add to that file, below the line that begins with the word. A guide's files are really put into a copy of the repository, and
the guide's own commands are run there.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

from assets import dictionary
from assets.columns import tables
from assets.kernel import Flag
from ingest_daemon import codecs
from ingest_daemon.contract import registry_files as registry
from ingest_daemon.contract.alarm_codes import ALARMS
from ingest_daemon.contract.headers import read_header
from ingest_daemon.contract.schema import Reason
from ingest_daemon.contract.settings import SECTIONS
from ingest_daemon.terminals import profiles
from pipelines.cli.main import main
from pipelines.settings import load
from tests.chain import COMMAND

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
GUIDES = sorted(ROOT.glob("docs/add-*.md"))
TESTED = {"python", "sql", "bash", "toml", "csv", "yaml", "diff"}
PLAIN = {"text"}
PROGRAMS = {"tar", "cp", "docker"}
ROOMS = ("assets", "dashboards", "deploy", "docs", "ingest_daemon", "pipelines", "scripts", "simulator", "sql", "tests")
ENVIRONMENT = {"MAINFLOW_SITE", "MAINFLOW_ALERT_WEBHOOK", "MAINFLOW_ZONE", "GRAFANA_HOME", "DAGSTER_HOME"}

every_page = pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])


class Block(NamedTuple):
    """A fenced block: its page, language, the file it belongs to ("" for none), the word it is put below, and its text."""

    page: Path
    language: str
    file: str
    below: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.file or self.language}"


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks in order."""
    found = re.findall(r"^```(\w*) ?([^ \n]*) ?([^\n]*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(page, language, file, below, text) for language, file, below, text in found]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def prose(page: Path) -> str:
    """The page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[Block]:
    found = [block for block in BLOCKS if block.language == language]
    assert found, f"no block of {language}: this test proves nothing"
    return found


# --- links --------------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, made as the usual viewers make them."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@every_page
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), f"{page}: {target} leads nowhere"
        assert not anchor or anchor in anchors(file), f"{page}: {target}: there are {sorted(anchors(file))}"


def sources() -> list[Path]:
    """Code, queries and profiles, which may cite a page."""
    rooms = [room for room in ROOMS if room != "tests"]
    return [path for room in rooms for pattern in ("*.py", "*.sql", "*.toml") for path in (ROOT / room).rglob(pattern)]


def test_every_page_that_code_cites_is_in_the_repository_with_the_section_it_names() -> None:
    wrong = []
    for path in sources():
        for cited in re.findall(r"(?<![\w./\"-])(?:docs/)?[a-z][\w./-]*\.md(?:#[\w-]+)?", path.read_text(encoding="utf-8")):
            name, _, anchor = cited.partition("#")
            page = ROOT / name
            if not page.is_file() or (anchor and anchor not in anchors(page)):
                wrong.append(f"{path.relative_to(ROOT)}: {cited}")
    assert wrong == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)\s#:]+\.md)", prose(page))
        waiting += [(page.parent / target).resolve() for target in targets]
    assert reached == set(PAGES)


# --- names --------------------------------------------------------------------------------------------------------------------


@every_page
def test_every_file_that_a_page_names_is_in_the_repository(page: Path) -> None:
    made = {block.file for block in BLOCKS}
    for name in re.findall(r"`([\w.]+/[\w./*<>-]*)`", prose(page)):
        if name.split("/")[0] in ROOMS and name not in made:
            assert list(ROOT.glob(re.sub(r"<[\w-]+>", "*", name).rstrip("/"))), f"{page}: {name} is not there"


@every_page
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    keys = {f"[{section}] {item.name}" for section, kind in SECTIONS.items() for item in fields(kind)}
    text = " ".join(page.read_text(encoding="utf-8").split())
    for name in re.findall(r"`(\[\w+\] \w+)", text):
        assert name in keys, f"{page}: {name}"
    variables = {f"MAINFLOW_{section}_{item.name}".upper() for section, kind in SECTIONS.items() for item in fields(kind)}
    assert set(re.findall(r"\bMAINFLOW_[A-Z_]+[A-Z]\b", text)) <= variables | ENVIRONMENT


def test_every_subcommand_is_in_the_readmes_table_and_no_other() -> None:
    assert set(re.findall(r"^\| `mainflow (\w+)", prose(ROOT / "README.md"), re.MULTILINE)) == set(main.commands)


def test_the_readmes_summary_has_the_rows_that_the_demo_prints() -> None:
    shown = next(block.text for block in BLOCKS if block.page.name == "README.md" and "sent" in block.text)
    printed = (ROOT / "pipelines" / "cli" / "demo.py").read_text(encoding="utf-8")
    heads = [line.split("│")[0].strip() for line in shown.splitlines()]
    assert [head for head in heads if head and f'"{head}"' not in printed] == []


def rows_below(page: Path, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading."""
    section = prose(page).split(f"\n## {heading}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_glossary_has_every_alarm_and_reason_with_the_words_of_the_contract() -> None:
    page = ROOT / "docs" / "glossary.md"
    assert rows_below(page, "报警") == [[code, alarm.zh, alarm.en, alarm.unit] for code, alarm in ALARMS.items()]
    assert [row[0] for row in rows_below(page, "另存原因")] == [str(reason) for reason in Reason]


def test_the_flags_in_the_documents_are_those_of_the_kernel() -> None:
    text = " ".join(prose(ROOT / "docs" / "data-flow.md").split())
    listed = re.findall(r"(\d+) [a-z -]+", text.split("`flags` of an interval (bits):")[1].split(".")[0])
    assert [int(number) for number in listed] == [int(flag) for flag in Flag]


@every_page
def test_every_column_that_a_page_names_is_in_the_header_of_its_table(page: Path) -> None:
    for table, column in re.findall(r"`(\w+)\.(\w+)`", prose(page)):
        if table in tables() and f"{table}.{column}" not in registry.FILES["criteria"]["name"].allowed:
            assert column in tables()[table].columns, f"{page}: {table} has no column {column}"


def test_the_data_dictionary_is_what_the_headers_make() -> None:
    assert dictionary.PAGE.read_text(encoding="utf-8") == dictionary.text(), "write it anew: python -m assets.dictionary"


# --- blocks -------------------------------------------------------------------------------------------------------------------


def test_every_block_has_a_language_that_is_tested_or_is_plain_text() -> None:
    assert {block.language for block in BLOCKS} <= TESTED | PLAIN
    for block in BLOCKS:
        assert (block.language == "diff") == bool(block.below)
        assert not block.file or Path(block.file).name in prose(block.page), f"{block}: the page does not say which file it is"


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every line of the bash blocks: its page, and its words without leading variables."""
    for block in blocks("bash"):
        for line in block.text.splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                name = words.pop(0).partition("=")[0]
                assert name in ENVIRONMENT, f"{block}: {name}"
            if words:
                yield block.page.name, words


COMMANDS = list(commands())


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}: {shlex.join(words)}" for page, words in COMMANDS])
def test_every_command_is_one_that_exists_with_the_options_it_has(page: str, words: list[str]) -> None:
    program, *arguments = words
    match program:
        case "mainflow" | ".venv/bin/mainflow":
            command = main.commands[arguments[0]]
            arguments = arguments[1:]
            while isinstance(command, click.Group):
                command, arguments = command.commands[arguments[0]], arguments[1:]
            context = click.Context(command, info_name=command.name)
            given, rest, _ = command.make_parser(context).parse_args(arguments)
            assert not rest
            for parameter in command.params:
                if given.get(parameter.name or "") is not None and not isinstance(parameter.type, click.Path):
                    parameter.type_cast_value(context, given[parameter.name or ""])
        case "make":
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            assert set(arguments) <= set(targets)
        case ".venv/bin/python":
            assert arguments[0] == "-m"
            module = arguments[1]
            path = ROOT / module.replace(".", "/")
            assert module == "pytest" or (path / "__main__.py").exists() or path.with_suffix(".py").exists()
            assert all((ROOT / word).exists() for word in arguments if word.endswith(".py"))
        case _:
            assert program in PROGRAMS
            assert all((ROOT / word).exists() for word in arguments if re.fullmatch(r"deploy/[\w/]+\.(yaml|env\.example)", word))


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text)


@pytest.mark.parametrize("block", [block for block in blocks("toml") if not block.file], ids=str)
def test_settings_are_accepted_as_a_site_file(block: Block, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(block.text, encoding="utf-8")
    settings = load(tmp_path)
    for section, values in tomllib.loads(block.text).items():
        for name, value in values.items():
            read = getattr(settings[SECTIONS[section]], name)
            assert as_written(read, value) == value


def as_written(read: object, value: object) -> object:
    """What was read, with rows as the tables that were written."""
    if not isinstance(value, list) or not isinstance(read, tuple):
        return read
    assert len(read) == len(value)
    return [{key: getattr(row, key) for key in table} for row, table in zip(read, value, strict=True)]


@pytest.mark.parametrize("block", blocks("sql"), ids=str)
def test_sql_has_the_header_that_its_folder_wants(block: Block, tmp_path: Path) -> None:
    (tmp_path / "block.sql").write_text(block.text, encoding="utf-8")
    header, query = read_header(tmp_path / "block.sql")
    assert header["zh"]
    assert query.startswith(("select", "with"))


@pytest.mark.parametrize("block", [block for block in blocks("csv") if block.file.startswith("registry/")], ids=str)
def test_rows_of_the_registry_are_accepted_as_they_stand(block: Block, tmp_path: Path) -> None:
    (tmp_path / "terminals.csv").write_text(",".join(registry.FILES["terminals"]) + "\n", encoding="utf-8")
    (tmp_path / Path(block.file).name).write_text(block.text, encoding="utf-8")
    assert getattr(registry.load(tmp_path), Path(block.file).stem).height


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_runs_on_its_own_or_belongs_to_a_file_of_a_guide(block: Block) -> None:
    if block.file:
        assert block.page in GUIDES
    else:
        exec(compile(block.text, str(block), "exec"), {})


def add(copy: Path, block: Block) -> None:
    """Put a block where it belongs in the copy: as a file, or below the first line that begins with its word."""
    path = copy / block.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if not block.below:
        assert not path.exists(), f"{block}: the example is there already"
        path.write_text(block.text, encoding="utf-8")
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    places = [number for number, line in enumerate(lines, start=1) if re.match(rf"{re.escape(block.below)}(?!\w)", line)]
    assert places, f"{block}: no line of {block.file} begins with {block.below}"
    lines.insert(places[0], re.sub(r"^\+", "", block.text, flags=re.MULTILINE))
    path.write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("guide", GUIDES, ids=[path.stem for path in GUIDES])
def test_a_guide_followed_to_the_letter_works(guide: Path, tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for block in blocks_of(guide):
        if block.file:
            add(copy, block)
    ran = [
        shlex.split(line, comments=True)
        for block in blocks_of(guide)
        if block.language == "bash"
        for line in block.text.splitlines()
    ]
    for program, *arguments in ran:
        if "--site" in arguments:  # needs a site with data: only its options are checked
            continue
        command = [sys.executable] if program.endswith("python") else COMMAND
        more = ["-p", "no:cacheprovider"] if "pytest" in arguments else []
        done = subprocess.run(
            [*command, *arguments, *more],
            cwd=copy,
            # The kernel's machine code is kept by path: for so few readings Python is faster than to compile it for the copy.
            env={**os.environ, "PYTHONPATH": str(copy), "NUMBA_DISABLE_JIT": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{shlex.join([program, *arguments])}:\n{done.stdout[-5000:]}\n{done.stderr[-2000:]}"
        if "pytest" in arguments:
            assert re.search(r"\b[1-9]\d* passed", done.stdout), done.stdout
            assert "skipped" not in done.stdout


# --- what the repository must not tell ----------------------------------------------------------------------------------------

FORBIDDEN = {
    "a number of an issue": r"(?i)\bissues? ?#?\d+|\bpull request ?#?\d+|(?<![\w&;'\"#])#\d{1,6}\b",
    "a session": r"(?i)\b(this|previous|earlier|agent|coding) session\b",
    "a tool that wrote it": r"(?i)claude|anthropic|openai|chatgpt|copilot|gemini|language model",
    "a path of one machine": r"/work/|/tmp/\w|/root/|/home/\w|/opt/grafana|/usr/local/grafana",
    "a host of a package registry": (
        r"(?i)pypi\.org|pythonhosted|debian\.org|ubuntu\.com|npmjs|crates\.io|rubygems|conda\.io|proxy\.golang|ghcr\.io|index-url"
    ),
}


def tracked() -> list[Path]:
    """Files under version control, whole text files only."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no checkout under git, so which files are the repository's cannot be told")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_tells_of_issues_sessions_tools_machines_or_registries() -> None:
    told = []
    for path in tracked():
        if path == Path(__file__):
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, start=1):
            told += [
                f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:120]}"
                for what, pattern in FORBIDDEN.items()
                if re.search(pattern, line)
            ]
    assert not told, "\n".join(told)


@pytest.mark.parametrize(
    "line",
    ["see issue 12", "fixed (#42)", "as in /home/me/x", "written with Copilot", "https://pypi.org/simple", "cd /tmp/x"],
)
def test_the_search_would_find_such_a_line(line: str) -> None:
    assert any(re.search(pattern, line) for pattern in FORBIDDEN.values())


@pytest.mark.parametrize("block", [block for block in blocks("toml") if block.file.startswith("registry/profiles/")], ids=str)
def test_profiles_are_accepted_as_they_stand(block: Block, tmp_path: Path) -> None:
    path = tmp_path / Path(block.file).name
    path.write_text(block.text, encoding="utf-8")
    spoken = tomllib.loads(block.text)["protocol"]
    assert all(profiles.read_profile(path, protocol) for protocol in spoken)


def test_the_page_of_protocols_names_every_protocol_and_every_profile() -> None:
    page = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w-]+)`", page))
    assert named >= set(codecs.names())
    assert named >= {path.stem for path in profiles.SHIPPED.glob("*.toml")}
