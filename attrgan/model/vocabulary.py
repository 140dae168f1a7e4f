"""What a model learned to name: the values of each attribute, the bins of each number, the words it has seen.

Everything is fitted on training rows only, and saved as JSON (strings) and arrays (numbers).

The values of a `multi` attribute are the members of its sets (`sets.py`), `n/a` among them.

Numbers: a value that is frequent is an *atom* of its own (RAM comes in powers of two, prices end in 9), the rest falls
into quantile bins. A prediction is a distribution over atoms and bins, so the value with the largest mass within the
attribute's tolerance, its probability and an interval all come from one softmax.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.features import image, sequence, text
from attrgan.lake.cells import canonical, members_of
from attrgan.model import spelling
from attrgan.model.sets import Sets
from attrgan.model.spelling import Spelling
from attrgan.schema import NOT_APPLICABLE, Schema

MAX_VALUES = 8000
BINS, MOST_BINS = 96, 192
"""Bins of a number: of which eight values each are known, and where many are known, 32."""
EDGES = 32
MOST_FLOAT = float(np.finfo(np.float32).max)
"""What a larger number is to the network."""
MAX_WORDS = 40_000
MAX_GRAMS = 30_000
MAX_PHRASE = 8
"""Words of the longest span that can be copied."""
EXACT = 0.02
"""What being exactly right is worth beside being right within tolerance."""
VECTORS = {"language": "language.sentence", "image": "image.vector"}
"""Pretrained level → the feature column that holds one vector per item (made of parts, as its encoder says)."""
MAX_COMPONENTS, MAX_FIT = 256, 4000
FARTHEST = 20.0
"""Standard deviations beyond which a component or a step is no farther: nothing so far out was trained on."""


@dataclass(frozen=True)
class Values:
    """The known values of a categorical or open attribute, most frequent first."""

    values: list[str]
    counts: np.ndarray

    @classmethod
    def fit(cls, cells: pd.Series, given: list[str] | None) -> "Values":
        """Counts the values of the known cells; `given` closes the vocabulary (`n/a` may always occur)."""
        counts = cells.dropna().value_counts(sort=False)
        if given is not None:
            given = [canonical(value) for value in given]  # as the cells are
            allowed = [*given, NOT_APPLICABLE] if NOT_APPLICABLE in counts.index else given
            counts = counts.reindex(pd.Index(allowed).drop_duplicates(), fill_value=0)
        order = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:MAX_VALUES]
        return cls([str(v) for v, _ in order], np.array([n for _, n in order], np.int64))

    def codes(self, cells: pd.Series) -> np.ndarray:
        """int64 (rows,): the index of each cell's value, −1 where it is null or not known."""
        return pd.Index(self.values, dtype=object).get_indexer(pd.Index(cells, dtype=object))


@dataclass(frozen=True)
class Numbers:
    """The atoms and quantile bins of a numeric attribute, in ascending order of `value`.

    Attributes:
        value: float64 (K,): the median of the bin's training values; what is written when the bin is chosen.
        low, high: float64 (K,): the range of the bin's training values.
        atom: bool (K,): whether the bin is a single value.
        within: float32 (K, K): `within[i, j]` is the share of bin j's training values within tolerance of `value[i]`.
        edges: float64 (E,): ascending quantiles, the knots of the piecewise-linear encoding of an input.
        count: int64 (K,): training values in each bin; one bin of none where no training row knows a number.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    atom: np.ndarray
    within: np.ndarray
    edges: np.ndarray
    count: np.ndarray

    @classmethod
    def fit(cls, cells: np.ndarray, tolerance: float) -> "Numbers":
        """Fits atoms and bins on the known values, float64 (n,) without NaN."""
        known = np.sort(cells.astype(np.float64)) if len(cells) else np.zeros(1)
        unique, counts = np.unique(known, return_counts=True)
        # a bin of which two values are known is learned by nobody
        bins = max(min(len(known) // 8, BINS), min(len(known) // 32, MOST_BINS), 16)
        many = len(unique) > max(bins, BINS)
        atoms = unique[counts >= max(2, len(known) / (2 * bins))] if many else unique
        groups = [np.full(int(counts[unique == a][0]), a) for a in atoms]
        rest = known[~np.isin(known, atoms)]
        groups += [g for g in np.array_split(rest, max(bins - len(atoms), 16)) if len(g)]
        # a bin's own value is one that occurred, so that what is written is a number of the catalog
        groups.sort(key=lambda g: (float(g[(len(g) - 1) // 2]), float(g[0])))
        value = np.array([g[(len(g) - 1) // 2] for g in groups])
        within = np.stack([_share_right(g, value, tolerance) for g in groups], 1)
        return cls(
            value=value,
            low=np.array([g[0] for g in groups]),
            high=np.array([g[-1] for g in groups]),
            atom=np.array([g[0] == g[-1] for g in groups]),
            within=within.astype(np.float32),
            edges=np.unique(np.quantile(known.clip(-MOST_FLOAT, MOST_FLOAT), np.linspace(0, 1, EDGES))),
            count=np.array([len(g) for g in groups] if len(cells) else [0], np.int64),
        )

    def codes(self, numbers: np.ndarray) -> np.ndarray:
        """int64 (rows,): the atom or bin of each number, −1 for NaN."""
        atoms = np.flatnonzero(self.atom)
        bins = np.flatnonzero(~self.atom)
        finite = np.nan_to_num(numbers.astype(np.float64))
        if len(bins):
            codes = bins[np.clip(np.searchsorted(self.high[bins], finite), 0, len(bins) - 1)]
        else:
            codes = _nearest(self.value, finite)
        if len(atoms):
            at = atoms[_nearest(self.value[atoms], finite)]
            codes = np.where(self.value[at] == finite, at, codes)
        return np.where(np.isnan(numbers), -1, codes)

    def likeliest(self, probability: np.ndarray) -> np.ndarray:
        """int64 (n,): the bin whose value is right most probably, given the bins' probabilities, float64 (n, K).

        Of values that are about as often within tolerance (15 and 15.6, where nearly all are 15.6) the very one counts.
        """
        return np.asarray((probability @ self.within.T.astype(np.float64) + EXACT * probability).argmax(1))


def _share_right(group: np.ndarray, value: np.ndarray, tolerance: float) -> np.ndarray:
    """(K,): the share of the group's values that each of `value` would answer rightly (as `metrics.is_right`)."""
    sample = group[:: max(len(group) // 200, 1)]
    allowed = np.where(sample == 0, 1e-9, tolerance * np.abs(sample) * (1 + 1e-9))
    return np.asarray((np.abs(value[:, None] - sample) <= allowed).mean(1))


def _nearest(sorted_values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    right = np.clip(np.searchsorted(sorted_values, numbers), 0, len(sorted_values) - 1)
    left = np.maximum(right - 1, 0)
    closer = np.abs(numbers - sorted_values[left]) <= np.abs(sorted_values[right] - numbers)
    return np.where(closer, left, right)


@dataclass(frozen=True)
class Hashes:
    """The hashes seen in training, sorted: uint32 (n,). Position + 1 is a hash's index, 0 means not seen."""

    known: np.ndarray

    @classmethod
    def fit(cls, hashes: np.ndarray, limit: int, at_least: int = 1) -> "Hashes":
        """Keeps the most frequent `limit` hashes that occur `at_least` so often."""
        unique, counts = np.unique(hashes[hashes != 0], return_counts=True)
        keep = counts >= at_least
        unique, counts = unique[keep], counts[keep]
        return cls(np.sort(unique[np.argsort(-counts, kind="stable")[:limit]]))

    def index(self, hashes: np.ndarray) -> np.ndarray:
        """int64, same shape: the index of each hash, 0 where it was not seen."""
        if not len(self.known):
            return np.zeros(hashes.shape, np.int64)
        position = np.minimum(np.searchsorted(self.known, hashes), len(self.known) - 1)
        return np.where(self.known[position] == hashes, position + 1, 0).astype(np.int64)


@dataclass(frozen=True)
class Vocabulary:
    """All that is fitted before training.

    `conditions` are categorical columns that are read but not completed; `sets` the `multi` ones among `values`.
    """

    values: dict[str, Values]
    numbers: dict[str, Numbers]
    conditions: dict[str, Values]
    words: Hashes
    grams: Hashes
    wide: Hashes
    idf: np.ndarray
    sequences: dict[str, dict[str, np.ndarray]]
    vectors: dict[str, dict[str, np.ndarray]]
    word_vector: int
    sets: dict[str, Sets]
    spelling: dict[str, Spelling]

    @classmethod
    def fit(cls, frame: pd.DataFrame, features: pa.Table, schema: Schema) -> "Vocabulary":
        """Fits on training rows: the frame of `to_frame` and the features of the same rows."""
        members = {n: frame[n].dropna().map(members_of) for n, a in schema.attributes.items() if a.multi}
        values = {
            n: Values.fit(members[n].explode() if a.multi else frame[n], a.values)
            for n, a in schema.attributes.items()
            if a.kind != "numeric"
        }
        numbers = {
            n: Numbers.fit(frame[n].dropna().to_numpy(float), a.tolerance)
            for n, a in schema.attributes.items()
            if a.kind == "numeric"
        }
        conditions = {}
        if schema.category and schema.category not in schema.attributes:
            conditions[schema.category] = Values.fit(frame[schema.category], None)
        strings = [text.encode_value(v) for known in (*values.values(), *conditions.values()) for v in known.values]
        words = np.concatenate([flat(features["text.word"]), *(s[0] for s in strings)])
        grams = np.concatenate([flat(features["text.gram"]), *(s[1].ravel() for s in strings)])
        outputs = sum(min(len(v.values), MAX_VALUES) for v in values.values()) + sum(
            len(n.value) for n in numbers.values()
        )
        budget = min(50_000, 12_000_000 // max(outputs, 1))
        wide = Hashes.fit(flat(features["text.wide"]), budget, at_least=2 if len(frame) > 500 else 1)
        document_frequency = np.bincount(wide.index(flat(features["text.wide"])), minlength=len(wide.known) + 1)
        idf = np.log((1 + len(frame)) / (1 + document_frequency)) + 1
        return cls(
            values, numbers, conditions,
            Hashes.fit(words, MAX_WORDS), Hashes.fit(grams, MAX_GRAMS), wide, idf.astype(np.float32),
            {name: _fit_sequence(features, name) for name in schema.sequences},
            {name: fit for level in VECTORS for name, fit in _fit_vectors(features, level).items()},
            _word_vector(features),
            {n: Sets.fit(cells, values[n].values) for n, cells in members.items()},
            spelling.learn(frame, schema),
        )  # fmt: skip

    @cached_property
    def phrases(self) -> list[dict[int, tuple[np.ndarray, np.ndarray]]]:
        """Per attribute with values: number of words → phrase hashes, uint64 (n,) ascending, and the value of each."""
        found = []
        for known in self.values.values():
            words = [text.encode_value(value)[0] for value in known.values]
            of_length = {}
            for length in {len(w) for w in words if len(w) <= MAX_PHRASE}:
                values = np.array([i for i, w in enumerate(words) if len(w) == length], np.int64)
                hashes = np.array([text.phrase_hashes(words[i], length)[-1][0] for i in values], np.uint64)
                order = np.argsort(hashes, kind="stable")
                of_length[length] = hashes[order], values[order]
            found.append(of_length)
        return found

    @cached_property
    def last_words(self) -> dict[str, int]:
        """The last words of all values, normalised, and their hashes."""
        words = (text.tokenize(value) for known in self.values.values() for value in known.values)
        return {last: text.encode_word(last)[0] for last in {w[-1][0] for w in words if 0 < len(w) <= MAX_PHRASE}}

    @cached_property
    def longer_words(self) -> dict[str, list[int]]:
        """What a last word of a value may be with another ending, and the hashes of all words that it may then be."""
        found: dict[str, list[int]] = {}
        for word, code in self.last_words.items():
            for shorter in text.beginnings(word):
                found.setdefault(shorter, []).append(code)
        return found

    def alike(self, name: str) -> np.ndarray:
        """int64 (V,): for each value of an attribute the most frequent one that is spelled with the same words."""
        first: dict[tuple[int, ...], int] = {}
        words = (tuple(text.encode_value(value)[0].tolist()) for value in self.values[name].values)
        return np.array([first.setdefault(key, i) for i, key in enumerate(words)], np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers, flat, for the weights file."""
        named: dict[str, np.ndarray] = {
            "words": self.words.known, "grams": self.grams.known, "wide": self.wide.known, "idf": self.idf,
        }  # fmt: skip
        for i, numbers in enumerate(self.numbers.values()):
            named |= {f"numbers.{i}.{k}": v for k, v in vars(numbers).items()}
        for kind, known in (("values", self.values), ("conditions", self.conditions)):
            named |= {f"{kind}.{i}.count": v.counts for i, v in enumerate(known.values())}
        for i, fitted in enumerate(self.sequences.values()):
            named |= {f"sequences.{i}.{k}": v for k, v in fitted.items()}
        for i, fitted in enumerate(self.vectors.values()):
            named |= {f"vectors.{i}.{k}": v for k, v in fitted.items()}
        return named

    def strings(self) -> dict[str, Any]:
        """The strings, for JSON."""
        return {
            "values": {n: v.values for n, v in self.values.items()},
            "conditions": {n: v.values for n, v in self.conditions.items()},
            "numbers": list(self.numbers),
            "sequences": list(self.sequences),
            "vectors": list(self.vectors),
            "word_vector": self.word_vector,
            "spelling": {n: asdict(s) for n, s in self.spelling.items()},
            "sets": {n: [s.not_applicable, s.sizes, s.listed, s.times] for n, s in self.sets.items()},
        }

    @classmethod
    def restore(cls, strings: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Vocabulary":
        """The inverse of `strings` and `arrays`."""

        def under(prefix: str) -> dict[str, np.ndarray]:
            return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

        def known(kind: str) -> dict[str, Values]:
            return {n: Values(v, arrays[f"{kind}.{i}.count"]) for i, (n, v) in enumerate(strings[kind].items())}

        return cls(
            known("values"),
            {n: Numbers(**under(f"numbers.{i}.")) for i, n in enumerate(strings["numbers"])},
            known("conditions"),
            Hashes(arrays["words"]), Hashes(arrays["grams"]), Hashes(arrays["wide"]), arrays["idf"],
            {n: under(f"sequences.{i}.") for i, n in enumerate(strings["sequences"])},
            {n: under(f"vectors.{i}.") for i, n in enumerate(strings["vectors"])},
            strings["word_vector"],
            {n: _restore_sets(len(strings["values"][n]), *saved) for n, saved in strings["sets"].items()},
            {n: Spelling(**s) for n, s in strings["spelling"].items()},
        )  # fmt: skip


def _restore_sets(candidates: int, na: int, sizes: list[int], listed: list[list[int]], times: list[int]) -> Sets:
    return Sets(candidates, na, tuple(sizes), tuple(tuple(members) for members in listed), tuple(times))


def flat(column: pa.ChunkedArray) -> np.ndarray:
    """The values of a list column, one after the other."""
    return np.asarray(column.combine_chunks().flatten().to_numpy(zero_copy_only=False))


def offsets(column: pa.ChunkedArray) -> np.ndarray:
    """int64 (rows + 1,): where each row's values begin in `flat`."""
    lengths = np.asarray(pa.compute.list_value_length(column.combine_chunks()).to_numpy(zero_copy_only=False))
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _fit_sequence(features: pa.Table, name: str) -> dict[str, np.ndarray]:
    """Centre and scale of the statistics' and steps' asinh, quantile edges of the statistics, and hashed steps."""
    statistic = flat(features[f"sequence.{name}.statistic"]).astype(np.float64)
    present = np.flatnonzero(np.diff(offsets(features[f"sequence.{name}.statistic"])))
    width = len(statistic) // len(present) if len(present) else 0
    table = statistic.reshape(-1, width) if width else np.empty((0, 0))
    numeric = width // len(sequence.STATISTICS)
    steps = np.arcsinh(flat(features[f"sequence.{name}.number"]).astype(np.float64)).reshape(-1, max(numeric, 1))
    quantiles = np.linspace(0, 1, EDGES)
    edges = np.zeros((width, EDGES), np.float32)
    for i in range(width):
        column = table[~np.isnan(table[:, i]), i]
        edges[i] = np.quantile(column, quantiles) if len(column) else 0
    with np.errstate(all="ignore"):
        centre = np.nan_to_num(np.nanmean(steps, 0)) if len(steps) else np.zeros(max(numeric, 1))
        scale = np.nan_to_num(np.nanstd(steps, 0)) + 1e-3 if len(steps) else np.ones(max(numeric, 1))
    hashed = Hashes.fit(flat(features[f"sequence.{name}.hash"]), MAX_WORDS).known
    return {"edges": edges, "centre": centre.astype(np.float32), "scale": scale.astype(np.float32), "hashed": hashed}


def _fit_vectors(features: pa.Table, level: str) -> dict[str, dict[str, np.ndarray]]:
    """Per part of a level's vector: where it lies, centre, and principal components (K, P); none without items.

    Components keep their relative variances (small ones are noise, and whitening would make them as loud as the others)
    and are scaled so that an item's K numbers have unit variance on average. What never varies among the training rows
    (a colour that no picture shows) has no part in them: nothing was learned of it.
    """
    rows = item_vectors(features, level)[0]
    if len(rows) < 2:
        return {}
    sample = rows[:: max(len(rows) // MAX_FIT, 1)]
    widths = image.PARTS if level == "image" and rows.shape[1] == sum(image.PARTS.values()) else {"": rows.shape[1]}
    fitted, start = {}, 0
    for part, width in widths.items():
        column = sample[:, start : start + width]
        centre, spread = column.mean(0), column.std(0) + 1e-6
        spread[spread < 2e-6 + 1e-5 * spread.max()] = np.inf
        _, values, components = np.linalg.svd((column - centre) / spread, full_matrices=False)
        kept = min(MAX_COMPONENTS, len(values))
        scale = np.sqrt((values[:kept] ** 2).mean() / len(sample)) + 1e-6
        arrays = {"centre": centre, "components": np.ascontiguousarray(components[:kept] / spread / scale)}
        fitted[f"{level} {part}".strip()] = arrays | {"start": np.array([start])}
        start += width
    return fitted


def item_vectors(features: pa.Table, level: str) -> tuple[np.ndarray, np.ndarray]:
    """float32 (n, P) vectors of the items that have one, and which have: bool (N,)."""
    column = VECTORS[level]
    if column not in features.column_names:
        return np.empty((0, 0), np.float32), np.zeros(features.num_rows, bool)
    present = np.diff(offsets(features[column])) > 0
    found = flat(features[column]).astype(np.float32)
    return found.reshape(int(present.sum()), -1) if len(found) else np.empty((0, 0), np.float32), present


def fitted_vectors(features: pa.Table, name: str, fitted: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """float32 (N, K) components of a part of every item's vector, zeros without one, and which have one: bool (N,)."""
    found, present = item_vectors(features, name.split()[0])
    components, start = fitted["components"], int(fitted["start"][0])
    result = np.zeros((features.num_rows, len(components)), np.float32)
    if len(found):
        projected = (found[:, start : start + components.shape[1]] - fitted["centre"]) @ components.T
        result[present] = np.clip(projected, -FARTHEST, FARTHEST)
    return result, present


def _word_vector(features: pa.Table) -> int:
    """The size of the pretrained vector of every word, 0 where words have none."""
    if "language.token" not in features.column_names:
        return 0
    sizes, words = np.diff(offsets(features["language.token"])), np.diff(offsets(features["text.word"]))
    at = np.flatnonzero(sizes)
    return int(sizes[at[0]] // words[at[0]]) if len(at) else 0
