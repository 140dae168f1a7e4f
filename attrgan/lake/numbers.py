"""Numbers as catalogs write them: `1.299,00 €`, `15.6"`, `512MB` beside `1 TB`, `3-1/4 in`, `1２`, `1.5k`.

How a column writes its numbers is its *form*. It is learned from the cells as a whole and then used for both ways:

- *Read.* A cell is one number, with at most one unit. `1,299` could be either of two numbers: the cells that can only
  be read in one way say which. Where no cell says it, three digits behind a comma are thousands, and so they are behind
  a point in amounts of a currency (nobody prices in thousandths); other points are decimal. A cell that names no unit
  is in the unit that most of the others name, else in the schema's. Ranges, dimensions (`10 x 20 cm`), bounds (`5+`)
  and cells in a unit that is none of the schema's are not numbers of this attribute.
- *Write.* A number is written in one of the column's usual forms: that which covers its size, with its unit, decimals,
  thousands separator and digits. So `parse(write(x)) = x` within the column's decimals.

An attribute's `format` in the schema, an example such as `1.299,00 €`, decides where the cells do not (a night that
brings five new items says little). The form travels in the metadata of the column's field, so that all parts of a
catalog (shards, batches) are read and written alike.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attrgan.lake import units
from attrgan.schema import Attribute

LONGEST = 64
"""Characters of the longest cell that may be a number."""
SAMPLE = 20_000
"""Cells, evenly spaced, that a form is learned from."""
USUAL = 0.05
"""Share of the cells from which on a unit or another detail of writing belongs to the form."""
WEIGHT = 20
"""Cells that the schema's example stands for."""
_FINEST = 64
"""Denominator of the finest fraction that is written."""
_METADATA = b"attrgan.numbers"
_TIMES = {"k": 1e3, "mio": 1e6, "million": 1e6, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8}
_ONE_BY_ONE = {
    "−": "-", "–": "-", "‐": "-", "‑": "-", "’": "'", "‘": "'", "′": "'", "“": '"', "”": '"', "⁄": "/", "٫": ".",
    "٬": ",", "،": ",", "～": "~", "≃": "≈",
}  # fmt: skip
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_POWER = re.compile("[0-9][⁰¹²³⁴-⁹]")
_LETTER = r"[^\W\d_]"
_CELL = re.compile(
    rf"""(?P<roughly>[≈~]\s*|(?:ca|approx)\.?\s+|about\s+|约)?
    (?P<sign>[-+]?)\s*
    (?P<before>(?:[A-Za-z]{{0,3}}[$€£¥₹₽₩₺₫₴₪฿₦₱¤]|[A-Z]{{3}}|Rs\.?|R\$|kr\.?)\s*)?
    (?P<sign2>[-+]?)
    (?: (?:(?P<whole>\d{{1,6}})(?P<joint>\s+|\s*-\s*))?(?P<part>\d{{1,2}})\s*/\s*(?P<of>2|3|4|5|6|8|16|32|64)(?!\d)
      | (?P<body>\d+(?:[.,' ]\d+)*|[.,]\d+)(?P<power>[eE][-+]?\d{{1,3}})?(?:[.]|,-|,–)?)
    (?P<after>\s*-?\s*(?P<times>k(?!{_LETTER})|mio\.?(?!{_LETTER})|million|万|萬|亿|億)?\s*
      (?P<label>"|''|'|%|‰|°(?:\s*[CF])?|[$€£¥₹₽₩₺₫₴₪฿₦₱¤]
        |[A-Za-z]?m[23]|{_LETTER}+(?:[ ./]{{1,2}}{_LETTER}+){{0,2}}\.?)?)""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Cell:
    """One cell taken apart.

    Attributes:
        value: the number, were a doubtful mark decimal; without its unit.
        other: the number, were it a thousands mark; None where there is no doubt.
        times: 1,000 for `1.5k`.
        decimal, thousands, digits: the marks and the number of decimals as written (of a doubtful cell: as decimal).
        label: the unit, currency or other word beside the number.
        plain: whether the cell may serve as a model for writing (no `½`, no `≈`, no power of ten).
        fraction: what stands between the whole and its part (`3-1/4`); None where there is no fraction.
        before, after: what stands around the number, as it was received.
        marks: the received character of each mark that is not as in `decimal` and `thousands`, and of the digit zero.
    """

    value: float
    other: float | None
    times: float
    decimal: str
    thousands: str
    digits: int
    label: str
    plain: bool
    fraction: str | None
    before: str
    after: str
    marks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Variant:
    """One way in which a column writes numbers.

    Attributes:
        before, after: what stands around the number.
        factor: what the written number is multiplied with.
        digits: the usual numbers of decimals, ascending; taken is the first that says the number exactly, or the last.
        fraction: what stands between `3` and `1/4`, where parts are written so; else None.
        decimal, thousands: the marks ("": thousands are not separated).
        zero: the digit zero.
        low, high: the least and greatest absolute number written so, in the target unit.
    """

    before: str
    after: str
    factor: float
    digits: tuple[int, ...]
    fraction: str | None
    decimal: str
    thousands: str
    zero: str
    low: float
    high: float

    def write(self, number: float) -> str:
        """The number as a string."""
        written = abs(number / self.factor)
        text = self._fraction(written) or self._decimals(written)
        sign = "-" if number < 0 and text.strip("0.,") else ""
        table = {ord("."): self.decimal, ord(","): self.thousands}
        table |= {ord("0") + i: chr(ord(self.zero) + i) for i in range(10)}
        return f"{sign}{self.before}{text.translate(table)}{self.after}"

    def _decimals(self, written: float) -> str:
        if written >= 1e15:
            return repr(written)
        exact = (d for d in self.digits if math.isclose(round(written, d), written, rel_tol=1e-12, abs_tol=1e-12))
        return f"{written:{',' if self.thousands else ''}.{next(exact, self.digits[-1])}f}"

    def _fraction(self, written: float) -> str | None:
        parts = written * _FINEST
        if self.fraction is None or parts != round(parts) or written >= 1e6 or written == round(written):
            return None
        whole, part = divmod(Fraction(round(parts), _FINEST), 1)
        return f"{whole}{self.fraction}{part}" if whole else str(part)


@dataclass(frozen=True)
class Form:
    """How a column writes its numbers.

    Attributes:
        decimal: the mark that is decimal where it is doubtful.
        target: the unit or label of the numbers that are read; "" for none.
        usual: the label that most cells have among those that have one, "" for none.
        bare: what a number without a label is multiplied with.
        variants: the ways of writing, the most frequent first; at least one.
    """

    decimal: str
    target: str
    usual: str
    bare: float
    variants: tuple[Variant, ...]

    def read(self, text: str | None) -> float:
        """The number in a cell, in the target unit; NaN where the cell is none."""
        cell = parse(text) if text else None
        if cell is None or (factor := self._factor(cell.label)) is None:
            return math.nan
        return factor * cell.times * (cell.value if cell.other is None or cell.decimal == self.decimal else cell.other)

    def write(self, number: float) -> str:
        """A number in the column's own form."""
        size = abs(number)
        fitting = (v for v in self.variants if v.low <= size <= v.high)
        return next(fitting, self.variants[0]).write(number)

    def _factor(self, label: str) -> float | None:
        if not label:
            return self.bare
        found = units.factor(label, self.target) if self.target else None
        if found is not None:
            return found
        # "1299元" where the schema says "price in yuan": what nobody knows is what the column is in
        strange = not (units.known(label) and units.known(self.target))
        return 1.0 if strange and units.same(label, self.usual) else None


@lru_cache(1 << 16)
def parse(text: str) -> Cell | None:
    """A cell taken apart, or None where it is not one number with at most one label."""
    raw = text.strip()
    if len(raw) > LONGEST or _POWER.search(raw):
        return None
    found = _CELL.fullmatch(_canonical(raw))
    if not found or (found["sign"] and found["sign2"]):
        return None
    money, label = (found["before"] or "").strip(), (found["label"] or "").replace("''", '"')
    if money and (label or not _is_money(money)):
        return None
    read = _fraction(found) if found["of"] else _separated(found["body"], found["power"] or "")
    if read is None or not math.isfinite(read[0]):
        return None
    value, other, decimal, thousands, digits = read
    sign = -1 if "-" in (found["sign"], found["sign2"]) else 1
    times = _TIMES.get((found["times"] or "").casefold().rstrip("."), 1.0)
    plain = not (found["roughly"] or found["power"] or _VULGAR.search(raw))
    before, after, marks = _around(raw, found) if plain else ("", "", ())
    return Cell(
        sign * value, None if other is None else sign * other, times, decimal, thousands, digits, money or label,
        plain, (found["joint"] or " ") if found["of"] else None, before, after, marks,
    )  # fmt: skip


def _canonical(raw: str) -> str:
    """NFKC, ASCII digits and marks, single blanks; `1½` becomes `1 1/2`."""
    if raw.isascii():
        return " ".join(raw.split())
    text = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", raw)
    text = "".join(_ONE_BY_ONE.get(c, c) for c in unicodedata.normalize("NFKC", text))
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    return " ".join("".join(c for c in text if unicodedata.category(c) != "Cf").split())


def _is_money(label: str | None) -> bool:
    return bool(label and units.currencies(label))


_Read = tuple[float, float | None, str, str, int]


def _fraction(found: re.Match[str]) -> _Read | None:
    """A fraction in lowest terms: `6/12` is six packs of twelve."""
    part, of = int(found["part"]), int(found["of"])
    if part >= of or math.gcd(part, of) != 1:
        return None
    return int(found["whole"] or 0) + part / of, None, "", "", 0


def _separated(body: str, power: str) -> _Read | None:
    """Reads digits and marks: value, value were the mark a thousands mark, decimal mark, thousands mark, decimals."""
    marks, groups = re.findall(r"[.,' ]", body), re.split(r"[.,' ]", body)
    if not marks:
        return float(body + power), None, "", "", 0
    last = marks[-1]
    if last in ".," and last not in marks[:-1] and (len(marks) > 1 or not _are_groups(groups)):
        if not _are_groups(groups[:-1]) or len({*marks[:-1]}) > 1:
            return None
        whole, decimals = "".join(groups[:-1]) or "0", groups[-1]
        return float(f"{whole}.{decimals}{power}"), None, last, "".join(marks[:1][: len(marks) - 1]), len(decimals)
    if not _are_groups(groups) or len({*marks}) > 1:
        return None
    value = float("".join(groups) + power)
    if len(marks) > 1 or last in "' ":
        return value, None, "", last, 0
    return float(f"{groups[0]}.{groups[1]}{power}"), value, last, "", 3


def _are_groups(groups: Sequence[str]) -> bool:
    """Whether digits are grouped as thousands (`1 299 000`, or `12 99 000` as in India)."""
    if len(groups) == 1:
        return True
    first, *middle, last = groups
    inner = {len(g) for g in middle}
    return 1 <= len(first) <= 3 and first[0] != "0" and len(last) == 3 and (inner <= {3} or inner == {2})


def _around(raw: str, found: re.Match[str]) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """What stands before and after the number in the received text, and the received marks and zero."""
    body = found["body"] or ""
    wanted = sum(c.isdigit() for c in body or (found["whole"] or "") + found["part"] + found["of"])
    places = [i for i, c in enumerate(raw) if c.isdecimal()][:wanted]
    if len(places) < wanted:
        return "", "", ()
    start, end = places[0], places[-1] + 1
    zero = chr(ord(raw[start]) - unicodedata.decimal(raw[start]))
    between = [c for c in raw[start:end] if not c.isdecimal()]
    canonical = re.findall(r"[.,' ]", body.lstrip(".,"))
    marks = {c: r for c, r in zip(canonical, between, strict=True) if c != r} if len(between) == len(canonical) else {}
    before = re.sub(r"[-+−–]\s*", "", raw[: start - body.startswith((".", ","))])
    return before, raw[end:], (("0", zero), *marks.items())


# --- the form of a column ------------------------------------------------------------------------------------------


def learn(cells: Sequence[str | None], unit: str | None = None, example: str | None = None) -> Form:
    """The form of a column.

    Args:
        cells: its cells; None is unknown.
        unit: the unit of the numbers that are wanted; None for the one that most cells have.
        example: a number in the column's form, from the schema: decides marks and unit, and is as good as 20 cells.
    """
    known = [c for c in cells if c is not None]
    known = known[:: max(len(known) // SAMPLE, 1)]
    shown = parse(example) if example else None
    read = [cell for text in known if (cell := parse(text))] + ([shown] * WEIGHT if shown else [])
    usual = shown.label if shown and shown.label else _usual_label(read)
    form = Form(_decimal_mark(read, shown), unit or usual, usual, 1.0, ())
    labelled = sum(bool(c.label) for c in read)
    if usual and not (unit and 2 * labelled <= len(read)):
        form = replace(form, bare=form._factor(usual) or 1.0)
    return replace(form, variants=_variants(read, form))


def _usual_label(read: list[Cell]) -> str:
    """The label that most cells have, as it is mostly spelled; "" where hardly any has one."""
    keys = Counter(units.label(c.label) for c in read if c.label)
    key, count = keys.most_common(1)[0] if keys else ("", 0)
    if count < USUAL * len(read) or not count:
        return ""
    return Counter(c.label for c in read if units.label(c.label) == key).most_common(1)[0][0]


def _decimal_mark(read: list[Cell], shown: Cell | None) -> str:
    """The decimal mark of a column, of which single cells may be in doubt."""

    def mark(cell: Cell) -> str:
        if cell.other is not None:
            return ""
        return cell.decimal or {".": ",", ",": "."}.get(cell.thousands, "")

    if shown and (mark(shown) or shown.other is not None):
        return mark(shown) or {".": ",", ",": "."}[shown.decimal]
    votes = Counter(mark(c) for c in read if mark(c))
    if votes:
        return max(votes, key=lambda m: (votes[m], m == "."))
    doubtful = [c for c in read if c.other is not None]
    points = [c for c in doubtful if c.decimal == "."]
    amounts = sum(_is_money(c.label) for c in points)
    return "," if 2 * len(points) > len(doubtful) and 2 * amounts > len(points) else "."


def _variants(read: list[Cell], form: Form) -> tuple[Variant, ...]:
    """The usual ways of writing, the most frequent first."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in read:
        if cell.plain and form._factor(cell.label) is not None:
            groups.setdefault((cell.before, cell.after), []).append(cell)
    total = sum(map(len, groups.values()))
    usual = sorted((g for g in groups.items() if len(g[1]) >= USUAL * total), key=lambda g: -len(g[1]))
    variants = [_variant(before, after, cells, form) for (before, after), cells in usual]
    return tuple(variants) or (Variant("", "", 1.0, tuple(range(13)), None, form.decimal, "", "0", 0.0, math.inf),)


def _variant(before: str, after: str, cells: list[Cell], form: Form) -> Variant:
    factor = (form._factor(cells[0].label) or 1.0) * cells[0].times
    as_thousands = [c.other is not None and c.decimal != form.decimal for c in cells]
    numbers = [abs(c.other if t and c.other is not None else c.value) for c, t in zip(cells, as_thousands, strict=True)]
    digits = Counter(0 if t else c.digits for c, t in zip(cells, as_thousands, strict=True))
    decimals = [d for d, n in digits.items() if n >= USUAL / 10 * len(cells)]
    parts = [c for c, n in zip(cells, numbers, strict=True) if n != round(n)]
    fractions = [c.fraction for c in parts if c.fraction is not None]
    joint = Counter(fractions).most_common(1)[0][0] if 2 * len(fractions) > len(parts) else None
    thousands = Counter(
        c.decimal if t else c.thousands for c, t, n in zip(cells, as_thousands, numbers, strict=True) if n >= 1000
    )
    mark = thousands.most_common(1)[0][0] if thousands else ""
    received = {c: r for cell in cells for c, r in cell.marks}
    zero, decimal = received.pop("0", "0"), form.decimal
    return Variant(
        before, after, factor, tuple(sorted(decimals)), joint, received.get(decimal, decimal),
        received.get(mark, mark), zero, factor * min(numbers), factor * max(numbers),
    )  # fmt: skip


# --- columns -------------------------------------------------------------------------------------------------------


def form_of(field: pa.Field, column: pa.Array, attribute: Attribute) -> Form:
    """The form of a column of strings: the one that its field carries, else the one that its cells show."""
    if not carries_form(field, attribute):
        return learn(column.to_pylist(), attribute.unit, attribute.format)
    carried = json.loads(field.metadata[_METADATA])
    variants = (Variant(**v | {"digits": tuple(v["digits"])}) for v in carried["form"].pop("variants"))
    return Form(**carried["form"], variants=tuple(variants))


def carries_form(field: pa.Field, attribute: Attribute) -> bool:
    """Whether a column of strings carries the form of its numbers, learned for this attribute."""
    carried = json.loads((field.metadata or {}).get(_METADATA, b"{}"))
    return bool(carried.get("asked") == [attribute.unit, attribute.format])


def with_form(field: pa.Field, form: Form, attribute: Attribute) -> pa.Field:
    """The field, carrying the form that was learned for this attribute."""
    carried = {"form": asdict(form), "asked": [attribute.unit, attribute.format]}
    return field.with_metadata({_METADATA: json.dumps(carried).encode()})


def numbers_of(field: pa.Field, column: pa.Array, attribute: Attribute) -> np.ndarray:
    """float64 (rows,): the numbers of a numeric attribute in the schema's unit, NaN where there is none."""
    if not is_text(column.type):
        return parse_numbers(column)
    return read_numbers(column, form_of(field, column, attribute))


def read_numbers(column: pa.Array, form: Form) -> np.ndarray:
    """float64 (rows,): the numbers in a column of strings written in a form, NaN where there is none."""
    numbers = parse_numbers(column) * form.bare
    plain = np.isfinite(numbers) & (form.decimal == ".")
    rest = pc.if_else(pa.array(plain), None, column).dictionary_encode()
    values = np.array([*(form.read(text) for text in rest.dictionary.to_pylist()), math.nan])
    return np.where(plain, numbers, values[np.asarray(rest.indices.fill_null(len(values) - 1))])


def parse_numbers(column: pa.Array) -> np.ndarray:
    """float64 (rows,): the numbers in a column of any scalar type, of text only as a program writes them, else NaN."""
    if is_text(column.type):
        return pd.to_numeric(pd.Series(column.to_pylist(), dtype=object), errors="coerce").to_numpy(
            float, na_value=np.nan
        )
    return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def is_text(kind: pa.DataType) -> bool:
    """Whether cells of this type are strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
