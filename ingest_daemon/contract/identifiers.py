"""Identifiers of terminals, meters, customers, bills and codes: which characters they have, and how they are compared.

They are compared in half-width characters, whichever keyboard wrote them. The registry takes only those of `SHAPE`, so that one
is never a path, a formula, a part of SQL or a control sequence of a terminal; billing's are taken as they are, and escaped.
"""

import re

import polars as pl

LONGEST = 64
SHAPE = re.compile(rf"\w(?:[\w .:/()（）·-]{{0,{LONGEST - 2}}}[\w.)）])?")
"""Letters and digits of any script, and some marks between them."""
EXPECTED = f"1 to {LONGEST} letters, digits and - _ . : / ( ) · or blanks, first a letter or digit, without .. and //"
EXPECTED_ZH = f"1 至 {LONGEST} 个字符：字母、数字、空格和 - _ . : / ( ) ·，首字符为字母或数字，不含 .. 和 //"


def is_identifier(text: str) -> bool:
    """Whether the registry takes a text for an identifier."""
    return bool(SHAPE.fullmatch(text)) and ".." not in text and "//" not in text and text.isprintable()


FULL_WIDTH = [chr(code) for code in range(0xFF01, 0xFF5F)]
HALF_WIDTH = [chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)]
"""The full-width forms of ASCII characters (０-９, Ａ-Ｚ, －) and these characters."""

HALF_WIDTH_OF = str.maketrans(dict(zip(FULL_WIDTH, HALF_WIDTH, strict=True)))
"""For `str.translate`."""


def half_width(text: pl.Expr) -> pl.Expr:
    """The text in half-width characters."""
    return text.str.replace_many(FULL_WIDTH, HALF_WIDTH)
