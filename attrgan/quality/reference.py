"""What a catalog looked like at training: the distributions that drift is judged against (`attrgan.quality.drift`).

A *measure* is one label or number per item: the value of an attribute, whether it is missing, the length of a text, the
share of its words that training did not know, its script, the confidence of an answer. At training each measure gets
its bins, and the items in them are counted per category; `reference.json` in the model folder holds these counts.

Choices
- Attributes and text are measured on all rows of the training catalog, confidences on those that the model was not
  trained on, and there on cells that are really missing, answered as at night: hidden cells look different from them.
- Counts are kept per category, so that a night of a single department can be held against that department.
- One label per item, of a set its most frequent member: items are independent, members of a set are not.
- Only values of at least `COMMON` items are named, words only as hashes, numbers as tenths and as what `COMMON` items
  lie below and above: nothing rare and nobody's name is kept.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from attrgan.errors import ModelError
from attrgan.lake.cells import members_of
from attrgan.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

    from attrgan.evaluation.splits import Split
    from attrgan.model import CompletionModel

FILE = "reference.json"
COMMON = 10
"""Items from which on a value is named; the others are counted together."""
MOST_VALUES, MOST_CATEGORIES, TENTHS = 40, 40, 10
KNOWN_WORD, MOST_WORDS = 3, 10_000
"""Texts from which on a word is known, and how many are."""
TEXT_ROWS, SCORE_ROWS = 20_000, 5_000
"""Most rows of the training catalog whose text, or whose missing cells, are looked at."""
WORDS_READ, LETTERS_READ = 48, 100
OTHERS = "any other value"
EMPTY, GIVEN = "empty", "given"
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Measure:
    """One label or number per item.

    Attributes:
        level: `attribute`, `text`, `category` or `score`.
        column: the column it is about.
        of: what is measured: `values`, `missing`, `length`, `unknown words`, `script`, `mix`, `confidence`.
        cells: the items that have it, by row number; float64, or labels, or lists of labels (sets).
        worse: the label of which only more is drift; None: any change is.
        by_category: whether an item is compared with those of its category.
    """

    level: str
    column: str
    of: str
    cells: "pd.Series[Any]"
    worse: str | None = None
    by_category: bool = True

    @property
    def name(self) -> str:
        """Its key in the reference."""
        return f"{self.column}: {self.of}"


@dataclass(frozen=True)
class Bins:
    """What the cells of a measure are counted by: named values and all others, or ranges between ascending edges."""

    values: list[str] | None
    edges: list[float] | None = None

    @classmethod
    def fit(cls, cells: "pd.Series[Any]", most: int = MOST_VALUES) -> "Bins":
        """Tenths of numbers; of labels the `most` frequent ones of at least `COMMON` items."""
        if cells.dtype == np.float64:
            return cls(None, _edges(np.sort(cells.to_numpy())))
        counts = cells.explode().value_counts(sort=False)
        frequent = sorted(((-n, str(v)) for v, n in counts.items() if n >= COMMON))
        return cls([value for _, value in frequent[:most]])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def names(self) -> list[str]:
        """What each bin is called."""
        if self.values is not None:
            return [*self.values, OTHERS]
        if not self.edges:
            return ["any number"]
        between = [f"{a:.6g}" if b == _next(a) else f"{a:.6g} to below {b:.6g}" for a, b in pairwise(self.edges)]
        return [f"below {self.edges[0]:.6g}", *between, f"above {self.edges[-1]:.6g}"]

    def codes(self, cells: "pd.Series[Any]") -> np.ndarray:
        """int64 (n,): the bin of each cell; of a set that of its most frequent member."""
        if self.values is None:
            return np.searchsorted(self.edges or [], cells.to_numpy(float), side="right").astype(np.int64)
        sets = len(cells) > 0 and isinstance(cells.iloc[0], list)
        single = cells.explode() if sets else cells
        found = pd.Index(self.values, dtype=object).get_indexer(pd.Index(single, dtype=object))
        found = np.where(found < 0, len(self.values), found)
        if sets:
            found = pd.Series(found).groupby(np.repeat(np.arange(len(cells)), cells.map(len))).min().to_numpy()
        return found.astype(np.int64)


@dataclass(frozen=True)
class Fitted:
    """A measure of the training catalog: its bins, and the items in them, int64 (categories, bins)."""

    level: str
    column: str
    of: str
    worse: str | None
    by_category: bool
    bins: Bins
    counts: np.ndarray

    @property
    def rare(self) -> int | None:
        """The bin of what was rare at training: that of `worse`, else of values without a name; None: ranges."""
        if self.bins.values is None:
            return None
        return self.bins.values.index(self.worse) if self.worse in self.bins.values else len(self.bins.values)

    def count(self, cells: "pd.Series[Any]", categories: np.ndarray) -> np.ndarray:
        """The same count of other items; `categories`: int64 (rows,), the category of every row."""
        rows = categories[cells.index.to_numpy(np.int64)] if self.by_category else np.zeros(len(cells), np.int64)
        flat = rows * len(self.bins) + self.bins.codes(cells)
        return np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)


@dataclass(frozen=True)
class Reference:
    """The training catalog as drift is judged against it.

    Attributes:
        rows: rows of the training catalog.
        categories: the categories that are told apart; the last bin is all others.
        words: hashes of the words that training knew.
        measures: name → its bins and counts.
    """

    rows: int
    categories: Bins
    words: frozenset[int]
    measures: dict[str, Fitted]

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, schema: Schema, confidence: "dict[str, pd.Series[Any]]", seed: int = 0
    ) -> "Reference":
        """Measures the training catalog.

        Args:
            frame: its rows, from `to_frame`, numbered from 0.
            confidence: attribute → confidences of cells that are really missing, by row number.
        """
        categories = Bins.fit(_categories(frame, schema), MOST_CATEGORIES) if schema.category else Bins([])
        sample = sampled(len(frame), TEXT_ROWS, seed)
        words = _word_counts(frame.iloc[sample], schema)
        # an item here knows its own words: without it, as a new item meets them, each is in one item less
        empty = cls(len(frame), categories, _known(words, KNOWN_WORD + 1), {})
        of_row, found = empty.categories_of(frame, schema), {}
        for measure in empty.measure(frame, schema, sample, confidence):
            bins = Bins.fit(measure.cells)
            shape = (len(categories) if measure.by_category else 1, len(bins))
            kept = (measure.level, measure.column, measure.of, measure.worse, measure.by_category)
            fitted = Fitted(*kept, bins, np.zeros(shape, np.int64))
            counts = fitted.count(measure.cells, of_row)
            found[measure.name] = Fitted(*kept, bins, counts)
        return cls(len(frame), categories, _known(words, KNOWN_WORD), found)

    def categories_of(self, frame: pd.DataFrame, schema: Schema) -> np.ndarray:
        """int64 (rows,): the number of each row's category; a row without one is among the others."""
        found = np.full(len(frame), len(self.categories) - 1, np.int64)
        if schema.category:
            known = _categories(frame, schema)
            found[known.index] = self.categories.codes(known)
        return found

    def measure(
        self, frame: pd.DataFrame, schema: Schema, sample: np.ndarray, confidence: "dict[str, pd.Series[Any]]"
    ) -> Iterator[Measure]:
        """Everything that is measured of a catalog, the category first.

        Args:
            sample: int64, the numbers of the rows whose text is read.
            confidence: attribute → confidences of missing cells, by row number.
        """
        if schema.category:
            labels = _categories(frame, schema)
            known = self.categories.codes(labels) < len(self.categories) - 1
            seen = pd.Series(np.where(known, "known", "unknown"), labels.index, dtype=object)
            yield Measure("category", schema.category, "unknown", seen, worse="unknown", by_category=False)
            yield Measure("category", schema.category, "mix", labels, by_category=False)
        for name, attribute in schema.attributes.items():
            if attribute.mode != "off":
                if name != schema.category:
                    yield Measure("attribute", name, "values", _labels(frame, schema, name))
                yield _missing("attribute", name, frame[name])
        for name in schema.text:
            yield from self._text(name, frame[name].iloc[sample])
        for name, cells in confidence.items():
            yield Measure("score", name, "confidence", cells.astype(np.float64))

    def _text(self, name: str, cells: "pd.Series[Any]") -> Iterator[Measure]:
        yield _missing("text", name, cells)
        texts = cells.dropna()
        words = [_words(text) for text in texts]
        length = pd.Series([float(len(w)) for w in words], texts.index, dtype=np.float64)
        unknown = [sum(w not in self.words for w in ws) / len(ws) if ws else 0.0 for ws in words]
        yield Measure("text", name, "length", length)
        yield Measure("text", name, "unknown words", pd.Series(unknown, texts.index, dtype=np.float64))
        yield Measure("text", name, "script", pd.Series([_script(t) for t in texts], texts.index, dtype=object))

    def write(self, folder: Path) -> None:
        """Writes `reference.json`: the same bytes for the same catalog."""
        measures = {name: vars(m) | {"bins": vars(m.bins), "counts": m.counts.tolist()} for name, m in
                    self.measures.items()}  # fmt: skip
        found = {"rows": self.rows, "categories": self.categories.values, "words": sorted(self.words)}
        text = json.dumps(found | {"measures": measures}, ensure_ascii=False, separators=(",", ":"))
        (folder / FILE).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Reference | None":
        """The reference of a model folder; None where it has none (a model of a version without drift)."""
        if not (folder / FILE).is_file():
            return None
        try:
            found = json.loads((folder / FILE).read_text(encoding="utf-8"))
            measures = {
                name: Fitted(**m | {"bins": Bins(**m["bins"]), "counts": np.array(m["counts"], np.int64)})
                for name, m in found["measures"].items()
            }
            return cls(found["rows"], Bins(found["categories"]), frozenset(found["words"]), measures)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder / FILE} is damaged ({error}): train or fetch the model again") from error


def write_reference(
    model: "CompletionModel", frame: pd.DataFrame, features: "pa.Table", parts: "Split", folder: Path
) -> None:
    """Measures a training catalog and writes `reference.json` into the model folder.

    Args:
        frame: all rows of the catalog; features: of the same rows.
        parts: which row served what; after a second training none but the holdout is unseen.
    """
    unseen = np.concatenate([parts.validation, parts.calibration, parts.holdout])
    rows = np.sort(unseen)[sampled(len(unseen), SCORE_ROWS, 0)]
    found = confidences(model, frame.iloc[rows].reset_index(drop=True), features.take(rows))
    at_rows = {name: cells.set_axis(rows[cells.index]) for name, cells in found.items()}
    Reference.fit(frame.reset_index(drop=True), model.schema, at_rows).write(folder)


def confidences(model: "CompletionModel", frame: pd.DataFrame, features: "pa.Table") -> "dict[str, pd.Series[Any]]":
    """Attribute → the confidences of its missing cells, answered as `attrgan complete` does, by row number."""
    from attrgan.completion.complete import wanted_cells
    from attrgan.evaluation.hiding import mask_of

    wanted = wanted_cells(frame, model.schema)
    answers = model.predict(frame, model.inputs(frame, features), wanted, mask_of(wanted, model.schema))
    return {name: pd.Series(a.confidence, a.rows, dtype=np.float64) for name, a in answers.items()}


def sampled(n: int, most: int, seed: int) -> np.ndarray:
    """int64, ascending: all of n rows, or so many of them chosen at random."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _edges(numbers: np.ndarray) -> list[float]:
    """Ascending edges of tenths of sorted numbers and of both ends; a number that fills a tenth is a bin of its own."""
    if not len(numbers):
        return []
    end = min(COMMON, len(numbers)) - 1
    tenths = np.quantile(numbers, np.linspace(0, 1, TENTHS + 1)[1:-1], method="lower")
    edges, times = np.unique([numbers[end], *tenths, numbers[-1 - end]], return_counts=True)
    return np.unique([*edges, *map(_next, edges[times > 1]), _next(edges[-1])]).tolist()


def _next(number: float) -> float:
    return float(np.nextafter(number, np.inf))


def _labels(frame: pd.DataFrame, schema: Schema, name: str) -> "pd.Series[Any]":
    """The known cells of a column: float64, labels, or lists of labels."""
    cells = frame[name].dropna()
    attribute = schema.attributes.get(name)
    if attribute and attribute.kind == "numeric":
        return cells.astype(np.float64)
    return cells.map(lambda c: members_of(c) or ["(none)"]) if attribute and attribute.multi else cells


def _categories(frame: pd.DataFrame, schema: Schema) -> "pd.Series[Any]":
    labels = _labels(frame, schema, str(schema.category))
    return labels.map(str) if labels.dtype == np.float64 else labels


def _missing(level: str, name: str, cells: "pd.Series[Any]") -> Measure:
    labels = pd.Series(np.where(cells.isna(), EMPTY, GIVEN), cells.index, dtype=object)
    return Measure(level, name, "missing", labels, worse=EMPTY)


def _words(text: str) -> list[int]:
    from attrgan.features.text import hash32, tokenize

    return [hash32(word) for word, _, _ in tokenize(text)[:WORDS_READ]]


def _word_counts(frame: pd.DataFrame, schema: Schema) -> Counter[int]:
    """In how many items each word stands."""
    counts: Counter[int] = Counter()
    for texts in zip(*(frame[name] for name in schema.text), strict=True):
        counts.update({word for text in texts if isinstance(text, str) for word in _words(text)})
    return counts


def _known(counts: Counter[int], at_least: int) -> frozenset[int]:
    """The most frequent words of those that stand in so many items."""
    frequent = sorted((-n, word) for word, n in counts.items() if n >= at_least)
    return frozenset(word for _, word in frequent[:MOST_WORDS])


def _script(text: str) -> str:
    """The script of most of a text's first letters, as Unicode names it."""
    letters = _LETTER.findall(text[: 4 * LETTERS_READ])[:LETTERS_READ]
    scripts = Counter(map(_script_of, letters))
    return min(scripts, key=lambda s: (-scripts[s], s), default="none")


@lru_cache(maxsize=1 << 14)
def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "none").split()[0].split("-")[0]
