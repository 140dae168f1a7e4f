"""Values that are sets (`multi` attributes): how probable a set is, which is the most probable, and how one is drawn.

A set S is put together from members, or it is one that training saw more than once (it is *listed*) and is taken as a
whole. Given scores s of the members, c of the sizes and d of the listed sets, and with s(S) = Σ_{m ∈ S} s_m:

    P(S) = (exp(s(S) + c_|S|) + exp(s(S) + d_S)) / Z,   Z = Σ_k exp(c_k) · e_k(exp s) + Σ_{listed S} exp(s(S) + d_S),

where e_k is the k-th elementary symmetric polynomial and exp(d_S) = 0 where S is not listed. Without d and with c = 0
members are independent Bernoulli variables; with d alone it is a softmax over the sets seen, which independent members
cannot come near where some go together and some shut others out. Both parts share s, so what listed sets teach of their
members serves sets that nobody has seen. `n/a` is a listed set that stands alone. Z is exact: log₂ V products of
polynomials (potentials of the size: Gupta et al., 2007; the tree of products, and how to draw from it: Tarlow et al.,
2012).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from attrgan.schema import NOT_APPLICABLE

MAX_SIZE = 64
"""Members of the largest set that is predicted."""
MAX_LISTED = 300
"""Sets that are listed at most, the most frequent ones; the others have to be put together."""
UNLISTED = 0.1
"""The share of sets that are put together, before anything is learned: at least this; else as many as training has."""
NEVER = -1e4
"""The score of what is impossible; finite, so that no gradient is ever undefined."""


@dataclass(frozen=True)
class Sets:
    """The sets of one attribute over V candidates, of at most K members, L of them listed.

    Scores, the argument `logits` of the methods, are float (n, V + K + 1 + L): s, c and d.

    Attributes:
        candidates: V.
        not_applicable: the candidate that is `n/a`, −1 where none is.
        sizes: how many training sets have 0, 1, … K members.
        listed: the candidates of each listed set; times: how many training sets are that one.
    """

    candidates: int
    not_applicable: int
    sizes: tuple[int, ...]
    listed: tuple[tuple[int, ...], ...] = ()
    times: tuple[int, ...] = ()

    @classmethod
    def fit(cls, cells: Iterable[list[str]], values: list[str]) -> Self:
        """Counts the sets all of whose members are among the candidates, and their sizes."""
        codes = {value: i for i, value in enumerate(values)}
        na = codes.get(NOT_APPLICABLE, -1)
        found = Counter(
            tuple(sorted(codes[m] for m in members))
            for members in cells
            if len(members) <= MAX_SIZE and codes.keys() >= {*members}
        )
        counts = np.zeros(MAX_SIZE + 1, np.int64)
        for members, n in found.items():
            counts[len(members)] += n * (members != (na,))
        largest = int(np.flatnonzero(counts).max(initial=0))
        often = sorted((-n, members) for members, n in found.items() if n > 1 or members == (na,))
        listed = tuple(members for _, members in often[:MAX_LISTED])
        if na >= 0 and (na,) not in listed:
            listed = (*listed[: MAX_LISTED - 1], (na,))
        sizes = tuple(counts[: largest + 1].tolist())
        return cls(len(values), na, sizes, listed, tuple(found[members] for members in listed))

    @property
    def largest(self) -> int:
        """K."""
        return len(self.sizes) - 1

    def prior(self, counts: np.ndarray) -> torch.Tensor:
        """The scores that know nothing of an item, float32 (V + K + 1 + L,).

        Members as often as in `counts`, int64 (V,), sizes and listed sets as often as in training.
        """
        scores = torch.tensor((counts + 0.5) / (max(sum(self.sizes), int(counts.max(initial=0))) + 1)).logit()
        times = torch.tensor(self.times, dtype=torch.float64)
        total = max(sum(self.sizes) + self._times_na(), 1)
        unlisted = max(1 - float(times.sum()) / total, UNLISTED)
        listed = (times + 0.5) / (times + 0.5).sum().clamp(min=1) * (1 - unlisted)
        sizes = torch.tensor(self.sizes, dtype=torch.float64) + 1
        composed = (sizes / sizes.sum() * unlisted).log() - _tree(self._members(scores[None]), self.largest)[-1][0, 0]
        return torch.cat([scores, composed, listed.log() - self._table(scores) @ scores]).float()

    def possible(self, chosen: torch.Tensor) -> torch.Tensor:
        """bool (n,): the sets, bool (n, V), that have a probability: not larger than K, empty only if training was."""
        size = chosen.sum(1)
        return (size <= max(self.largest, 1)) & ((size > 0) | (self.sizes[0] > 0))

    def negative_log_likelihood(
        self, logits: torch.Tensor, chosen: torch.Tensor, unlisted: torch.Tensor | None = None
    ) -> torch.Tensor:
        """float (n,): −log P of sets, bool (n, V).

        `unlisted`, in training, bool (n,): sets to be put together as if nobody had listed them. So are, then,
        all that are listed because of this item and one other: leaving itself out, each has been seen once.
        """
        members, sizes, whole = self._parts(logits)
        size = chosen.sum(1)
        composed = (members * chosen).sum(1) + sizes.gather(1, size.clamp(max=self.largest)[:, None])[:, 0]
        table = self._table(logits)
        same = (chosen.to(table.dtype) @ table.T == size[:, None]) & (table.sum(1) == size[:, None])
        if unlisted is not None:
            rare = torch.tensor(self.times) <= 2
            is_na = torch.tensor([listed == (self.not_applicable,) for listed in self.listed], dtype=torch.bool)
            whole = whole.masked_fill(same & ~is_na & (unlisted[:, None] | rare), 2 * NEVER)
        outcomes = torch.cat([composed[:, None], whole.masked_fill(~same, 2 * NEVER)], 1)
        return self._total(members, sizes, whole) - outcomes.logsumexp(1)

    def most_probable(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The most probable set, bool (n, V), and its log-probability, (n,)."""
        members, sizes, whole = self._parts(logits)
        ranked, order = members.sort(dim=1, descending=True, stable=True)
        best, size = (F.pad(ranked[:, : self.largest].cumsum(1), (1, 0)) + sizes).max(1)
        first = torch.arange(self.candidates) < size[:, None]
        composed = torch.zeros_like(first).scatter(1, order, first)
        table = self._table(logits)
        both = torch.logaddexp(members @ table.T + sizes[:, self._listed_sizes()], whole)
        score, which = torch.cat([best[:, None], both], 1).max(1)  # if the composed set is listed, `both` has it too
        sets = F.pad(table, (0, 0, 1, 0)) > 0
        chosen = torch.where((which > 0)[:, None], sets[which], composed)
        return chosen, score - self._total(members, sizes, whole)

    def marginals(self, logits: torch.Tensor) -> torch.Tensor:
        """float (n, V): the probability that each candidate is in the set: ∂ log Z / ∂ s."""
        with torch.inference_mode(False), torch.enable_grad():
            logits = logits.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._total(*self._parts(logits)).sum(), logits)
        return gradient[:, : self.candidates]

    def draw(self, logits: torch.Tensor, uniform: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """Sets drawn from P, bool (n, V).

        Args:
            uniform: k → k random numbers from [0, 1) per row, (n, k).

        A listed set is drawn, or a size; then, from the root of the tree down, how many members are in the left half of
        each node.
        """
        members, sizes, whole = self._parts(logits)
        *below, root = _tree(members, self.largest)
        outcome = pick(torch.cat([root[:, 0] + sizes, whole], 1)[:, None], uniform(1))[:, 0]
        count = torch.where(outcome > self.largest, 0, outcome)[:, None]
        for level in reversed(below):
            left, right = level[:, ::2], level[:, 1::2]
            count = count[:, : left.shape[1]]  # without the node that made their number even
            taken = torch.arange(left.shape[2])
            rest = count[..., None] - taken
            chance = left + right.gather(2, rest.clamp(0, right.shape[2] - 1))
            chance = chance.masked_fill((rest < 0) | (rest >= right.shape[2]), 2 * NEVER * len(below))
            taken = pick(chance, uniform(count.shape[1]))
            count = torch.stack([taken, count - taken], 2).flatten(1)
        table = self._table(logits)
        sets = F.pad(table, (0, 0, 1, 0)) > 0
        return sets[(outcome - self.largest).clamp(min=0)] | (count[:, : self.candidates] > 0)

    # --- parts of the scores ---------------------------------------------------------------------------------------

    def _parts(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scores of the members (n, V), of which `n/a` is none, of sizes (n, K + 1), of listed sets as wholes (n, L).

        No set is put together from nothing where none was empty in training.
        """
        scores, sizes, listed = logits.split([self.candidates, self.largest + 1, len(self.listed)], 1)
        if not self.sizes[0]:
            sizes = torch.cat([torch.full_like(sizes[:, :1], NEVER), sizes[:, 1:]], 1)
        return self._members(scores), sizes, scores @ self._table(logits).T + listed

    def _members(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.masked_fill(torch.arange(self.candidates) == self.not_applicable, NEVER)

    def _table(self, like: torch.Tensor) -> torch.Tensor:
        """(L, V) of a tensor's type: 1 where a candidate is in a listed set."""
        table = like.new_zeros(len(self.listed), self.candidates)
        at = [(i, m) for i, members in enumerate(self.listed) for m in members]
        rows, columns = torch.tensor(at, dtype=torch.int64).reshape(-1, 2).T
        table[rows, columns] = 1
        return table

    def _listed_sizes(self) -> torch.Tensor:
        """int64 (L,); `n/a` where no other set has a member counts none."""
        return torch.tensor([min(len(members), self.largest) for members in self.listed], dtype=torch.int64)

    def _times_na(self) -> int:
        return sum(n for members, n in zip(self.listed, self.times, strict=True) if members == (self.not_applicable,))

    def _total(self, members: torch.Tensor, sizes: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """log Z, (n,), of the parts of the scores."""
        root = _tree(members, self.largest)[-1][:, 0]
        return torch.cat([root + sizes, whole], 1).logsumexp(1)


class SetScores(nn.Module):
    """c, by the query of an item, and d, the same for all items: what is known of an item speaks through its members.

    A d that depends on the item learns the seen sets by heart, and hardly any other is put together any more.
    """

    def __init__(self, sets: Sets, prior: torch.Tensor, width: int) -> None:
        super().__init__()
        sizes, listed = prior.split([sets.largest + 1, len(sets.listed)])
        self.size = nn.Linear(width, len(sizes))
        nn.init.zeros_(self.size.weight)
        with torch.no_grad():
            self.size.bias.copy_(sizes)
        self.listed = nn.Parameter(listed.clone())

    def forward(self, query: torch.Tensor) -> torch.Tensor:
        """query float32 (B, D) → (B, K + 1 + L)."""
        return torch.cat([self.size(query), self.listed.expand(len(query), -1)], 1)


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
