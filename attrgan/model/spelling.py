"""How a value that is copied out of a text is written: as the text writes it or not, and with which marks around it.

The network chooses words. Whether `17` is meant or `17"`, `SPF 50` or `SPF 50+`, the column decides: of its values that
stand in the training rows' texts, does the mark that touches them more often belong to them or not? A bracket that a
value opens it also closes; a mark that touches it on both sides (`the "Queen" bed`) quotes it, and is none of its own.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from attrgan.evaluation.splits import evenly_spread
from attrgan.features import text
from attrgan.schema import Schema

OPENED_BY = {")": "(", "]": "[", "}": "{", "）": "（", "】": "【", "」": "「", "》": "《"}
CELLS = 20_000
"""Known cells of an attribute that are looked at, evenly spread over the rows."""


@dataclass(frozen=True)
class Spelling:
    """How the values of an open attribute are written.

    Attributes:
        verbatim: as the item's own text writes them; else in one form of the column's own.
        before, after: the marks that belong to a value when they touch it.
    """

    verbatim: bool = False
    before: str = ""
    after: str = ""

    def extend(self, cell: str, start: int, end: int) -> tuple[int, int]:
        """Start and end of the words `cell[start:end]` with their marks."""
        if _quoted(cell, start, end):
            return start, end
        while start and cell[start - 1] in self.before:
            start -= 1
        while end < len(cell) and (cell[end] in self.after or _closes(cell, start, end)):
            end += 1
        return start, end


@dataclass(frozen=True)
class _Place:
    """Where a known value's words first stand in the item's text, and the value's own first and last words."""

    value: str
    cell: str
    start: int
    end: int
    first: int
    last: int


def learn(frame: pd.DataFrame, schema: Schema) -> dict[str, Spelling]:
    """Open attribute → how its values are written, learned from training rows.

    Where an attribute shows as much for as against, or nothing at all, all of them together decide.
    """
    names = [n for n, a in schema.attributes.items() if a.kind == "open" and not a.multi]
    known = {name: frame[frame[name].notna()] for name in names}
    places = {n: list(_places(rows.iloc[evenly_spread(len(rows), CELLS)], n, schema)) for n, rows in known.items()}
    before, after = (_belonging({n: _marks(at, side) for n, at in places.items()}) for side in ("before", "after"))
    found = {name: Spelling(before=before[name], after=after[name]) for name in names}
    excess = {name: _copied_more_often(places[name], spelling) for name, spelling in found.items()}
    return {n: replace(s, verbatim=(excess[n] or sum(excess.values())) > 0) for n, s in found.items()}


def _belonging(counts: dict[str, Counter[str]]) -> dict[str, str]:
    """Attribute → the marks of which more belong to values than do not; counts: attribute → mark → excess."""
    total: Counter[str] = Counter()
    for of in counts.values():
        total.update(of)
    return {n: "".join(sorted(mark for mark in total if (of[mark] or total[mark]) > 0)) for n, of in counts.items()}


def _marks(places: list[_Place], side: str) -> Counter[str]:
    """In how many more cells a mark that stands before, or after, a value is part of it."""
    excess: Counter[str] = Counter()
    for p in places:
        at = p.start - 1 if side == "before" else p.end
        mark = p.cell[at : at + 1] if at >= 0 else ""
        if not mark or not _is_mark(mark) or _quoted(p.cell, p.start, p.end):
            continue
        if side == "after" and _closes(p.cell, p.start, p.end):
            continue
        belongs = p.value[: p.first].endswith(mark) if side == "before" else p.value[p.last :].startswith(mark)
        excess[mark] += 1 if belongs else -1
    return excess


def _copied_more_often(places: list[_Place], spelling: Spelling) -> int:
    """In how many more cells the value is exactly what stands in the text than exactly what is usual in its column."""
    words = {p.value: tuple(w for w, _, _ in text.tokenize(p.value)) for p in places}
    usual: dict[tuple[str, ...], str] = {}
    for value, _ in Counter(p.value for p in places).most_common():
        usual.setdefault(words[value], value)
    excess = 0
    for p in places:
        start, end = spelling.extend(p.cell, p.start, p.end)
        excess += (p.cell[start:end] == p.value) - (usual[words[p.value]] == p.value)
    return excess


def _places(known: pd.DataFrame, name: str, schema: Schema) -> Iterator[_Place]:
    """Where the values of known cells stand, those that do."""
    for value, texts in zip(known[name], text.texts_of(known, schema), strict=True):
        words = text.tokenize(value)
        for cell in texts:
            tokens = text.read(text.tokenize(cell)) if isinstance(cell, str) else []
            at = next((i for i in range(len(tokens)) if words and _same(tokens[i : i + len(words)], words)), None)
            if at is not None:
                end = tokens[at + len(words) - 1][2]
                yield _Place(value, str(cell), tokens[at][1], end, words[0][1], words[-1][2])
                break


def _same(part: list[tuple[str, int, int]], words: list[tuple[str, int, int]]) -> bool:
    return [w for w, _, _ in part] == [w for w, _, _ in words]


def _quoted(cell: str, start: int, end: int) -> bool:
    """Whether one and the same mark stands directly before and behind `cell[start:end]`."""
    return start > 0 and end < len(cell) and cell[start - 1] == cell[end] and _is_mark(cell[end])


def _is_mark(character: str) -> bool:
    return not character.isspace() and not character.isalnum()


def _closes(cell: str, start: int, end: int) -> bool:
    """Whether the character at `end` closes a bracket that was opened between start and end."""
    opened = OPENED_BY.get(cell[end])
    return opened is not None and cell.count(opened, start, end) > cell.count(cell[end], start, end)
