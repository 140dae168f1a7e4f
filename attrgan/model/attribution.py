"""Which levels carried an answer: text, language, image, sequence, attributes, neighbours.

A level is withheld, and the log-odds of the value chosen against the candidates next to it are compared with what they
were: leave one out, level by level. Choices that keep it cheap enough for every night:
- only fusion runs again, for the cells asked about and the levels that their items have. Tokens never read one another,
  so those of the other levels are what they were, and the queries of all withheld levels read them side by side, each
  with its own mask;
- the linear part, votes and the bonus of a value that stands in the text are sums, of which a level's part is taken
  away exactly;
- the value chosen is compared with the three candidates that came next, not with all of a vocabulary.

The differences need not add up to anything (levels may say the same twice), so they are given as shares of those that
spoke for the value; what spoke against it is negative on the same scale. A span that was copied is carried by the text.
Of a set (`multi`) the differences of its members' scores are summed; of a number the log-odds of the mass within
tolerance are compared. Word vectors of the language model belong to the text.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from attrgan.model.fusion import Cells
from attrgan.model.inputs import Batch, tensor
from attrgan.model.levels import SequenceLevel

if TYPE_CHECKING:
    from attrgan.model.completion_model import CompletionModel
    from attrgan.model.generator import Generator, Output
    from attrgan.model.prediction import Prediction

LEVELS = ("text", "language", "image", "sequence", "attributes", "neighbours")
NOTHING = 1e-3
"""Log-odds below which nothing spoke for a value: what is left then is rounding, of which shares would be noise."""
Level = str


@dataclass(frozen=True)
class Carried:
    """What carried n answers.

    Attributes:
        shares: level → its share of what spoke for the value, per cell; negative where it spoke against it.
        by: the level with the largest share, where the answer without it would have been another one, else None.
    """

    shares: list[dict[Level, float]]
    by: list[Level | None]

    @classmethod
    def nothing(cls, n: int) -> "Carried":
        """Of answers that nobody asked about."""
        return cls([{} for _ in range(n)], [None] * n)


def explain(
    model: "CompletionModel", batch: Batch, output: "Output", chosen: dict[str, np.ndarray],
    answers: dict[str, "Prediction"], explain_from: dict[str, float],
) -> None:  # fmt: skip
    """Sets `carried` of the answers to a batch that are confident enough.

    Args:
        chosen: attribute → int64 (n,), the rows of the batch that were answered.
        answers: attribute → its answers, in that order.
        explain_from: attribute → the confidence from which on an answer is explained.
    """
    sure = {
        name: np.flatnonzero((answer.confidence >= explain_from[name]) & (answer.confidence > 0))
        for name, answer in answers.items() if answer.best is not None
    }  # fmt: skip
    asked = np.zeros((len(batch), len(model.generator.attributes)), bool)
    for name, cells in sure.items():
        asked[chosen[name][cells], model.generator.attributes.index(name)] = True
    if not asked.any():
        return
    withheld = Withheld(model, batch, output, asked)
    for name, cells in sure.items():
        answer, rows = answers[name], chosen[name][cells]
        answer.carried = Carried.nothing(len(answer.rows))
        if not len(cells) or answer.best is None:
            continue
        if name in model.vocabulary.numbers:
            found = withheld.of_numbers(name, rows, cells, answer.best[cells, 0])
        else:
            found = withheld.of_values(name, rows, cells, answer.best[cells], name in model.generator.sets)
        for i, shares, by in zip(cells, found.shares, found.by, strict=True):
            answer.carried.shares[i], answer.carried.by[i] = shares, by


class Withheld:
    """A pass over a batch, without each of its levels, for the cells that are asked about."""

    def __init__(self, model: "CompletionModel", batch: Batch, output: "Output", asked: np.ndarray) -> None:
        """`asked`: bool (B, A), at least one cell."""
        generator, reading = model.generator, output.reading
        if reading is None:
            raise ValueError("an output without its reading cannot be explained: take it from Generator.forward")
        self.model, self.batch, self.output, self.reading = model, batch, output, reading
        of_token = token_levels(generator, batch.word.shape[1])
        self.wide = reading.wide
        self.levels = [level for level in LEVELS if level in of_token or level in self.wide]
        row, attribute = (tensor(part) for part in np.nonzero(asked))
        self.place = np.full(asked.shape, -1, np.int64)
        self.place[asked] = np.arange(len(row))
        gone = torch.tensor([[level == of for of in of_token] for level in self.levels])
        seen = reading.seen[row, attribute, None]
        known = torch.tensor([of == "attributes" for of in of_token])
        # an attribute that is withheld is not gone but unknown, which has a token of its own
        blank = seen[..., known] & torch.tensor([level == "attributes" for level in self.levels])[:, None]
        blanks = generator.fusion.keys((generator.name + generator.mask)[None])
        keys = [
            (torch.cat([k, b.expand(len(k), -1, -1, -1)], 2), torch.cat([v, c.expand(len(v), -1, -1, -1)], 2))
            for (k, v), (b, c) in zip(reading.keys, blanks, strict=True)
        ]
        self.queries = reading.queries[row, attribute, None].repeat(1, len(self.levels), 1)
        cell, level = torch.nonzero((seen & gone).any(2), as_tuple=True)  # without what is not there nothing changes
        may = torch.cat([seen & ~gone, blank], 2)[cell, level]
        start, cells = generator.name[attribute[cell]], Cells.of(row[cell], len(batch))
        self.queries[cell, level] = generator.query(generator.fusion.of_cells(start, keys, may, cells))

    def of_values(
        self, name: str, rows: np.ndarray, cells: np.ndarray, best: np.ndarray, members: bool = False
    ) -> Carried:
        """What carried known values and spans.

        Args:
            rows: int64 (n,), rows of the batch; cells: int64 (n,), where their scores are among those of the attribute.
            best: int64 (n, k), the candidate chosen and those next to it; or, `members`, those that make up the set, −1
                where there are no more.
        """
        full = self.output.logits[name][tensor(cells)].gather(1, tensor(best).clamp(min=0))
        left = self.left(name, rows, cells, best)
        scores = torch.stack(list(left.values()), 1)
        if members:
            gain = ((full[:, None] - scores) * tensor(best >= 0)[:, None]).sum(2)
            return _as_shares(list(left), gain.cpu().numpy(), np.zeros(gain.shape, bool))
        if best.shape[1] < 2:
            return Carried.nothing(len(rows))
        gain = _margin(full)[:, None] - _margin(scores)
        return _as_shares(list(left), gain.cpu().numpy(), (scores.argmax(2) > 0).cpu().numpy())

    def left(self, name: str, rows: np.ndarray, cells: np.ndarray, best: np.ndarray) -> dict[Level, torch.Tensor]:
        """Level → the scores that candidates have without it, float32 (n, k); arguments as in `of_values`."""
        generator, output, size = self.model.generator, self.output, len(self.model.vocabulary.values[name].values)
        at, candidate = tensor(rows), tensor(best)
        known, code = (candidate >= 0) & (candidate < size), candidate.clamp(0, size - 1)
        if name in generator.open:  # a value that stands in the text is scored as a span is, by the text alone
            known &= ~self._standing(name, size)[at].gather(1, code)
        start, attribute = generator._start(name), generator.attributes.index(name)
        values, scale = output.values[start + code], 4 / output.values.shape[1] ** 0.5
        deep = torch.einsum("nd,nkd->nk", self.reading.queries[at, attribute], values) * scale
        queries = self.queries[tensor(self.place[rows, attribute])]
        without = torch.einsum("nld,nkd->nlk", queries, values) * scale
        full = output.logits[name][tensor(cells)].gather(1, candidate.clamp(min=0))
        parts = {level: self._wide_of(name, score[at], code) for level, score in self.wide.items()}
        votes = output.votes[name][tensor(cells)].gather(1, code)
        spelled = full - deep - generator.value_bias[start + code] - votes - sum(parts.values())
        left = {level: full - deep + without[:, i] - parts.get(level, 0) for i, level in enumerate(self.levels)}
        left["neighbours"] = full - votes
        left = {level: torch.where(known, score, full) for level, score in left.items()}
        if "text" in left:  # without a text nothing stands in it: no known value, and no span
            left["text"] = torch.where(known, left["text"] - spelled, -1e4)
        return left

    def _standing(self, name: str, size: int) -> torch.Tensor:
        """bool (B, size): the known values of an attribute that stand in the items' texts."""
        batch, standing = self.batch, torch.zeros(len(self.batch), size, dtype=torch.bool)
        here = batch.match_attribute == self.model.generator.categorical.index(name)
        standing[batch.match_row[here], batch.match_value[here]] = True
        return standing

    def of_numbers(self, name: str, rows: np.ndarray, cells: np.ndarray, best: np.ndarray) -> Carried:
        """What carried numbers; rows and cells as in `of_values`, best int64 (n,) the bins chosen."""
        model, generator = self.model, self.model.generator
        at, numbers = tensor(rows), model.vocabulary.numbers[name]
        queries = self.queries[tensor(self.place[rows, generator.attributes.index(name)])]
        i, width = generator.numeric.index(name), len(numbers.value)
        expected = {level: of[at, i] for level, of in self._expected.items()}
        parts = {level: generator.wide.of(name, score[at], width) for level, score in self.wide.items()}
        total = sum(parts.values())
        within, value = numbers.within[best], numbers.value[best]
        odds = _logit((model.probability(name, self.output.logits[name][tensor(cells)]) * within).sum(1))
        gain, other = np.zeros((2, len(rows), len(self.levels)))
        for number, level in enumerate(self.levels):
            head = generator.numbers.scores(i, queries[:, number], expected.get(level, expected[""]))
            left = model.probability(name, head + total - parts.get(level, 0))
            gain[:, number] = odds - _logit((left * within).sum(1))
            other[:, number] = numbers.value[model.best_number(name, left)]
        tolerated = model.schema.attributes[name].tolerance * np.abs(value) + 1e-9
        return _as_shares(self.levels, gain, np.abs(other - value[:, None]) > tolerated[:, None])

    @cached_property
    def _expected(self) -> dict[Level, torch.Tensor]:
        """Level → what numbers are expected to be without it, float32 (B, M, 2); "": with everything."""
        generator, batch, text = self.model.generator, self.batch, self.reading.text
        visible = torch.stack([self.reading.shown[n] for n in generator.numeric], 1)
        read = {"": (visible, text), "attributes": (visible & False, text), "text": (visible, text & False)}
        return {
            level: generator.numbers.expected(batch.numbers, seen, batch.said, texts)
            for level, (seen, texts) in read.items() if level in ("", *self.levels)
        }  # fmt: skip

    def _wide_of(self, name: str, score: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """The candidates' part of the linear scores, (n, k)."""
        start, columns = self.model.generator.wide.layout.outputs[name]
        found = score.gather(1, start + code.clamp(max=max(columns - 1, 0)))
        return found * (code < columns)


def token_levels(generator: "Generator", words: int) -> list[Level | None]:
    """The level of each token that queries read; None for the item's own."""
    levels: list[Level | None] = [None, *["text"] * words, *(name.split()[0] for name in generator.vectors)]
    levels += ["sequence"] * (len(generator.sequences) * SequenceLevel.TOKENS)
    return levels + ["attributes"] * (len(generator.attributes) + len(generator.conditions))


def _margin(scores: torch.Tensor) -> torch.Tensor:
    """Log-odds of the first of the candidates on the last axis against the others."""
    return scores[..., 0] - scores[..., 1:].logsumexp(-1)


def _logit(probability: np.ndarray) -> np.ndarray:
    inside = probability.clip(1e-9, 1 - 1e-9)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _as_shares(levels: list[Level], gain: np.ndarray, another: np.ndarray) -> Carried:
    """Shares of what each level gains, (n, L); `another`, bool (n, L): without it the answer would not be the same."""
    gain = gain.astype(np.float64)
    total = gain.clip(min=0).sum(1, keepdims=True)
    shares = np.round(np.where(total > NOTHING, gain / np.maximum(total, NOTHING), 0.0), 2)
    largest = gain.argmax(1)
    carried = another[np.arange(len(gain)), largest] & (gain.max(1) > 0)
    found = [{level: s for level, s in zip(levels, row, strict=True) if s} for row in shares.tolist()]
    return Carried(found, [levels[i] if c else None for i, c in zip(largest, carried, strict=True)])
