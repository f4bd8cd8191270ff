"""Identifiers of meters, customers and bills are compared in half-width characters, whichever keyboard wrote them."""

import polars as pl

FULL_WIDTH = [chr(code) for code in range(0xFF01, 0xFF5F)]
HALF_WIDTH = [chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)]
"""The full-width forms of ASCII characters (０-９, Ａ-Ｚ, －) and these characters."""

HALF_WIDTH_OF = str.maketrans(dict(zip(FULL_WIDTH, HALF_WIDTH, strict=True)))
"""For `str.translate`."""


def half_width(text: pl.Expr) -> pl.Expr:
    """The text in half-width characters."""
    return text.str.replace_many(FULL_WIDTH, HALF_WIDTH)
