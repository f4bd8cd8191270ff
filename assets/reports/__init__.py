"""Reports as files: each `sql/reports/<name>.sql` becomes a workbook to print and a CSV to compute with.

    sql/reports/*.sql ──`definition`──▶ select ──▶ rows ──`layouts`──▶ pages ──`writing`──▶ XLSX
                                                    └──▶ CSV            `editions`: what was issued stays; `ledger`: its list

A select only reads marts; its header names the columns with their widths, the layout and what the totals are. Headings, units and
formats are those of the tables in `deps`. A workbook is in the site's language. `explain` leads a cell back to its frames.
"""

from assets.reports.definition import Definition, definition, names
from assets.reports.editions import HARMLESS, export, make
from assets.reports.ledger import Issued, NothingToReport, checksum, newest, record

__all__ = [
    "HARMLESS",
    "Definition",
    "Issued",
    "NothingToReport",
    "checksum",
    "definition",
    "export",
    "make",
    "names",
    "newest",
    "record",
]
