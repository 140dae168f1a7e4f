"""Words that stand where a value should: `N/A`, `-`, `unknown`, `k.A.`, `不适用`; which of them say what.

Some say that an attribute does not apply, others that nobody knows, and a catalog mixes them. A word that can only
mean one of both is taken for it. Signs (`-`, `…`) are never values; and they, like words such as `none` and `无`, which
may be values (pattern: none), mean *does not apply* where they stand in whole categories and nowhere else: at least
eight in ten of their cells lie in categories of at least 20 known cells of which at least nine in ten are that word.
Else a sign means that nobody knows, and a word such as `none` stays a value, with a comment that says so. Every
spelling is listed, because the schema compares strings, and people read it before it is used.
"""

import re
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attrgan.lake.numbers import is_text

_NOT_APPLICABLE = frozenset({
    "n/a", "n.a.", "not applicable", "does not apply", "doesn't apply", "inapplicable", "not relevant", "entfällt",
    "trifft nicht zu", "nicht zutreffend", "sans objet", "non applicable", "no aplica", "non applicabile", "n.v.t.",
    "niet van toepassing", "não se aplica", "неприменимо", "не применимо", "不适用", "不適用",
    "該当なし", "해당 없음", "해당없음",
})  # fmt: skip
_UNKNOWN = frozenset({
    "unknown", "not known", "not specified", "unspecified", "not stated", "not provided", "not available",
    "unavailable", "no data", "missing", "null", "nan", "#n/a", "undefined", "tbd", "tba", "tbc", "to be determined",
    "please select", "k.a.", "keine angabe", "unbekannt", "nicht angegeben", "inconnu", "non renseigné", "non spécifié",
    "desconocido", "sin especificar", "sconosciuto", "non specificato", "onbekend", "desconhecido", "não informado",
    "неизвестно", "не указано", "未知", "不明", "不详", "未提供", "알 수 없음", "미정",
})  # fmt: skip
_PERHAPS = frozenset({
    "none", "na", "nil", "keine", "ohne", "aucun", "ninguno", "nessuno", "geen", "нет", "无", "無", "なし", "없음",
})  # fmt: skip
LONGEST = 30
"""Characters of the longest word that is looked at."""
_SIGNS = re.compile(r"[-–—_.?…/\\*#~ ]+")
ENOUGH, WHOLE, MOST = 20, 0.9, 0.8
"""Known cells of a category; the share of them that makes it one of the word; the share of the word's cells in such."""


@dataclass
class Sentinels:
    """What was found in one column: spelling → cells."""

    not_applicable: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    perhaps: dict[str, int] = field(default_factory=dict)

    @property
    def taken(self) -> list[str]:
        """The spellings that are no values."""
        return [*self.not_applicable, *self.unknown]


def find(column: pa.ChunkedArray, category: pa.ChunkedArray | None = None) -> Sentinels:
    """The sentinels in a column of strings; none in other columns.

    Args:
        column: the cells; category: the category of the same rows, where there is one.
    """
    if not is_text(column.type):
        return Sentinels()
    found, short = Sentinels(), column.filter(pc.less_equal(pc.utf8_length(column), LONGEST))
    counts = pd.Series(short.to_pylist(), dtype=object).str.strip().value_counts()
    cells = None
    for spelling in filter(_may_be_one, counts.index):
        meaning = _meaning(spelling.casefold())
        if meaning in ("either", "perhaps"):
            cells = pd.Series(column.to_pylist(), dtype=object).str.strip() if cells is None else cells
            whole = category is not None and _fills_categories(cells, spelling, category)
            meaning = "not_applicable" if whole else "unknown" if meaning == "either" else "perhaps"
        getattr(found, meaning)[spelling] = int(counts[spelling])
    return found


def without(column: pa.ChunkedArray, found: Sentinels) -> pa.ChunkedArray:
    """The column with null in place of its sentinels: as its values alone look."""
    if not found.taken:
        return column
    taken = {*found.taken}
    cells = [None if c is None or c.strip() in taken else c for c in column.to_pylist()]
    return pa.chunked_array([pa.array(cells, column.type)])


def described(found: Sentinels) -> str:
    """The comment on an attribute's sentinels, to go behind others."""
    parts = [
        f"{_listed(cells)} {says}"
        for cells, says in (
            (found.not_applicable, "taken for `does not apply`"),
            (found.unknown, "taken for unknown"),
            (found.perhaps, "may be a value, or mean `does not apply` (not_applicable_as) or unknown (unknown_as)"),
        )
        if cells
    ]
    return "".join(f"; {part}" for part in parts)


def _listed(cells: dict[str, int]) -> str:
    return ", ".join(f"{spelling!r} ({n} cells)" for spelling, n in cells.items())


def _may_be_one(spelling: str) -> bool:
    word = spelling.casefold()
    return word in _NOT_APPLICABLE or word in _UNKNOWN or word in _PERHAPS or bool(_SIGNS.fullmatch(word))


def _meaning(word: str) -> str:
    if word in _NOT_APPLICABLE:
        return "not_applicable"
    if word in _UNKNOWN or "?" in word:
        return "unknown"
    return "perhaps" if word in _PERHAPS else "either"


def _fills_categories(cells: "pd.Series[str]", spelling: str, category: pa.ChunkedArray) -> bool:
    """Whether the word stands in whole categories and hardly anywhere else."""
    groups = pd.Series(category.to_pylist(), dtype=object).astype(str)
    known, is_it = cells.notna() & (cells != ""), cells == spelling
    sizes, times = known.groupby(groups).sum(), is_it.groupby(groups).sum()
    whole = (sizes >= ENOUGH) & (times >= WHOLE * sizes)
    return bool(whole.any() and not whole.all() and times[whole].sum() >= MOST * times.sum())
