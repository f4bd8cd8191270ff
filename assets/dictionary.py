"""The data dictionary `docs/data-dictionary.md`, made from the headers in `sql/`: `python -m assets.dictionary` writes it."""

from pathlib import Path

from assets.columns import Table, tables

PAGE = Path(__file__).parent.parent / "docs" / "data-dictionary.md"

PREFACE = """# 数据字典 / Data dictionary

由 `sql/` 中各文件头生成，请勿手改。 Made from the headers in `sql/`; after a change there, write it anew:

```bash
.venv/bin/python -m assets.dictionary
```

DuckDB 与 PostgreSQL 中表名、列名相同。 DuckDB and PostgreSQL have the same names. Times are `timestamptz`; `day`, `month` and
`period` are local civil dates, a month by its first day. A value that is not known is empty, never 0.
"""

UNSERVED = "marts.duckdb"
"""The place of a table that is not served."""


def text() -> str:
    """The page."""
    ordered = sorted(tables().values(), key=lambda table: (table.schema != "mart", table.schema == "", table.name))
    return "\n".join([PREFACE, *_index(ordered), *(line for table in ordered for line in _section(table))])


def _index(ordered: list[Table]) -> list[str]:
    rows = [f"| [{table.name}](#{table.name}) | {table.zh} | {table.group} | {table.schema or UNSERVED} |" for table in ordered]
    return ["| 表 / table | 中文 | 组 / group | 模式 / schema |", "|---|---|---|---|", *rows, ""]


def _section(table: Table) -> list[str]:
    facts = {
        "一行 / one row": ", ".join(f"`{name}`" for name in table.grain),
        "组 / group": table.group,
        "分区 / partitions": table.partitions,
        "参数 / parameters": "; ".join(f"`{name}` {text}" for name, text in table.parameters.items()),
        "来自 / made from": ", ".join(f"`{name}`" for name in table.deps),
        "文件 / file": f"`{table.path.relative_to(PAGE.parents[1]).as_posix()}`",
    }
    rows = [
        f"| `{name}` | {column.zh} | {column.en} | {column.unit} | {_cell(column.description)} |"
        for name, column in table.columns.items()
    ]
    return [
        f"## {table.name}",
        "",
        f"**{table.zh}** {' '.join(table.description.split())}",
        "",
        " · ".join(f"{name}: {value}" for name, value in facts.items() if value),
        "",
        "| 列 / column | 中文 | English | 单位 / unit | 说明 / description |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _cell(description: str) -> str:
    return description.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    print(PAGE)
