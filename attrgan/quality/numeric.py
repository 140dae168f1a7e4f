"""What `attrgan infer-schema` guesses about a column of numbers, and says about text that holds several of them.

Choices: whole numbers between 1900 and 2100 are years, of which only the very one is right; a unit is taken from the
cells, else from the end of the column's name; where people wrote the numbers, one of the cells becomes the `format` of
the schema, so that later parts of the catalog are read and written alike. A cell with dimensions (`10 x 20 x 5 cm`) or
a column of units that are not one another (`80 LB`, `4 CT`) is no number: it stays what its vocabulary makes of it, and
the comment says that one numeric column for each number would be predicted better.
"""

import re
from collections import Counter
from typing import Any

import numpy as np

from attrgan.lake import units
from attrgan.lake.numbers import USUAL, parse
from attrgan.quality.profile import Profile

YEARS = (1900.0, 2100.0)
_YEAR = re.compile(r"year|jahr|ann[ée]e|año|anno|год|年份|年代|年度|年款", re.IGNORECASE)
_UNITS = ("usd", "eur", "gbp", "cny", "kg", "g", "lb", "oz", "cm", "mm", "inch", "gb", "mb", "ml", "w", "percent")
_DIMENSIONS = re.compile(r"\D{0,12}\d[\d.,/\s]*\D{0,12}?[x×*]\D{0,4}\d.{0,24}", re.IGNORECASE)


def guess(profile: Profile) -> tuple[dict[str, Any], str]:
    """The schema's entry for a column of numbers, and why."""
    numbers = profile.numbers[np.isfinite(profile.numbers)]
    entry: dict[str, Any] = {"kind": "numeric"}
    if unit := _unit(profile):
        entry["unit"] = unit
    if example := _example(profile):
        entry["format"] = example
    whole = bool(np.all(numbers == np.round(numbers)))
    why = f"numeric: {profile.distinct} different {'whole ' if whole else ''}numbers "
    why += f"from {numbers.min():g} to {numbers.max():g}"
    if whole and YEARS[0] <= numbers.min() and numbers.max() <= YEARS[1]:
        entry |= {"min": YEARS[0], "max": YEARS[1], "tolerance": 0.0}
        named = "its name says years" if _YEAR.search(profile.name) else "all lie between 1900 and 2100, as years do"
        why += f"; {named}: only the very year is right (tolerance 0)"
    elif numbers.min() >= 0:
        entry["min"] = 0.0
        why += "; none is negative, so less than 0 is refused"
    return entry, why + _remarks(profile, numbers)


def _unit(profile: Profile) -> str | None:
    """The unit that the cells name, else the one that the column's name ends with."""
    if profile.form and profile.form.target:
        codes = units.currencies(profile.form.target)
        return min(codes) if len(codes) == 1 else profile.form.target
    inside = re.search(r"[(\[（]\s*([^()\[\]（）]+?)\s*[)\]）]$", profile.name)
    if inside and units.known(inside[1]):
        return inside[1]
    unit = next((u for u in _UNITS if re.search(rf"[_\-. (]{u}\)?$", profile.name.lower())), None)
    return unit.upper() if unit in _UNITS[:4] else unit


def _example(profile: Profile) -> str | None:
    """The cell that shows best how the column's numbers are written, where people wrote them."""
    if not profile.form:
        return None
    model = profile.form.variants[0]
    cells = {str(cell): parse(str(cell)) for cell in profile.values}
    usual = {c: p for c, p in cells.items() if p and p.plain and (p.before, p.after) == (model.before, model.after)}
    best = max(usual, key=lambda c: (bool(usual[c].thousands), usual[c].digits, -len(c)), default="")
    if not best or usual[best].other is not None:
        return model.write(1234.5 * model.factor)
    return best.strip()


def _remarks(profile: Profile, numbers: np.ndarray) -> str:
    """What people should look at before they use the column."""
    remarks = ""
    if strange := len(profile.values) - len(numbers) if profile.form else 0:
        remarks += f"; {strange} of {len(profile.values)} cells are no such numbers: their rows will be quarantined"
    most = float(np.quantile(numbers, 0.99))
    if most > 0 and numbers.max() > 100 * most:
        remarks += f"; 99% are at most {most:g}: a `max` would refuse what slipped into the column"
    return remarks


def holds_dimensions(profile: Profile) -> bool:
    """Whether most cells look like `10 x 20 x 5 cm`."""
    return profile.shape == "text" and profile.matching(_DIMENSIONS) >= 0.5


def more_than_one_number(profile: Profile) -> str:
    """What to say of text whose cells hold several numbers, or numbers in units that are not one another."""
    if holds_dimensions(profile):
        return "; it holds dimensions such as 10 x 20 cm: a numeric column for each would be predicted better"
    if found := _units_of(profile):
        return (
            f"; it holds numbers in units that are not one another ({', '.join(found)}): a numeric column with a "
            "column for its unit beside it would be predicted better"
        )
    return ""


def _units_of(profile: Profile) -> list[str]:
    """The usual units of cells that are mostly single numbers, where there are several kinds of them."""
    read = [parse(str(value)) for value in profile.values]
    labels = Counter(cell.label for cell in read if cell)
    if sum(labels.values()) < 0.5 * len(read):
        return []
    usual = [label for label, n in labels.most_common(6) if label and n >= USUAL * len(read)]
    distinct: list[str] = []
    for name in usual:
        if all(units.factor(name, other) is None for other in distinct):
            distinct.append(name)
    return distinct if len(distinct) > 1 and any(map(units.known, distinct)) else []
