"""The words, units and formats of a board's columns, read from the headers in `sql/` of the tables that its SQL selects from.

Not here: words of what a panel computes itself (`vocabulary.COMPUTED`); whether the headers are right (tests of `assets`).
"""

import re
from functools import cache

from dashboards.headers import SQL, read
from dashboards.vocabulary import COMPUTED, Column, Word


def column(name: str, sql: str) -> Column:
    """Column `name` of a panel's SQL: of a table there, of `COMPUTED`, or a shared word.

    Of two tables with such a column it is that by whose alias the SQL first calls it. Raises `ValueError` where there is none, or
    where two tables of the SQL mean different things by it and no alias decides.
    """
    tables, shared = _headers()
    selected = [table for table in dict.fromkeys(re.findall(r"\b(?:mart|ops)\.(\w+)", sql)) if table in tables]
    found = list(dict.fromkeys(tables[table][name] for table in selected if name in tables[table]))
    if not found and name.endswith("_words"):
        found = [_in_both(tables[table], name.removesuffix("_words")) for table in selected if name[:-5] + "zh" in tables[table]][
            :1
        ]
    if len(found) > 1 and (called := re.search(rf"\b(\w+)\.{name}\b", sql)):
        aliased = dict(re.findall(r"\b(?:mart|ops)\.(\w+) AS (\w+)", sql)[::-1])
        found = [
            tables[table][name] for table, alias in aliased.items() if alias == called[1] and name in tables.get(table, {})
        ] or found
    if len(found) > 1:
        raise ValueError(f"column {name}: {', '.join(selected)} give it different words; select it under another name; in: {sql}")
    if found:
        return found[0]
    if name in COMPUTED:
        return COMPUTED[name]
    if name in shared:
        return shared[name]
    raise ValueError(
        f"column {name}: no column of {', '.join(selected) or 'a table with a header'}, and no word of "
        f"dashboards/vocabulary.py COMPUTED or sql/columns.yaml; in: {sql}"
    )


def _in_both(table: dict[str, Column], code: str) -> Column:
    """What a table names in both languages (`in_words`): a heading in each, without the word for the language."""
    zh, en = table[f"{code}_zh"], table[f"{code}_en"]
    return zh._replace(word=Word(zh.word.zh.partition("（")[0], en.word.en.partition(" (")[0]))


def formats() -> dict[str, str]:
    """The spreadsheet format of each unit."""
    found: dict[str, str] = read(SQL / "columns.yaml")["units"]
    return found


def decimals(unit: str) -> int:
    """The decimals of values of a unit; none of what has no unit."""
    return len(formats().get(unit, "0").partition(".")[2])


@cache
def _headers() -> tuple[dict[str, dict[str, Column]], dict[str, Column]]:
    """The columns of each table, and the shared ones."""
    content = read(SQL / "columns.yaml")
    words, known = content["columns"], content["units"]

    def described(name: str, own: dict[str, str] | None) -> Column:
        entry = {**words.get(name, {}), **(own or {})}
        return Column(Word(entry["zh"], entry["en"]), entry["unit"], entry.get("format", known.get(entry["unit"], "")))

    headers = {
        path.stem: read(path)
        for path in (
            *sorted((SQL / "marts").glob("*.sql")),
            *sorted((SQL / "serving").glob("*.sql")),
            *sorted((SQL / "functions").glob("*.sql")),
            *sorted((SQL / "tables").glob("*.yaml")),
        )
    }
    tables = {table: {name: described(name, own) for name, own in header["columns"].items()} for table, header in headers.items()}
    return tables, {name: described(name, None) for name in words}
