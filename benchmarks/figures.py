"""Figures with their spread, goals and the table of results. Nothing is measured here."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


class Unable(Exception):
    """A probe cannot run on this machine: the text names what is missing and what to do."""


@dataclass(frozen=True)
class Goal:
    """The goal for a figure's median: at least or at most a value in the figure's own unit."""

    value: float
    at_least: bool

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.value:g}"

    def met(self, value: float) -> bool:
        """Whether a median meets the goal."""
        return value >= self.value if self.at_least else value <= self.value


@dataclass(frozen=True)
class Figure:
    """One measured thing: a value a round. `goal`: None for what is only told. `note`: sizes, and what is in it."""

    probe: str
    what: str
    values: Sequence[float]
    unit: str
    goal: Goal | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The middle one of the rounds."""
        return median(self.values)

    def row(self) -> dict[str, Any]:
        """The figure as JSON."""
        judged = {"goal": str(self.goal), "met": self.goal.met(self.median)} if self.goal else {}
        return {**asdict(self), "median": self.median, "low": min(self.values), "high": max(self.values), **judged}


def at_least(value: float) -> Goal:
    """A goal from below."""
    return Goal(value, True)


def at_most(value: float) -> Goal:
    """A goal from above."""
    return Goal(value, False)


def ratios(values: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Round by round, a value in parts of the limit that was measured beside it."""
    return [value / limit for value, limit in zip(values, limits, strict=True)]


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table: median [lowest-highest] of n rounds, and whether the goal is met."""
    lines = ["| | figure | median [min–max] | n | goal | |", "|---|---|---|---|---|---|"]
    for figure in figures:
        spread = f" [{_said(min(figure.values))}–{_said(max(figure.values))}]" if len(figure.values) > 1 else ""
        what = figure.what + (f" ({figure.note})" if figure.note else "")
        goal, met = (str(figure.goal), "✓" if figure.goal.met(figure.median) else "✗") if figure.goal else ("", "")
        unit = f" {figure.unit}" if figure.unit else ""
        lines.append(
            f"| {figure.probe} | {what} | {_said(figure.median)}{spread}{unit} | {len(figure.values)} | {goal} | {met} |"
        )
    return "\n".join(lines)


def _said(value: float) -> str:
    """Three digits that count; whole numbers from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
