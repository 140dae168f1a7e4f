"""The losses of the mission: L_G = −log D(G(z)), L_D = −log D(x) − log(1 − D(G(z))), L = L_G + L_D.

Each is the mean over the cells that are judged; the supervised term is the mean negative log-likelihood of the cells
that were hidden on purpose.

As an option the pair is judged instead of each by itself (`relativistic`, RpGAN; Jolicoeur-Martineau, 2019):
L_D = −log σ(D(x) − D(G(z))), L_G = −log σ(D(G(z)) − D(x)), x and G(z) being values of the same cell; with the
zero-centred gradient penalties R1 and R2 of D on real and on generated values (R3GAN; Huang et al., 2024).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from attrgan.evaluation.hiding import Mask
from attrgan.model.generator import Generator, Hidden, Output
from attrgan.model.inputs import Batch, tensor
from attrgan.model.levels import piecewise
from attrgan.model.sets import NEVER, Sets
from attrgan.model.vocabulary import MAX_PHRASE, Vocabulary

ADVERSARIAL = ("standard", "relativistic")
Critic = Callable[[torch.Tensor], torch.Tensor]
"""D given an item: values (B, A, D) → logits (B, A)."""
PENALTY = 0.1
"""γ of the gradient penalties: γ/2 · (R1 + R2)."""


@dataclass
class Targets:
    """The right candidate of each cell, int64 (B,), −1 where it is not among the candidates or not asked for.

    Of a `multi` attribute, which candidates are its members: int64 (B, V), 0 or 1, all −1 where it is not asked for;
    and `unlisted`, in training, bool (B,): the sets to be put together (see `Sets.negative_log_likelihood`).
    """

    index: dict[str, torch.Tensor]
    sets: dict[str, Sets] = field(default_factory=dict)
    unlisted: dict[str, torch.Tensor] = field(default_factory=dict)

    def asked(self, name: str) -> torch.Tensor:
        """bool (B,): the cells that have a right candidate."""
        right = self.index[name]
        return right >= 0 if right.ndim == 1 else (right >= 0).any(1)


def hidden_cells(mask: Mask) -> Hidden:
    """A batch's mask as tensors."""
    groups = {name: tensor(group) for name, group in mask.groups.items()}
    return Hidden(tensor(mask.cells), groups)


def unlisted_chances(
    generator: Generator, vocabulary: Vocabulary, rows: int, rng: np.random.Generator, rate: float = 0.5
) -> dict[str, np.ndarray]:
    """Open attribute → bool (rows,): a share `rate` of the items, for `choose_unlisted`."""
    return {n: rng.random(rows) < rate for n in generator.open if len(vocabulary.values[n].values)}


def choose_unlisted(
    batch: Batch, generator: Generator, vocabulary: Vocabulary, chances: dict[str, np.ndarray]
) -> dict[str, torch.Tensor]:
    """Open attribute → bool (B,): items whose true value is to be found in the text as if nobody had ever listed it.

    Always those whose value was seen once (it will be a stranger to anyone else), else those of `chances`, bool (B,).
    """
    unlisted = {}
    for name, chance in chances.items():
        code = batch.codes[:, generator.categorical.index(name)]
        alike = generator.alike[name]
        counts = torch.zeros_like(alike).index_add(0, alike, tensor(vocabulary.values[name].counts))
        once = counts[alike[code.clamp(0, len(counts) - 1)]] <= 1
        stands = torch.zeros(len(batch), dtype=torch.bool)
        stands[batch.match_row[_own_matches(batch, generator, name)]] = True
        unlisted[name] = stands & (once | tensor(chance))
    return unlisted


def _own_matches(batch: Batch, generator: Generator, name: str) -> torch.Tensor:
    """bool (m,): the matches of an open attribute that spell the item's own value."""
    i, alike = generator.categorical.index(name), generator.alike[name]
    code = batch.codes[batch.match_row, i]
    known = (code >= 0) & (code < len(alike)) & (batch.match_attribute == i) & ~batch.match_loose
    return known & (alike[torch.where(known, code, 0)] == batch.match_value) if len(alike) else known


def targets(
    batch: Batch, generator: Generator, asked: torch.Tensor, unlisted: dict[str, torch.Tensor] | None = None
) -> Targets:
    """What the softmax of each asked cell, bool (B, A), should choose; `unlisted` as in `Hidden`."""
    index = {}
    for a, name in enumerate(generator.attributes):
        if name in batch.sets:
            members, listed = set_members(batch, generator, name)
            index[name] = torch.where((asked[:, a] & listed)[:, None], members.long(), -1)
            continue
        if name in generator.numeric:
            right = batch.bins[:, generator.numeric.index(name)].clone()
        else:
            i = generator.categorical.index(name)
            size = generator.value_sizes[i]
            right = torch.where(batch.codes[:, i] < size, batch.codes[:, i], -1)
            if name in generator.open:
                unlisted_of = unlisted.get(name) if unlisted else None
                right = _open_targets(batch, generator, name, right, unlisted_of)
        index[name] = torch.where(asked[:, a], right, -1)
    return Targets(index, generator.sets)


def set_members(batch: Batch, generator: Generator, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Members of the true sets, bool (B, V), and which sets are known and could be chosen: bool (B,)."""
    codes = batch.sets[name]
    size = generator.value_sizes[generator.categorical.index(name)]
    inside = (codes >= 0) & (codes < size)
    members = torch.zeros(len(codes), size + 1, dtype=torch.bool)
    members = members.scatter(1, torch.where(inside, codes, size), True)[:, :size]
    known = (batch.codes[:, generator.categorical.index(name)] >= 0) & (codes < size).all(1)
    if name not in generator.sets:  # no training row knew a member
        return members, torch.zeros_like(known)
    return members, known & generator.sets[name].possible(members)


def _open_targets(
    batch: Batch, generator: Generator, name: str, right: torch.Tensor, unlisted: torch.Tensor | None
) -> torch.Tensor:
    """Where an item's own value stands in its text: the most frequent value spelled so; if none is known, the span."""
    i = generator.categorical.index(name)
    size = generator.value_sizes[i]
    own = _own_matches(batch, generator, name)
    row, candidate = batch.match_row[own], batch.match_value[own]
    if unlisted is not None:
        span = size + batch.match_token[own] * MAX_PHRASE + batch.match_length[own] - 1
        candidate = torch.where(unlisted[row], span, candidate)
    copied = batch.copy_attribute == i
    right = right.index_put((row,), candidate)
    return right.index_put((batch.copy_row[copied],), size + batch.copy_span[copied])


def choose_composed(
    generator: Generator, rows: int, rng: np.random.Generator, rate: float = 0.1
) -> dict[str, np.ndarray]:
    """`Targets.unlisted` of a batch: how sets are put together is learned from a share of those that are listed."""
    return {name: rng.random(rows) < rate for name in generator.sets}


def negative_log_likelihood(
    logits: torch.Tensor, right: torch.Tensor, sets: Sets | None, unlisted: torch.Tensor | None = None
) -> torch.Tensor:
    """Of each cell, float (n,): of the right candidate in the softmax, or of the right set as a whole.

    In both cases what it costs, in nats, to say the value: cells of attributes of all kinds weigh alike, and a set over
    many members that nobody would expect costs no more than one over few.
    """
    if sets is None:
        return F.cross_entropy(logits, right, reduction="none")
    return sets.negative_log_likelihood(logits, right > 0, unlisted)


def supervised(output: Output, target: Targets) -> tuple[torch.Tensor, dict[str, float], int]:
    """Mean negative log-likelihood over the asked cells, its mean per attribute, and the number of these cells."""
    total, count = output.context.new_zeros(()), 0
    each: dict[str, float] = {}
    for name, right in target.index.items():
        asked = target.asked(name) & _possible(output.logits[name], right)
        n = int(asked.sum())
        if not n:
            continue
        unlisted = target.unlisted[name][asked] if name in target.unlisted else None
        logits, sets = output.logits[name][asked], target.sets.get(name)
        loss = negative_log_likelihood(logits, right[asked], sets, unlisted).sum()
        total, count = total + loss, count + n
        each[name] = float(loss.detach()) / n
    return total / max(count, 1), each, count


def _possible(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """bool (B,): the right candidate is one at all: a span is none where the item's text is withheld."""
    if right.ndim > 1 or not logits.shape[1]:
        return torch.ones(len(right), dtype=torch.bool)
    return logits.detach().gather(1, right.clamp(min=0)[:, None])[:, 0] > NEVER / 2


def real_values(batch: Batch, generator: Generator, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (B, A, D) of the true values, and which cells have one: bool (B, A)."""
    cells, known = [], []
    pieces = torch.einsum("bme,med->bmd", piecewise(batch.numbers, generator.edges), generator.number.detach())
    starts = np.concatenate([[0], np.cumsum(generator.value_sizes)])
    for name in generator.attributes:
        if name in generator.numeric:
            i = generator.numeric.index(name)
            cells.append(pieces[:, i])
            known.append(batch.bins[:, i] >= 0)
        else:
            i = generator.categorical.index(name)
            if name in batch.sets:
                members, listed = set_members(batch, generator, name)
                cells.append(_mean_value(members.float(), values[int(starts[i]) : int(starts[i + 1])]))
                known.append(listed)
                continue
            code = batch.codes[:, i]
            listed = (code >= 0) & (code < generator.value_sizes[i])
            at = torch.where(listed, code + int(starts[i]), 0)
            cells.append(values[at] if len(values) else values.new_zeros(len(code), values.shape[1]))
            known.append(listed)
    return torch.stack(cells, 1), torch.stack(known, 1)


def generated_values(
    output: Output, generator: Generator, vocabulary: Vocabulary, values: torch.Tensor
) -> torch.Tensor:
    """Embeddings (B, A, D) of G's choices: one sample per cell, straight-through Gumbel-softmax (Jang et al., 2017)."""
    cells = []
    starts = np.concatenate([[0], np.cumsum(generator.value_sizes)])
    for name in generator.attributes:
        if not output.logits[name].shape[1]:  # nothing to choose from: no training row knew a value
            cells.append(values.new_zeros(len(output.context), output.context.shape[1]))
            continue
        if name in generator.sets:
            start = int(starts[generator.categorical.index(name)])
            rule = generator.sets[name]
            cells.append(_mean_value(_drawn_sets(output.logits[name], rule), values[start : start + rule.candidates]))
            continue
        choice = F.gumbel_softmax(output.logits[name], tau=1.0, hard=True)
        if name in generator.numeric:
            i = generator.numeric.index(name)
            bins = tensor(vocabulary.numbers[name].value).float()[:, None]
            knots = piecewise(bins, generator.edges[i : i + 1])[:, 0]
            cells.append(choice @ (knots @ generator.number[i].detach()))
            continue
        i = generator.categorical.index(name)
        size = generator.value_sizes[i]
        cell = choice[:, :size] @ values[int(starts[i]) : int(starts[i]) + size]
        if choice.shape[1] > size and output.spans is not None:
            cell = cell + torch.einsum("bs,bsd->bd", choice[:, size:], output.spans.detach())
        cells.append(cell)
    return torch.stack(cells, 1)


def _drawn_sets(logits: torch.Tensor, sets: Sets) -> torch.Tensor:
    """float32 (B, V): one sample per cell, 0 or 1, with the gradients of independent members (straight-through)."""
    drawn = sets.draw(logits.detach(), lambda k: torch.rand(len(logits), k))
    soft = logits[:, : sets.candidates].sigmoid()
    return drawn + soft - soft.detach()


def _mean_value(members: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The mean embedding (B, D) of members, float32 (B, V), as a set stands among the tokens."""
    return members @ values / members.detach().sum(1, keepdim=True).round().clamp(min=1)


def loss_d(real: torch.Tensor, fake: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """−log D(x) − log(1 − D(G(z))), mean over judged cells; logits (B, A)."""
    return F.softplus(-real[judged]).mean() + F.softplus(fake[judged]).mean()


def loss_g(fake: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """−log D(G(z)), mean over judged cells; logits (B, A)."""
    return F.softplus(-fake[judged]).mean()


def relativistic(winner: torch.Tensor, loser: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """−log σ(winner − loser), mean over judged cells; logits (B, A). D wants the real value to win, G the generated."""
    return F.softplus(loser[judged] - winner[judged]).mean()


def gradient_penalty(critic: Critic, values: torch.Tensor, judged: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of values, and Σ‖∂ Σ D / ∂ values‖² / judged cells: R1 on real values, R2 on generated ones."""
    values = values.detach().requires_grad_()
    scores = critic(values)
    (gradient,) = torch.autograd.grad(scores[judged].sum(), values, create_graph=True)
    return scores, gradient.square().sum() / judged.sum().clamp(min=1)


def of_generator(
    critic: Critic, real: torch.Tensor, fake: torch.Tensor, judged: torch.Tensor, kind: str
) -> torch.Tensor:
    """L_G of a kind in `ADVERSARIAL`; values (B, A, D)."""
    if kind == "standard":
        return loss_g(critic(fake), judged)
    return relativistic(critic(fake), critic(real), judged)


def of_discriminator(
    critic: Critic, real: torch.Tensor, fake: torch.Tensor, judged: torch.Tensor, kind: str
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """L_D of a kind in `ADVERSARIAL`, the penalty beside it, and the share of judged cells in which D is right."""
    if kind == "standard":
        on_real, on_fake = critic(real), critic(fake)
        loss = loss_d(on_real, on_fake, judged)
        return loss, loss.new_zeros(()), judged_rightly(on_real, on_fake, judged, kind)
    (on_real, r1), (on_fake, r2) = (gradient_penalty(critic, values, judged) for values in (real, fake))
    loss = relativistic(on_real, on_fake, judged)
    return loss, PENALTY / 2 * (r1 + r2), judged_rightly(on_real, on_fake, judged, kind)


def judged_rightly(real: torch.Tensor, fake: torch.Tensor, judged: torch.Tensor, kind: str) -> float:
    """The share of judged cells in which D is right: one half means that it cannot tell; logits (B, A).

    Standard: real above and generated below zero. Relativistic: real above generated; a tie is half right.
    """
    real, fake = real[judged], fake[judged]
    if kind == "relativistic":
        return float(((real > fake).float() + 0.5 * (real == fake).float()).mean())
    return float(((real > 0).float().mean() + (fake <= 0).float().mean()) / 2)
