"""The kernel of the figures: one pass over one unit (a local day × some meters), arrays only, no file, frame or table.

    readings of the unit and its edges ──steps.py──▶ steps of the register curve ──aggregate.py──▶ hours, day, peaks, intervals …
                                         chain.py: only meters whose readings contradict each other

Volumes are whole nanolitres and times whole microseconds, so results do not depend on the order of sums, on how units are cut or
on the number of threads. A unit looks at no other unit. `compute` is the whole of it.
"""

from assets.kernel.aggregate import compute
from assets.kernel.unit import (
    MISSING,
    NL_PER_M3,
    NL_PER_UL,
    PER_M3,
    UNCLEAN,
    Changes,
    Criteria,
    Day,
    Facts,
    Flag,
    Readings,
    Result,
)

__all__ = [
    "MISSING",
    "NL_PER_M3",
    "NL_PER_UL",
    "PER_M3",
    "UNCLEAN",
    "Changes",
    "Criteria",
    "Day",
    "Facts",
    "Flag",
    "Readings",
    "Result",
    "compute",
]
