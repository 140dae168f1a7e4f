"""Retrieval: the training items that resemble an item most. Their values are votes in the softmax, and evidence.

An item's retrieval vector is a random projection of its TF-IDF words (Achlioptas, 2003) beside one of its pretrained
sentence, each of length 1, so that it works in any language and sharpens where a language model helps. Vectors hold
whole numbers, so that their products are exact in float32 and an item finds the same neighbours in whatever batch.
In training an item finds neither itself nor its near-duplicates: they would teach it to copy, not to judge.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from attrgan.evaluation.splits import evenly_spread
from attrgan.model.vocabulary import Vocabulary

if TYPE_CHECKING:
    from attrgan.model.inputs import Inputs

NEIGHBOURS = 8
WORDS, SENTENCE = 128, 192
"""Dimensions of the two halves of a retrieval vector."""
MOST_ROWS = 20_000
"""Training items in the index: with more, a lookup would cost more than the network."""
DUPLICATE = 0.98
"""Cosine from which two items are one item listed twice."""
SCALE = 2000
"""Length of a vector of whole numbers: every partial sum of a product is below 2²⁴ (Cauchy–Schwarz), so exact."""
CHUNK = 1024


@dataclass(frozen=True)
class Index:
    """Training items to look up.

    Attributes:
        vectors: int16 (n, WORDS + SENTENCE), of length SCALE, or 0 where an item has neither text nor sentence.
        codes: int32 (n, C): the index of their value of each categorical or open attribute, −1 unknown, and for sets of
            values (`multi`), which are not voted on.
        ids: n strings.
    """

    vectors: np.ndarray
    codes: np.ndarray
    ids: list[str]

    @classmethod
    def of(cls, inputs: "Inputs", rows: np.ndarray, ids: list[str], vocabulary: Vocabulary) -> "Index":
        """Indexes at most MOST_ROWS of the given rows, int64 (m,), evenly spread; `ids` are those of the rows."""
        kept = evenly_spread(len(rows), MOST_ROWS)
        sizes = np.array([len(v.values) for v in vocabulary.values.values()], np.int64)
        codes = inputs.codes[rows[kept], : len(sizes)]
        voted_on = (codes < sizes) & np.array([name not in vocabulary.sets for name in vocabulary.values], bool)
        return cls(
            inputs.retrieval[rows[kept]].astype(np.int16),
            np.where(voted_on, codes, -1).astype(np.int32),
            [ids[i] for i in kept],
        )

    @classmethod
    def empty(cls, columns: int) -> "Index":
        """An index of nothing."""
        return cls(np.zeros((0, WORDS + SENTENCE), np.int16), np.zeros((0, columns), np.int32), [])

    def look_up(
        self, vectors: np.ndarray, trained: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`find`, and `codes`: the found items' values are `values_of` both."""
        return *self.find(vectors, trained), self.codes

    def find(self, vectors: np.ndarray, trained: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The nearest items of each vector.

        Args:
            vectors: float32 (N, D), from `retrieval_vectors`.
            trained: bool (N,), items of the training itself, which find neither themselves nor near-duplicates.

        Returns:
            Positions in the index int64 (N, NEIGHBOURS), −1 for none, nearest first, and their cosines float32.
        """
        trained = np.zeros(len(vectors), bool) if trained is None else trained
        once, which = _distinct(vectors, trained)
        positions, cosines = self._find(vectors[once], trained[once])
        return positions[which], cosines[which]

    def _find(self, vectors: np.ndarray, trained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = min(NEIGHBOURS, len(self.vectors))
        positions = np.full((len(vectors), NEIGHBOURS), -1, np.int64)
        cosines = np.zeros((len(vectors), NEIGHBOURS), np.float32)
        stored = torch.from_numpy(self.vectors.astype(np.float32)).T
        for start in range(0, len(vectors) if k else 0, CHUNK):
            near = torch.from_numpy(vectors[start : start + CHUNK].astype(np.float32)) @ stored
            apart = torch.from_numpy(trained[start : start + CHUNK])
            if apart.any():
                near[(near >= DUPLICATE * SCALE**2) & apart[:, None]] = 0
            product, best = (found.numpy() for found in near.topk(k, dim=1))
            positions[start : start + CHUNK, :k] = np.where(product > 0, best, -1)
            cosines[start : start + CHUNK, :k] = np.maximum(product / SCALE**2, 0)
        return positions, cosines


def values_of(positions: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """int64 (N, K, C): the values, of `codes` (n, C), of the items at the positions (N, K), −1 where there is none."""
    if not len(codes):
        return np.full((*positions.shape, codes.shape[1]), -1, np.int64)
    return np.where(positions[..., None] >= 0, codes[positions], -1).astype(np.int64)


def _distinct(vectors: np.ndarray, trained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One of every kind of vector, int64 (m,), and which of these each one is, int64 (N,): texts come again."""
    rows = np.column_stack([vectors.astype(np.int16), trained.astype(np.int16)])
    _, once, which = np.unique(rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel(), True, True)
    return once, which


def retrieval_vectors(
    words: np.ndarray, word_offsets: np.ndarray, idf: np.ndarray, sentences: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Each item's vector, whole numbers as float32 (N, WORDS + SENTENCE), of length SCALE (0 for an item without both).

    Args:
        words: int64 (w,), indices of the items' words one after the other (0: unknown); word_offsets: int64 (N + 1,).
        idf: float32, by word.
        sentences: float32 (n, P), of length 1, of the items that have one; present: bool (N,), which have.
    """
    weight = np.where(words > 0, idf[words], 0).astype(np.float32)
    table = sparse.csr_matrix((weight, words, word_offsets), (len(present), len(idf)))
    projected = np.zeros((len(present), SENTENCE), np.float32)
    if len(sentences):
        projected[present] = np.rint(sentences * 512) @ _signs(sentences.shape[1], SENTENCE)
    vectors = np.concatenate([_unit(table @ _signs(len(idf), WORDS)), _unit(projected)], 1)
    return np.rint(_unit(vectors) * SCALE)


def _signs(rows: int, columns: int) -> np.ndarray:
    """A random projection that is the same everywhere: float32 (rows, columns) of ±1."""
    return np.random.default_rng(0).integers(0, 2, (rows, columns)).astype(np.float32) * 2 - 1


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.sqrt((rows.astype(np.float64) ** 2).sum(1, keepdims=True)), 1e-9))
