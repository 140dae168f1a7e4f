"""Reads a package size such as `22 LB`, `10 3/4 OZ` or `8 CT/3.5 CM` into a quantity and a unit.

The source is one free-text column written by many hands. One rule reads it: the first number that stands directly
before a unit counts, so `8 CT/3.5 CM` is 8 CT and of a multipack (`6/12 OZ`) or a range (`14-18 CT`) it is the number
at the unit. A slash is a fraction only after a whole number (`10 3/4 OZ`) or when it reads as a common one (`1/2 GAL`).
What has no number at a unit (`LARGE`, `KIT/EACH`, `PT`) is unknown. Nothing is judged here: `972430  PK`, a stock
number that slipped into the column, arrives as 972,430 packs, and the schema's range says what to make of it.
"""

import re

ALIASES = {
    "OZ": ("OZ", "OZS", "FL OZ", "Z"),  # the source itself calls fluid ounces both ways
    "LB": ("LB", "LBS"),
    "G": ("G", "GM", "GR"),
    "MG": ("MG",),
    "KG": ("KG",),
    "ML": ("ML",),
    "L": ("L", "LT", "LTR", "LRT"),
    "PT": ("PT", "PTS"),
    "QT": ("QT", "QTS"),
    "GAL": ("GAL", "GA"),
    "IN": ("IN",),
    "FT": ("FT",),
    "YD": ("YD", "YDS"),
    "CM": ("CM",),
    "MM": ("MM",),
    "SQ FT": ("SQ FT", "SQFT", "S FT"),
    "CT": ("CT", "CTS"),
    "PK": ("PK", "PKS", "PCK"),
    "PC": ("PC", "PCS"),
    "DZ": ("DZ", "DZN", "DOZ"),
    "EA": ("EA",),
    "CTN": ("CTN",),
    "CUP": ("CUP", "CUPS", "CP"),
    "STEM": ("STEM", "STEMS"),
    "LOAD": ("LOAD", "LOADS", "LD", "LDS"),
    "ROLL": ("ROLL", "ROLLS"),
    "SHEET": ("SHEET", "SHEETS"),
}
UNITS = {alias: unit for unit, aliases in ALIASES.items() for alias in aliases}

NUMBER = r"\d+\.?\d*|\.\d+"
_SIZE = re.compile(
    rf"""(?<![\d.])
    (?: (?:(?P<whole>\d{{1,3}})[ -])? (?P<part>\d{{1,2}})/(?P<of>2|4|8|16) | (?P<number>{NUMBER}) )
    [\s-]* (?P<unit>{"|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))}) (?![A-Z])""",
    re.VERBOSE,
)


def parse(text: str | None) -> tuple[float, str] | tuple[None, None]:
    """Quantity and normalised unit of a package size; (None, None) where it names none."""
    text = re.sub(r"\bHA?LF\s", "1/2 ", (text or "").upper())
    for found in _SIZE.finditer(text):
        quantity = _fraction(found) if found["of"] else float(found["number"])
        return quantity, UNITS[found["unit"]]
    return None, None


def _fraction(found: re.Match[str]) -> float:
    """A fraction where it reads as one, else the number at the unit (`4/16 OZ` is four packs of 16 OZ)."""
    whole, part, of = found["whole"], int(found["part"]), int(found["of"])
    common = part % 2 == 1 and part < of and (whole is not None or of < 16)
    return float(whole or 0) + part / of if common else float(of)
