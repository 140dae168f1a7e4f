"""What an item's text says of its numbers: a linear regression on its words and characters.

The network scores bins, which learns slowly what a single weight per word says at once: of laptops' prices the network
alone has .410 within 5 %, a regression alone .417, both .432 (the same cells, ADR 19). Choices:
- features are those of the linear part (`features/text.py`), TF-IDF in rows of length 1, by bucket of their hashes;
- least squares by conjugate gradients (Hestenes and Stiefel, 1952), stopped where rows that were left out are said
  best: the number of steps is all the regularisation there is (Hanke, 1995), and nothing has to be chosen;
- a training row hears a regression that has not seen it (`FOLDS`), so that it learns how far new rows may be trusted.
What it says is one more number of the item, beside its own ones (`numeric.py`).
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pyarrow as pa
from scipy import sparse

from attrgan.evaluation.splits import evenly_spread
from attrgan.model.vocabulary import flat, offsets

BUCKETS = 1 << 18
FOLDS = 5
STEPS, PATIENCE = 100, 5
"""At most so many steps; and so many without a better one end them."""
MOST = 4.0
"""Standard deviations from the mean that are said at most: a text unlike all others would else be worth anything."""
CHUNK = 50_000
"""Rows that are said at once."""
MOST_ROWS = 200_000
"""Rows that are learned from; of more, evenly spread ones."""


@dataclass(frozen=True)
class TextRegression:
    """One linear function of the text per number.

    Attributes:
        bucket: int64 (f,): the buckets that have weights, ascending; idf: float32 (f,), of each.
        weight: float32 (f, M), bias: float32 (M,): scaled so that over the training rows what is said has variance 1.
    """

    bucket: np.ndarray
    idf: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def empty(cls, numbers: int) -> "TextRegression":
        """One that says nothing."""
        return cls(np.zeros(0, np.int64), *(np.zeros(shape, np.float32) for shape in (0, (0, numbers), numbers)))

    @classmethod
    def fit(cls, features: pa.Table, scores: np.ndarray) -> tuple["TextRegression", np.ndarray]:
        """Learns from the training rows.

        Args:
            features: of N rows; scores: float (N, M), their numbers, standardised, NaN where unknown.

        Returns:
            The regression, and as `say` what one that has not seen it says of each row.
        """
        rows, numbers = scores.shape
        if not scores.size:
            return cls.empty(numbers), np.full(scores.shape, np.nan, np.float32)
        features = features.select(["text.wide"])
        counts = np.bincount(flat(features["text.wide"]) & np.uint32(BUCKETS - 1), minlength=BUCKETS)
        bucket = np.flatnonzero(counts >= 2)
        idf = (np.log((1 + rows) / (1 + counts[bucket])) + 1).astype(np.float32)
        found = cls(bucket, idf, np.zeros((len(bucket), numbers), np.float32), np.zeros(numbers, np.float32))
        used = evenly_spread(rows, MOST_ROWS)
        table = found._table(features.take(pa.array(used)))
        transposed, texts = table.T.tocsr(), np.diff(table.indptr) > 0
        left_out = np.zeros((len(used), numbers), np.float32)
        for i, of in enumerate(scores[used].T):
            known = ~np.isnan(of) & texts
            if known.sum() < 2 * FOLDS:
                continue
            centre = of[known].mean()
            weight, said = _fit(table, transposed, np.where(known, of - centre, np.nan).astype(np.float32))
            spread = said[known].std()
            if spread > 1e-3:
                found.weight[:, i], found.bias[i] = weight / spread, centre / spread
                left_out[:, i] = ((said + centre) / spread).clip(-MOST, MOST)
        said = found.say(features)
        said[used[texts]] = left_out[texts]
        return found, said

    def say(self, features: pa.Table) -> np.ndarray:
        """What texts say of the numbers, float32 (N, M), about standard normal; NaN of an item without text."""
        parts = [np.zeros((0, len(self.bias)), np.float32)]
        for start in range(0, features.num_rows, CHUNK):
            table = self._table(features.slice(start, CHUNK))
            part = (np.asarray(table @ self.weight) + self.bias).clip(-MOST, MOST)
            part[np.diff(table.indptr) == 0] = np.nan
            parts.append(part)
        return np.concatenate(parts)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, for the weights file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _place(self) -> np.ndarray:
        """int32 (BUCKETS,): where a bucket's weights stand, −1 where it has none."""
        place = np.full(BUCKETS, -1, np.int32)
        place[self.bucket] = np.arange(len(self.bucket))
        return place

    def _table(self, features: pa.Table) -> sparse.csr_matrix:
        """float32 (N, f): the TF-IDF rows of items."""
        place = self._place[flat(features["text.wide"]) & np.uint32(BUCKETS - 1)]
        row = np.repeat(np.arange(features.num_rows), np.diff(offsets(features["text.wide"])))[place >= 0]
        place = place[place >= 0]
        weight, counts = self.idf[place], np.bincount(row, minlength=features.num_rows)
        length = np.sqrt(np.bincount(row, weights=weight.astype(np.float64) ** 2, minlength=features.num_rows))
        starts = np.concatenate([[0], np.cumsum(counts)])
        weight = (weight / length[row]).astype(np.float32)
        return sparse.csr_matrix((weight, place, starts), (features.num_rows, len(self.bucket)))


def _fit(table: sparse.csr_matrix, transposed: sparse.csr_matrix, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights float32 (f,) from all rows, and what is said of each row, float32 (N,), by a fit that left it out.

    All fits take their steps together; those are kept with which the rows left out are said best.

    Args:
        wanted: float32 (N,), NaN where nothing is to be learned.
    """
    known, rows = ~np.isnan(wanted), np.arange(len(wanted))
    fold = rows % FOLDS
    seen = (known[:, None] & (fold[:, None] != np.arange(FOLDS + 1))).astype(np.float32)  # the last one sees all
    left = np.nan_to_num(wanted)[:, None] * seen
    said, weights = np.zeros_like(left), np.zeros((table.shape[1], FOLDS + 1), np.float32)
    gradient = transposed @ left
    direction, length = gradient, (gradient**2).sum(0)
    kept, best, since = (weights[:, -1].copy(), said[rows, fold]), float((wanted[known] ** 2).mean()), 0
    for _ in range(STEPS):
        image = table @ direction
        along = length / np.maximum((image**2 * seen).sum(0), 1e-12)
        weights += along * direction
        said += along * image
        left -= along * image * seen
        gradient = transposed @ left
        before, length = length, (gradient**2).sum(0)
        direction = gradient + length / np.maximum(before, 1e-12) * direction
        error = float(((said[rows, fold] - wanted)[known] ** 2).mean())
        since += 1
        if error < best:
            kept, best, since = (weights[:, -1].copy(), said[rows, fold]), error, 0
        if since == PATIENCE:
            break
    return kept
