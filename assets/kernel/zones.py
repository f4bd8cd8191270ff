"""Time and volume of a day by the zones that a meter's Q1 to Q4 part (GB/T 778.1; docs/domain.md#meter-fit)."""

import numpy as np

from assets.kernel.compiled import compiled
from assets.kernel.unit import Facts, Floats, Indices, Intervals, Ints, Zones

ZONES = 6
"""No flow (or reverse), below Q1, Q1 to Q2, Q2 to Q3, Q3 to Q4, above Q4. A flow of Q1 or Q2 is in the zone that begins there, a
flow of Q3 or Q4 in the zone that ends there."""

_NEAR = 1e-9
"""A flow is a quotient: this share beside a border is on it."""


def zones_of(intervals: Intervals, facts: Facts) -> Zones:
    """The zones of every meter of the facts. A meter without a Q has no zone that begins there; holes are in none."""
    meters = len(facts.q4_m3h)
    length, volume = np.zeros((meters, ZONES), np.int64), np.zeros((meters, ZONES), np.int64)
    _add(intervals.meter, intervals.length_us, intervals.volume_nl, intervals.flow_m3h, facts, length, volume)
    return Zones(length, volume)


@compiled
def _add(
    meters: Indices, lengths_us: Ints, volumes_nl: Ints, flows_m3h: Floats, facts: Facts, length_us: Ints, volume_nl: Ints
) -> None:
    for place in range(len(meters)):
        flow = flows_m3h[place]
        if np.isnan(flow):
            continue
        meter = meters[place]
        zone = 0
        if flow > 0:
            zone = 1
            if flow >= facts.q1_m3h[meter] * (1 - _NEAR):
                zone = 2
            if flow >= facts.q2_m3h[meter] * (1 - _NEAR):
                zone = 3
            if flow > facts.q3_m3h[meter] * (1 + _NEAR):
                zone = 4
            if flow > facts.q4_m3h[meter] * (1 + _NEAR):
                zone = 5
        length_us[meter, zone] += lengths_us[place]
        volume_nl[meter, zone] += volumes_nl[place]
