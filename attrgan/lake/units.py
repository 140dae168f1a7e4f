"""Units of measure and currencies as catalogs write them, and what one is in another.

Choices: pint knows the units and their sizes, the Unicode CLDR (through Babel) their names in other languages (`Zoll`,
`英寸`) and the symbols of currencies; only what neither has, or what catalogs mean differently, is listed here. A unit
is read as it is written (`mW` is not `MW`), then without its case, and among the readings the one is taken that
measures what is asked for, so `16 OZ` is a volume where millilitres are wanted. Storage sizes are powers of 1,000, as
on the box of a disk, and `Gb` is `GB`; powers of 1,024 are written `KiB`, `MiB`, `GiB`. Currencies are names: no rate
is known, so no amount of one is ever an amount of another. What nobody knows (`ct`, `loads`) is a label, equal to
itself alone.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_AS_CATALOGS_MEAN_IT = {
    '"': ["inch"], "'": ["foot"], "in.": ["inch"], "oz": ["ounce", "fluid_ounce"], "fl oz": ["fluid_ounce"],
    "gr": ["gram"], "gm": ["gram"], "ltr": ["liter"], "lt": ["liter"], "gb": ["gigabyte"], "tb": ["terabyte"],
    "kb": ["kilobyte"], "mb": ["megabyte"], "sq ft": ["foot ** 2"], "sqft": ["foot ** 2"], "sq in": ["inch ** 2"],
    "fps": [], "ct": [], "pcs": [], "pk": [], "dpi": [], "mp": [], "hr": ["hour"], "hrs": ["hour"],
    "mhz": ["megahertz"], "ghz": ["gigahertz"], "khz": ["kilohertz"], "mo": [],
    "st": [], "nd": [], "rd": [], "th": [],
}  # fmt: skip
"""Written without its case → what pint calls it; nothing: a label (`ct` is a count in more catalogs than carats)."""
_USUAL = ("m", "m ** 2", "m ** 3", "kg", "s", "W", "J", "Hz", "V", "A", "A * s", "bit", "Pa", "N", "lm", "ohm", "m / s")
"""What catalogs measure; a label that reads as anything else (`M`, molar; `K`, kelvin) stays a label."""
_LANGUAGES = (
    "en", "ar", "bg", "ca", "cs", "da", "de", "el", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu", "id", "it",
    "ja", "ko", "lt", "lv", "ms", "nb", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "th", "tr", "uk", "vi",
    "zh", "zh_Hant", "en_AU", "en_CA", "es_MX", "pt_PT",
)  # fmt: skip
_MORE_CURRENCY_NAMES = {
    "us$": "USD", "人民币": "CNY", "rmb": "CNY", "円": "JPY", "원": "KRW", "rs.": "INR", "руб": "RUB",
}  # fmt: skip
LONGEST = 24
"""Characters of the longest label that is looked up."""


def label(text: str) -> str:
    """A label as labels are compared: without its case, a full stop at its end, or blanks around it."""
    text = " ".join(text.split()).casefold()
    return text if text == "in." else text.rstrip(".")


def same(first: str, second: str) -> bool:
    """Whether two labels say the same: equal but for case, full stop and a plural s, or names of one currency."""
    a, b = label(first), label(second)
    return a == b or a.removesuffix("s") == b.removesuffix("s") != "" or bool(currencies(first) & currencies(second))


def known(text: str) -> bool:
    """Whether the label names a unit or a currency."""
    return bool(currencies(text)) or bool(_readings(text))


@lru_cache(4096)
def factor(text: str, target: str) -> float | None:
    """What one `text` is in `target`: 25.4 for an inch in mm; None where one cannot be the other."""
    for wanted, root_wanted in _readings(target)[:1]:
        for size, root in _readings(text):
            if root == root_wanted:
                return float(f"{size / wanted:.13g}")  # pint's sizes end in rounding errors
    return 1.0 if same(text, target) else None


@lru_cache(4096)
def currencies(text: str) -> frozenset[str]:
    """The ISO 4217 codes that a name or symbol may stand for (`$` may be USD, AUD, …); none where it is no currency."""
    name = " ".join(text.split()).casefold()
    return _currency_names().get(name, frozenset())


@lru_cache(1)
def _currency_names() -> dict[str, frozenset[str]]:
    from babel import Locale
    from babel.numbers import list_currencies

    names: dict[str, set[str]] = {code.casefold(): {code} for code in list_currencies()}
    for language in _LANGUAGES:
        for code, symbol in Locale.parse(language).currency_symbols.items():
            names.setdefault(symbol.strip("\u200e\u200f").casefold(), set()).add(code)
    for name, code in _MORE_CURRENCY_NAMES.items():
        names.setdefault(name, set()).add(code)
    names["¥"] = names["￥"] = names.get("¥", set()) | {"CNY", "JPY"}
    return {name: frozenset(codes) for name, codes in names.items()}


@lru_cache(4096)
def _readings(text: str) -> tuple[tuple[float, str], ...]:
    """(size in root units, root units) of every unit that the label may be, the likeliest first."""
    if not 0 < len(text) <= LONGEST:
        return ()
    for names in _names(" ".join(text.split())):
        sizes = dict.fromkeys(size for name in names if (size := _size(name)))
        if found := tuple(size for size in sizes if size[1] in _usual()):
            return found
    return ()


def _names(text: str) -> Iterator[list[str]]:
    """What pint may call the unit: the surest names first, the next only where none of these is a usual unit."""
    lower = label(text)
    if (meant := _AS_CATALOGS_MEAN_IT.get(lower)) is not None:
        yield meant
        return
    if re.fullmatch(r"[a-z]?m[2²3³]", lower):
        yield [f"{lower[:-1]} ** {'2' if lower[-1] in '2²' else '3'}"]
    # capitals alone say nothing about prefixes, except of bytes and watts: ML is a millilitre, MB no millibyte
    loud = len(text) > 1 and text.isupper() and text[-1] not in "BW"
    for spelling in (lower, text) if loud else (text, lower):
        yield _parsed(spelling, case_sensitive=True)
    yield _parsed(text, case_sensitive=False)
    yield _cldr_names().get(lower, [])


def _parsed(text: str, case_sensitive: bool) -> list[str]:
    name = text.replace(" ", "_")
    if not name.replace("_", "a").isalpha():
        return []
    return [prefix + unit for prefix, unit, _ in _registry().parse_unit_name(name, case_sensitive=case_sensitive)]


@lru_cache(4096)
def _size(name: str) -> tuple[float, str] | None:
    from pint import PintError

    try:
        size, root = _registry().get_root_units(name)
    except (PintError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return float(size), str(root)


@lru_cache(1)
def _usual() -> frozenset[str]:
    return frozenset(root[1] for name in _USUAL if (root := _size(name)))


@lru_cache(1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry()


@lru_cache(1)
def _cldr_names() -> dict[str, list[str]]:
    """Names of units in all languages → what pint calls them (CLDR's names are the same, hyphened)."""
    from babel import Locale

    names: dict[str, list[str]] = {}
    for language in _LANGUAGES:
        for unit, lengths in Locale.parse(language)._data["unit_patterns"].items():
            english = unit.partition("-")[2].replace("-", "_")
            for pattern in _patterns(lengths):
                known_as = names.setdefault(label(pattern.replace("{0}", "")), [])
                if english not in known_as:
                    known_as.append(english)
    return names


def _patterns(tree: Any) -> Iterator[str]:
    if isinstance(tree, Mapping):
        for branch in tree.values():
            yield from _patterns(branch)
    elif isinstance(tree, str) and tree.count("{0}") == 1:
        yield tree
