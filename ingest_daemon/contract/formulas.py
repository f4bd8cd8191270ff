"""What a spreadsheet runs as a formula: one rule for everything that leaves as CSV."""

SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
"""How a text begins that a spreadsheet takes for a formula; an apostrophe before it makes it a text."""
