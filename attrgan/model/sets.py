"""Values that are sets (`multi` attributes): how probable a set is, which is the most probable, and how one is drawn.

The probability of a set S of members, given scores s of the members and c of the sizes:

    P(S) = exp(Σ_{m ∈ S} s_m + c_|S|) / Z,   Z = exp(s_n/a) + Σ_k exp(c_k) · e_k(exp s),

where e_k is the k-th elementary symmetric polynomial, and `n/a` stands alone. With c = 0 the members are independent
Bernoulli variables; where only one member is ever chosen it is the softmax of any other attribute; catalogs lie between
the two (one material mostly, rarely a second), and c learns where. A set that training never saw is as good a candidate
as any other, the most probable one is found by sorting, and Z is exact: log₂ V products of polynomials (potentials of
the size: Gupta et al., 2007; the tree of products, and how to draw from it: Tarlow et al., 2012).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch.nn import functional as F

from attrgan.schema import NOT_APPLICABLE

MAX_SIZE = 64
"""Members of the largest set that is predicted."""
NEVER = -1e4
"""The score of what is impossible; finite, so that no gradient is ever undefined."""


@dataclass(frozen=True)
class Sets:
    """The sets of one attribute over V candidates, `n/a` among them or not, of at most K members.

    Scores, the argument `logits` of the methods, are float (n, V + K + 1): s of the candidates, then c of the sizes.

    Attributes:
        candidates: V.
        not_applicable: the candidate that is `n/a`, −1 where none is.
        sizes: how many training sets have 0, 1, … K members.
    """

    candidates: int
    not_applicable: int
    sizes: tuple[int, ...]

    @classmethod
    def fit(cls, cells: Iterable[list[str]], values: list[str]) -> Self:
        """Counts the sizes of sets all of whose members are among the candidates."""
        known, counts = {*values}, np.zeros(MAX_SIZE + 1, np.int64)
        for members in cells:
            if members != [NOT_APPLICABLE] and len(members) <= MAX_SIZE and known.issuperset(members):
                counts[len(members)] += 1
        largest = int(np.flatnonzero(counts).max(initial=0))
        na = values.index(NOT_APPLICABLE) if NOT_APPLICABLE in values else -1
        return cls(len(values), na, tuple(counts[: largest + 1].tolist()))

    @property
    def largest(self) -> int:
        """K."""
        return len(self.sizes) - 1

    def prior(self, counts: np.ndarray) -> torch.Tensor:
        """The scores that know nothing of an item, float32 (V + K + 1,).

        Members as often as in `counts`, int64 (V,), and sizes as often as in training.
        """
        sets = sum(self.sizes)
        share = torch.tensor((counts + 0.5) / (max(sets, int(counts.max(initial=0))) + 1))
        scores = share.logit()
        if self.not_applicable >= 0:
            scores[self.not_applicable] = float(np.log((counts[self.not_applicable] + 0.5) / (sets + 0.5)))
        sizes = torch.tensor(self.sizes, dtype=torch.float64) + 1
        sizes = (sizes / sizes.sum()).log() - _tree(self._members(scores[None]), self.largest)[-1][0, 0]
        return torch.cat([scores, sizes]).float()

    def possible(self, chosen: torch.Tensor) -> torch.Tensor:
        """bool (n,): the sets, bool (n, V), that have a probability: not larger than K, empty only if training was."""
        size = chosen.sum(1)
        return (size <= max(self.largest, 1)) & ((size > 0) | (self.sizes[0] > 0))

    def negative_log_likelihood(self, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """float (n,): −log P of sets, bool (n, V)."""
        scores, sizes = self._parts(logits)
        size = (chosen & ~self._is_na()).sum(1).clamp(max=self.largest)
        score = (scores * chosen).sum(1)
        score = score + torch.where(self._na_chosen(chosen), 0, sizes.gather(1, size[:, None])[:, 0])
        return self._normaliser(logits) - score

    def most_probable(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The most probable set, bool (n, V), and its log-probability, (n,)."""
        scores, sizes = self._parts(logits)
        ranked, order = self._members(scores).sort(dim=1, descending=True, stable=True)
        of_size = F.pad(ranked[:, : self.largest].cumsum(1), (1, 0)) + sizes
        best, size = of_size.max(1)
        first = torch.arange(self.candidates) < size[:, None]
        chosen = torch.zeros_like(first).scatter(1, order, first)
        na = self._na_score(scores)
        chosen = torch.where((na > best)[:, None], self._is_na(), chosen)
        return chosen, torch.maximum(best, na) - self._normaliser(logits)

    def marginals(self, logits: torch.Tensor) -> torch.Tensor:
        """float (n, V): the probability that each candidate is in the set: ∂ log Z / ∂ s."""
        with torch.inference_mode(False), torch.enable_grad():
            logits = logits.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._normaliser(logits).sum(), logits)
        return gradient[:, : self.candidates]

    def draw(self, logits: torch.Tensor, uniform: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """Sets drawn from P, bool (n, V).

        Args:
            uniform: k → k random numbers from [0, 1) per row, (n, k).

        The size is drawn first, then, from the root of the tree down, how many members are in the left half of a node.
        """
        scores, sizes = self._parts(logits)
        *below, root = _tree(self._members(scores), self.largest)
        # n/a is an outcome beside the sizes, the last one
        outcome = pick(torch.cat([root[:, 0] + sizes, self._na_score(scores)[:, None]], 1)[:, None], uniform(1))[:, 0]
        is_na = outcome > self.largest
        count = torch.where(is_na, 0, outcome)[:, None]
        for level in reversed(below):
            left, right = level[:, ::2], level[:, 1::2]
            count = count[:, : left.shape[1]]  # without the node that made their number even
            taken = torch.arange(left.shape[2])
            rest = count[..., None] - taken
            chance = left + right.gather(2, rest.clamp(0, right.shape[2] - 1))
            chance = chance.masked_fill((rest < 0) | (rest >= right.shape[2]), 2 * NEVER * len(below))
            taken = pick(chance, uniform(count.shape[1]))
            count = torch.stack([taken, count - taken], 2).flatten(1)
        chosen = count[:, : self.candidates] > 0
        return torch.where(is_na[:, None], self._is_na(), chosen)

    # --- parts of the scores ---------------------------------------------------------------------------------------

    def _parts(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of the candidates (n, V) and of the sizes (n, K + 1); no set is empty where none was in training."""
        scores, sizes = logits[:, : self.candidates], logits[:, self.candidates :]
        if not self.sizes[0]:
            sizes = torch.cat([torch.full_like(sizes[:, :1], NEVER), sizes[:, 1:]], 1)
        return scores, sizes

    def _is_na(self) -> torch.Tensor:
        """bool (V,)."""
        return torch.arange(self.candidates) == self.not_applicable

    def _na_chosen(self, chosen: torch.Tensor) -> torch.Tensor:
        return (chosen & self._is_na()).any(1)

    def _members(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.masked_fill(self._is_na(), NEVER)

    def _na_score(self, scores: torch.Tensor) -> torch.Tensor:
        if self.not_applicable < 0:
            return torch.full_like(scores[:, 0], NEVER)
        return scores[:, self.not_applicable]

    def _normaliser(self, logits: torch.Tensor) -> torch.Tensor:
        """log Z, (n,)."""
        scores, sizes = self._parts(logits)
        root = _tree(self._members(scores), self.largest)[-1][:, 0]
        return torch.cat([root + sizes, self._na_score(scores)[:, None]], 1).logsumexp(1)


def pick(scores: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """One of the last axis of scores (n, m, k) with the probability of its softmax, int64 (n, m); uniform (n, m)."""
    cumulated = scores.double().softmax(-1).cumsum(-1)
    return (cumulated <= uniform[..., None] * cumulated[..., -1:]).sum(-1).clamp(max=scores.shape[-1] - 1)


def _tree(scores: torch.Tensor, largest: int) -> list[torch.Tensor]:
    """Logarithms of the elementary symmetric polynomials of ever more members, from (n, V, 2) to (n, 1, largest + 1).

    A node's polynomial is the product of those of its two halves; terms above `largest` are dropped.
    """
    level = torch.stack([torch.zeros_like(scores), scores], 2)[..., : largest + 1]
    levels = [level]
    while level.shape[1] > 1:
        if level.shape[1] % 2:
            one = torch.full_like(level[:, :1], NEVER)
            one[..., 0] = 0
            level = levels[-1] = torch.cat([level, one], 1)
        level = _product(level[:, ::2], level[:, 1::2], largest)
        levels.append(level)
    levels[-1] = F.pad(level, (0, largest + 1 - level.shape[2]), value=NEVER)
    return levels


def _product(left: torch.Tensor, right: torch.Tensor, largest: int) -> torch.Tensor:
    """Logarithms of the coefficients of the products of polynomials, given those of both: (n, m, k) each."""
    terms, width = left.shape[2], right.shape[2]
    size = min(terms + width - 1, largest + 1)
    shifted = [F.pad(left[..., j : j + 1] + right, (j, size - j - width), value=NEVER) for j in range(terms)]
    return torch.stack(shifted).logsumexp(0)
