"""Units that meters count in, as exact factors to the units of the store. No protocol's codes."""

from fractions import Fraction

GALLON, FOOT3 = Fraction("0.003785411784"), Fraction("0.028316846592")
"""The gallon of the USA and the cubic foot in m³."""
VOLUMES = {
    "m3": Fraction(1),
    "L": Fraction(1, 1000),
    "mL": Fraction(1, 10**6),
    "mm3": Fraction(1, 10**9),
    "hL": Fraction(1, 10),
    "ML": Fraction(1000),
    "km3": Fraction(1000),
    "Mm3": Fraction(10**6),
    "gal": GALLON,
    "kgal": 1000 * GALLON,
    "Mgal": 10**6 * GALLON,
    "igal": Fraction("0.00454609"),
    "ft3": FOOT3,
    "bbl": 42 * GALLON,
    "acre-ft": 43560 * FOOT3,
}
"""Volumes in m³; km3 is a thousand cubic metres, Mm3 a million, gal and bbl those of the USA, igal the imperial one."""
_PER = {"s": Fraction(3600), "min": Fraction(60), "h": Fraction(1), "d": Fraction(1, 24)}
FLOWS = {f"{volume}/{time}": factor * per for volume, factor in VOLUMES.items() for time, per in _PER.items()}
"""Flows in m³/h."""
PRESSURES = {
    "MPa": Fraction(1),
    "kPa": Fraction(1, 1000),
    "Pa": Fraction(1, 10**6),
    "bar": Fraction(1, 10),
    "mbar": Fraction(1, 10**4),
    "mH2O": Fraction("0.00980665"),
    "kgf/cm2": Fraction("0.0980665"),
    "psi": Fraction("0.006894757293168"),
}
"""Pressures in MPa."""
UNITS: dict[str, dict[str, Fraction]] = {
    "m³": VOLUMES,
    "m³/h": FLOWS,
    "MPa": PRESSURES,
    "V": {"V": Fraction(1), "mV": Fraction(1, 1000)},
    "": {"": Fraction(1)},
}
"""The units in which a field may be given, and their factors to the field's own unit."""
