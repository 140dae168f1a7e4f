"""Several completions of one item (multiple imputation; Rubin, 1987), each consistent in itself.

The empty cells of an item are filled one after the other: each is drawn from its calibrated distribution given the
noise z, what is known of the item, and the cells filled before it. Choices:
- the most certain cell first, asked anew after every fill: what is nearly known steers what is not, and the order is a
  function of what is visible, so the product of the conditionals is a proper joint distribution;
- cells with a candidate of at least `CERTAIN` share a pass: drawing cells independently moves their joint distribution
  by at most the sum of 1 − CERTAIN over them (total variation), and most catalogs need two or three passes, not A;
- a cell waits for the attributes in its `applies_to`, and is left empty where these are filled with a value that rules
  it out;
- what gives a cell away (`derived_with`) is hidden as in completions, unless it was itself filled in this sample;
- random numbers come from the seed and the item's id alone: neither chunks nor shards nor K change a sample's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import ndtr

from attrgan.completion.complete import admitted, number_text
from attrgan.evaluation.hiding import Mask, mask_of
from attrgan.evaluation.splits import id_hashes
from attrgan.lake.cells import canonical_list
from attrgan.lake.numbers import Form
from attrgan.schema import Schema

if TYPE_CHECKING:
    import torch

    from attrgan.model import CompletionModel
    from attrgan.model.generator import Output
    from attrgan.model.inputs import Inputs
    from attrgan.model.vocabulary import Numbers

CERTAIN = 0.99
LINES = 2048
"""Samples that advance together."""
ROWS = 1000
"""Items whose samples are written at a time."""
NOTHING = -5e3
"""Scores below this are those of candidates that are none."""


@dataclass
class Samples:
    """K joint completions of N items.

    Attributes:
        value: object (K, N, A): the string drawn as frames have it (`n/a` among them), None where the cell was not
            asked, is ruled out by `applies_to`, is a number or has no candidate.
        number: float64 (K, N, A): the number drawn, NaN elsewhere.
    """

    value: np.ndarray
    number: np.ndarray


def draw(
    model: "CompletionModel", frame: pd.DataFrame, inputs: "Inputs", wanted: np.ndarray, *, samples: int,
    seed: int = 0, rows: np.ndarray | None = None, one_by_one: bool = True,
) -> Samples:  # fmt: skip
    """Draws K joint completions of the wanted cells.

    Args:
        frame: the items; inputs: the same in the model's vocabulary.
        wanted: bool (all items, A), the cells to fill; what the frame knows of them is not seen.
        samples: K; seed: not negative.
        rows: int64 (N,), the items to complete; None: all.
        one_by_one: False draws every cell by itself, given z and what is known alone: what one compares with.
    """
    import torch

    rows = np.arange(len(frame)) if rows is None else rows
    shape = (samples, len(rows), wanted.shape[1])
    drawn = Samples(np.full(shape, None, dtype=object), np.full(shape, np.nan))
    step = max(LINES // samples, 1)
    by_length = np.argsort(np.diff(inputs.token_offsets)[rows], kind="stable")  # like lengths share a batch
    by_length = by_length[wanted[rows[by_length]].any(1)]
    with torch.inference_mode():
        sampler = _Sampler(model, frame, inputs, one_by_one)
        for start in range(0, len(by_length), step):
            at = by_length[start : start + step]
            lines = sampler.start(rows[at], wanted[rows[at]], samples, seed)
            sampler.finish(lines)
            drawn.value[:, at] = lines.value.reshape(len(at), samples, -1).swapaxes(0, 1)
            drawn.number[:, at] = lines.number.reshape(len(at), samples, -1).swapaxes(0, 1)
    return drawn


@dataclass
class _Lines:
    """Samples under way, one line for each item and sample; S lines.

    Attributes:
        rows: int64 (S,), the items.
        codes (S, C), numbers (S, M), bins (S, M): as in `Inputs`, with what was drawn in place.
        remaining: bool (S, A), cells still to fill; filled: bool (S, A), cells that were.
        z: float32 (S, A, noise); uniform: float64 (S, A, 2): which candidate, and where within a number's bin.
        value: object (S, A); number: float64 (S, A).
        members: `multi` attribute → int64 (S, K), the codes of the members drawn, −1 where there are no more.
    """

    rows: np.ndarray
    codes: np.ndarray
    numbers: np.ndarray
    bins: np.ndarray
    remaining: np.ndarray
    filled: np.ndarray
    z: np.ndarray
    uniform: np.ndarray
    value: np.ndarray
    number: np.ndarray
    members: dict[str, np.ndarray]


class _Sampler:
    """Fills lines with a model."""

    def __init__(self, model: "CompletionModel", frame: pd.DataFrame, inputs: "Inputs", one_by_one: bool) -> None:
        model.generator.eval()
        self.model, self.frame, self.inputs, self.one_by_one = model, frame, inputs, one_by_one
        self.schema, self.vocabulary, self.generator = model.schema, model.vocabulary, model.generator
        self.names = list(model.schema.attributes)
        self.categorical, self.numeric = list(self.vocabulary.values), list(self.vocabulary.numbers)
        self.values = self.generator.values()
        self.strangers = {value: i for i, value in enumerate(inputs.strangers)}
        self.embedded = model.strangers(inputs)
        self.rules = [
            (i, self.names.index(column), allowed)
            for i, a in enumerate(model.schema.attributes.values())
            for column, allowed in a.applies_to.items()
            if column in model.schema.attributes
        ]

    def start(self, items: np.ndarray, wanted: np.ndarray, samples: int, seed: int) -> _Lines:
        """Lines with every wanted cell, bool (items, A), unknown."""
        size = self.generator.size.noise
        noise = np.concatenate([
            np.random.default_rng([seed, int(h)]).standard_normal((samples, len(self.names), size + 2))
            for h in id_hashes(self.frame[self.schema.id].iloc[items])
        ])  # fmt: skip
        rows, wanted = np.repeat(items, samples), np.repeat(wanted, samples, 0)
        codes, numbers, bins = self.inputs.codes[rows], self.inputs.numbers[rows], self.inputs.bins[rows]
        for i, name in enumerate(self.categorical):
            codes[wanted[:, self.names.index(name)], i] = -1
        for i, name in enumerate(self.numeric):
            gone = wanted[:, self.names.index(name)]
            numbers[gone, i], bins[gone, i] = np.nan, -1
        remaining = wanted & np.array([self.model.can_answer(name) for name in self.names])
        return _Lines(
            rows, codes, numbers, bins, remaining, np.zeros_like(remaining), noise[..., :size].astype(np.float32),
            ndtr(noise[..., size:]), np.full(wanted.shape, None, dtype=object), np.full(wanted.shape, np.nan),
            {n: np.full((len(rows), max(s.largest, 1)), -1) for n, s in self.generator.sets.items()},
        )  # fmt: skip

    def finish(self, lines: _Lines) -> None:
        """Fills every cell that remains."""
        from attrgan.model.completion_model import BATCH

        while len(live := np.flatnonzero(lines.remaining.any(1))):
            for start in range(0, len(live), BATCH):
                self._advance(lines, live[start : start + BATCH])

    def _advance(self, lines: _Lines, at: np.ndarray) -> None:
        """One pass: fills the most certain cell of each line, and those that are as good as certain."""
        output = self._forward(lines, at)
        chosen = self._next(lines.remaining[at], output)
        for i, name in enumerate(self.names):
            asked = np.flatnonzero(chosen[:, i])
            if len(asked):
                self._fill(lines, at[asked], i, output.logits[name][asked])
        for i, condition, allowed in self.rules:
            known, of = lines.filled[at, condition], self.schema.attributes[self.names[condition]]
            cells = (lines.number if of.kind == "numeric" else lines.value)[at, condition]
            ruled_out = known & ~admitted(pd.Series(cells), allowed, of)
            lines.remaining[at[ruled_out], i] = False

    def _forward(self, lines: _Lines, at: np.ndarray) -> "Output":
        from attrgan.model.completion_model import hidden_rows
        from attrgan.model.inputs import batch, tensor

        tensors = batch(self.inputs, lines.rows[at], self.vocabulary)
        tensors = replace(
            tensors, codes=tensor(lines.codes[at]), numbers=tensor(lines.numbers[at]).float(),
            bins=tensor(lines.bins[at]), sets=self._sets(lines, at, tensors.sets),
        )  # fmt: skip
        mask = mask_of(lines.remaining[at], self.schema)
        mask = Mask(mask.cells & ~lines.filled[at], mask.groups)
        hidden = hidden_rows(mask, np.arange(len(at)), len(self.names))
        output: Output = self.generator(tensors, hidden, tensor(lines.z[at]), self.embedded, self.values)
        return output

    def _sets(self, lines: _Lines, at: np.ndarray, known: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
        """The members of known sets, (n, S) as in `Batch`, with those that were drawn in place."""
        import torch
        from torch.nn import functional as F

        from attrgan.model.inputs import tensor

        sets = dict(known)
        for name, members in lines.members.items():
            drawn = tensor(members[at])
            width = max(drawn.shape[1], known[name].shape[1])
            drawn, given = (F.pad(m, (0, width - m.shape[1]), value=-1) for m in (drawn, known[name]))
            sets[name] = torch.where(tensor(lines.filled[at, self.names.index(name)])[:, None], drawn, given)
        return sets

    def _next(self, remaining: np.ndarray, output: "Output") -> np.ndarray:
        """bool (n, A): the cells to fill in this pass."""
        if not self.one_by_one:
            return remaining
        waits = np.zeros_like(remaining)
        for i, condition, _ in self.rules:
            waits[:, i] |= remaining[:, condition]
        ready = remaining & ~waits
        ready = np.where(ready.any(1, keepdims=True), ready, remaining)  # conditions in a circle wait for ever
        certainty = np.full(remaining.shape, -1.0)
        for i, name in enumerate(self.names):
            asked = np.flatnonzero(ready[:, i])
            if len(asked):
                scores = output.logits[name][asked] / self.model.temperature[name]
                sets = self.generator.sets.get(name)
                top = (sets.most_probable(scores)[1] if sets else scores.amax(1) - scores.logsumexp(1)).exp()
                certainty[asked, i] = top.cpu().numpy().round(3)  # rounding noise decides no order
        chosen = certainty >= CERTAIN
        chosen[np.arange(len(chosen)), certainty.argmax(1)] = True
        return chosen

    def _fill(self, lines: _Lines, at: np.ndarray, i: int, logits: "torch.Tensor") -> None:
        """Draws cells of the i-th attribute from their scores, (n, V)."""
        name = self.names[i]
        lines.remaining[at, i] = False
        some = (logits.amax(1) > NOTHING).cpu().numpy()  # an open attribute may have neither values nor spans
        at, logits = at[some], logits[some]
        if name in self.generator.sets:
            self._fill_sets(lines, at, i, logits)
            return
        probability = (logits / self.model.temperature[name]).softmax(-1).double().cpu().numpy()
        choice = pick(probability, lines.uniform[at, i, 0])
        if name in self.vocabulary.numbers:
            column, numbers = self.numeric.index(name), self.vocabulary.numbers[name]
            number = within_bin(numbers, choice, lines.uniform[at, i, 1])
            lines.numbers[at, column], lines.bins[at, column] = number, numbers.codes(number)
            lines.number[at, i] = number
        else:
            value = self._strings(name, lines.rows[at], choice)
            lines.codes[at, self.categorical.index(name)] = self._codes(name, value)
            lines.value[at, i] = value
        lines.filled[at, i] = True

    def _fill_sets(self, lines: _Lines, at: np.ndarray, i: int, logits: "torch.Tensor") -> None:
        """As `_fill`, sets of the i-th attribute."""
        from attrgan.model.inputs import tensor

        name, sources = self.names[i], [np.random.default_rng(int(u * 2**53)) for u in lines.uniform[at, i, 0]]
        scores = (logits / self.model.temperature[name]).double()
        drawn = self.generator.sets[name].draw(scores, lambda k: tensor(np.stack([s.random(k) for s in sources])))
        known = self.vocabulary.values[name].values
        for line, chosen in zip(at, drawn.cpu().numpy(), strict=True):
            members = np.flatnonzero(chosen)
            lines.members[name][line, : len(members)] = members
            lines.value[line, i] = canonical_list([known[j] for j in members])
        lines.codes[at, self.categorical.index(name)] = 0
        lines.filled[at, i] = True

    def _strings(self, name: str, rows: np.ndarray, choice: np.ndarray) -> np.ndarray:
        """The chosen candidates as strings."""
        strings = np.full(len(choice), None, dtype=object)
        strings[:] = [cell[0] for cell in self.model.written(name, self.frame, self.inputs, rows, choice[:, None])]
        return strings

    def _codes(self, name: str, value: np.ndarray) -> np.ndarray:
        """The codes of strings; those that are not in the vocabulary become strangers."""
        import torch

        from attrgan.model.generator import encode_strings

        known = self.vocabulary.values[name]
        codes = known.codes(pd.Series(value, dtype=object))
        new = dict.fromkeys(v for v in value[codes < 0] if v not in self.strangers)
        if new:
            self.strangers |= {v: len(self.strangers) + i for i, v in enumerate(new)}
            added = self.generator.embed_strings(*encode_strings(list(new), self.vocabulary))
            self.embedded = added if self.embedded is None else torch.cat([self.embedded, added])
        for i in np.flatnonzero(codes < 0):
            codes[i] = len(known.values) + self.strangers[value[i]]
        return codes


def pick(probability: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """int64 (n,): a candidate of each row of `probability`, (n, V), by the inverse of its distribution function."""
    cumulated = probability.cumsum(1)
    chosen = (cumulated <= uniform[:, None] * cumulated[:, -1:]).sum(1)
    return np.minimum(chosen, probability.shape[1] - 1)


def within_bin(numbers: "Numbers", code: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """float64 (n,): a number of each bin: an atom itself, else between the bin's least and largest training value.

    Half of a bin's training values lie on each side of its own, so the quantile function is linear on both sides; the
    result has no more decimals than the training values have: an integer stays one.
    """
    low, middle, high = numbers.low[code], numbers.value[code], numbers.high[code]
    below = low + (middle - low) * 2 * uniform
    above = middle + (high - middle) * (2 * uniform - 1)
    number = np.where(uniform < 0.5, below, above)
    ends = np.concatenate([numbers.low, numbers.value, numbers.high])
    decimals = next((d for d in range(7) if np.allclose(ends, ends.round(d), rtol=1e-12, atol=1e-9)), None)
    if decimals is not None:
        number = number.round(decimals)
    return np.where(numbers.atom[code], middle, number.clip(low, high))


def tables(
    model: "CompletionModel", frame: pd.DataFrame, features: pa.Table, wanted: np.ndarray, ids: pa.ChunkedArray, *,
    samples: int, seed: int, run: dict[str, str], whole_numbers: set[str], forms: dict[str, Form],
) -> Iterator[pa.Table]:  # fmt: skip
    """Samples as tables, `ROWS` items each: id, sample, attribute, value, number and the columns of the run.

    Args:
        wanted: bool (N, A), the cells of `completions`.
        ids: the id column as received; run: `model_version`, `run_id`.
        whole_numbers: numeric attributes whose column holds integers; forms: those whose column holds strings.
    """
    inputs = model.inputs(frame, features)
    for start in range(0, max(len(frame), 1), ROWS):
        rows = np.arange(start, min(start + ROWS, len(frame)))
        drawn = draw(model, frame, inputs, wanted, samples=samples, seed=seed, rows=rows)
        yield _table(drawn, wanted[rows], ids.slice(start, len(rows)), model.schema, run, whole_numbers, forms)


def _table(
    drawn: Samples, wanted: np.ndarray, ids: pa.ChunkedArray, schema: Schema, run: dict[str, str], whole: set[str],
    forms: dict[str, Form],
) -> pa.Table:  # fmt: skip
    """One line per item, sample and cell, in this order."""
    samples = len(drawn.value)
    row, sample, attribute = np.nonzero(np.repeat(wanted[:, None], samples, 1))
    names = np.array(list(schema.attributes), dtype=object)
    number, value = drawn.number[sample, row, attribute], drawn.value[sample, row, attribute]
    for i in np.flatnonzero(~np.isnan(number)):
        value[i] = number_text(number[i], names[attribute[i]] in whole, forms.get(names[attribute[i]]))
    not_applicable = np.array([a.not_applicable for a in schema.attributes.values()], dtype=object)
    value[value == not_applicable[attribute]] = None
    return pa.table({
        schema.id: ids.combine_chunks().take(pa.array(row)),
        "sample": pa.array(sample, pa.int64()),
        "attribute": pa.array(names[attribute], pa.string()),
        "value": pa.array(value, pa.string()),
        "number": pa.array(number, pa.float64(), from_pandas=True),
        **{name: pa.array([text] * len(row), pa.string()) for name, text in run.items()},
    })  # fmt: skip
