"""Which weight of one generator is which weight of another: the work behind `transfer.carry`.

Everything happens on the CPU, on copies of both state dicts, so that no random number is drawn.
"""

from typing import Any

import numpy as np
import torch

from attrgan.model.completion_model import CompletionModel
from attrgan.model.generator import Generator
from attrgan.model.levels import piecewise
from attrgan.model.vocabulary import Hashes, Vocabulary
from attrgan.schema import Schema

WHOLE = ("context", "item", "noise", "fusion", "query")
"""Parts of the generator that depend on no vocabulary."""


class Carrier:
    """The weights of both models by name; `taken` marks those that were carried."""

    def __init__(self, generator: Generator, vocabulary: Vocabulary, model: CompletionModel) -> None:
        self.ours, self.theirs = generator, model.generator
        self.vocabulary, self.known = vocabulary, model.vocabulary
        self.new = {name: w.detach().cpu().clone() for name, w in generator.state_dict().items()}
        self.old = {name: w.detach().cpu() for name, w in model.generator.state_dict().items()}
        self.taken = {n: torch.zeros(p.shape, dtype=torch.bool, device="cpu") for n, p in generator.named_parameters()}
        self.places = {n: p for n in _columns(generator) if (p := self._place(n)) is not None}

    def carry(self) -> None:
        """All parts, in the order of the generator."""
        for name in self.new:
            if name.split(".")[0] in WHOLE:
                self._whole(name)
        self._text()
        self._vectors()
        for i, name in enumerate(self.vocabulary.sequences):
            if name in self.known.sequences and _group(self.ours.schema, name) == _group(self.theirs.schema, name):
                self._sequence(i, list(self.known.sequences).index(name), name)
        self._values()
        self._numbers()
        ours, theirs = self.ours, self.theirs
        for part in ("name", "mask"):
            self._rows(part, _by_name(_columns(ours), _columns(theirs)))
        self._rows("match", _by_name(ours.categorical, theirs.categorical))
        self._spans()
        self._wide()

    # --- how a weight is carried -----------------------------------------------------------------------------------

    def _put(self, name: str, at: Any, weight: torch.Tensor) -> None:
        self.new[name][at] = weight
        self.taken[name][at] = True

    def _whole(self, name: str, old: str | None = None) -> None:
        """A weight as it is, where there is one of the same shape."""
        weight = self.old.get(old or name)
        if weight is not None and weight.shape == self.new[name].shape:
            self._put(name, ..., weight)

    def _rows(self, name: str, place: np.ndarray, first: int = 0, old: str | None = None) -> None:
        """Row `first` + i from row `first` + place[i], where that is not −1."""
        found = np.flatnonzero(place >= 0)
        weight = self.old[old or name][torch.from_numpy(place[found] + first)]
        self._put(name, torch.from_numpy(found + first), weight)

    def _place(self, name: str) -> np.ndarray | None:
        """int64 (values or bins,): the origin's place of a column's values, −1 for none; None: no such column."""
        values, theirs = (v.values | v.conditions for v in (self.vocabulary, self.known))
        if name in values and name in theirs:
            return _by_name(values[name].values, theirs[name].values)
        if name not in self.vocabulary.numbers or name not in self.known.numbers:
            return None
        if self.ours.schema.attributes[name].unit != self.theirs.schema.attributes[name].unit:
            return None
        value, known = self.vocabulary.numbers[name].value, self.known.numbers[name]
        inside = (value >= known.low.min()) & (value <= known.high.max()) & (known.count.sum() > 0)
        return np.where(inside, known.codes(value), -1)

    # --- parts -----------------------------------------------------------------------------------------------------

    def _text(self) -> None:
        ours, theirs = self.vocabulary, self.known
        self._rows("text.word.weight", theirs.words.index(ours.words.known) - 1, 1)
        self._rows("text.gram.weight", theirs.grams.index(ours.grams.known) - 1, 1)
        self._rows("column", _by_name(self.ours.schema.text, self.theirs.schema.text))
        self._rows("position", np.arange(min(len(self.new["position"]), len(self.old["position"]))))

    def _spans(self) -> None:
        ours, theirs = self.ours, self.theirs
        if ours.spans is None or theirs.spans is None:
            return
        same_words = ours.schema.encoders.language == theirs.schema.encoders.language
        of_attributes = ("spans.head", "spans.length")
        for name in [n for n in self.new if n.startswith("spans.") and n not in of_attributes]:
            if same_words:
                self._whole(name)
        for name in of_attributes:
            self._rows(name, _by_name(ours.open, theirs.open))

    def _vectors(self) -> None:
        if self.ours.schema.encoders.language == self.theirs.schema.encoders.language:
            for name in [n for n in self.new if n.startswith("word_vector.")]:
                self._whole(name)
        for level in self.vocabulary.vectors:
            if same_components(level, self.vocabulary, self.known):
                for name in [n for n in self.new if n.startswith(f"vectors.{level}.")]:
                    self._whole(name)

    def _sequence(self, i: int, j: int, name: str) -> None:
        """Each catalog standardises steps and cuts statistics by its own figures: the same function of other inputs."""
        ours, theirs = self.vocabulary.sequences[name], self.known.sequences[name]
        new, old = f"sequences.{i}.", f"sequences.{j}."
        for part in ("position", "query", "step.0.bias", "step.2.weight", "step.2.bias", "statistic.bias"):
            self._whole(new + part, old + part)
        if new + "code.weight" in self.new:
            place = Hashes(theirs["hashed"]).index(ours["hashed"]) - 1
            self._rows(new + "code.weight", place, 1, old + "code.weight")
        slope = torch.from_numpy(ours["scale"] / theirs["scale"])
        shift = torch.from_numpy((ours["centre"] - theirs["centre"]) / theirs["scale"])
        value, known = self.old[old + "step.0.weight"].chunk(2, 1)
        if self.new[new + "step.0.weight"].shape[1] == 2 * value.shape[1]:
            self._put(new + "step.0.weight", ..., torch.cat([value * slope, known + value * shift], 1))
        if len(ours["edges"]) == len(theirs["edges"]) > 0:
            weights = self.old[old + "statistic.weight"].T.unflatten(0, theirs["edges"].shape)
            moved = [_at_knots(*x) for x in zip(weights, _edges(theirs), _edges(ours), strict=True)]
            self._put(new + "statistic.weight", ..., torch.cat(moved).T)

    def _values(self) -> None:
        """The learned part by string, of the same column first; how frequent a value is, of the same column only."""
        start, of = 0, {}
        anywhere: dict[str, int] = {}
        for name, known in (self.known.values | self.known.conditions).items():
            of[name] = start
            anywhere |= {v: start + i for i, v in enumerate(known.values) if v not in anywhere}
            start += len(known.values)
        learned, frequent = [], []
        for name, known in (self.vocabulary.values | self.vocabulary.conditions).items():
            place = self.places.get(name, np.full(len(known.values), -1))
            own = np.where(place >= 0, place + of.get(name, 0), -1)
            frequent.append(own)
            learned.append(np.where(own >= 0, own, [anywhere.get(v, -1) for v in known.values]))
        for part, places in (("value.weight", learned), ("value_bias", frequent)):
            self._rows(part, np.concatenate([np.zeros(0, np.int64), *places]).astype(np.int64))  # [] is of floats

    def _numbers(self) -> None:
        for i, name in enumerate(self.ours.numeric):
            if name in self.places:
                j = self.theirs.numeric.index(name)
                knots = self.theirs.edges[j].cpu(), self.ours.edges[i].cpu()
                self._put("number", i, _at_knots(self.old["number"][j], *knots))
                for part in ("weight", "bias"):
                    self._rows(f"numbers.free.{i}.{part}", self.places[name], old=f"numbers.free.{j}.{part}")
        self._whole("numbers.bell.weight")
        self._whole("numbers.bell.bias")
        self._rows("numbers.start", _by_name(self.ours.numeric, self.theirs.numeric))

    def _wide(self) -> None:
        ours, theirs = self.ours.wide.layout, self.theirs.wide.layout
        rows, columns = np.full(ours.rows, -1), np.full(ours.columns, -1)
        words = self.known.wide.index(self.vocabulary.wide.known)
        rows[1 : len(words) + 1] = np.where(words > 0, words, -1)
        for name, place in self.places.items():
            for new, old, into in ((ours.inputs, theirs.inputs, rows), (ours.outputs, theirs.outputs, columns)):
                if name in new and name in old:
                    (first, size), (start, limit) = new[name], old[name]
                    into[first : first + size] = np.where((place >= 0) & (place < limit), place + start, -1)[:size]
        at, of = np.flatnonzero(rows >= 0), np.flatnonzero(columns >= 0)
        block = self.old["wide.sparse.weight"][rows[at]][:, columns[of]]
        self._put("wide.sparse.weight", np.ix_(at, of), block)
        for level in self.vocabulary.vectors:
            if same_components(level, self.vocabulary, self.known):
                self._rows(f"wide.vectors.{level}.weight", columns)


def _at_knots(weight: torch.Tensor, theirs: torch.Tensor, ours: torch.Tensor) -> torch.Tensor:
    """The weights (E, D) of a piecewise-linear function between other knots: what it is at each of them."""
    at = piecewise(ours[:, None], theirs[None])[:, 0] @ weight
    return torch.cat([at.diff(dim=0), at[:1]])


def _edges(fitted: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(fitted["edges"])


def _columns(generator: Generator) -> list[str]:
    return [*generator.attributes, *generator.conditions]


def _group(schema: Schema, name: str) -> list[tuple[str, str]]:
    return list(schema.sequences[name].columns.items())


def _by_name(ours: list[str], theirs: list[str]) -> np.ndarray:
    """int64 (ours,): the place of each name among theirs, −1 where it is not there."""
    place = {name: i for i, name in reversed(list(enumerate(theirs)))}
    return np.array([place.get(name, -1) for name in ours], np.int64)


def same_components(level: str, vocabulary: Vocabulary, known: Vocabulary) -> bool:
    """Whether `inherit` took over the origin's components."""
    return level in known.vectors and vocabulary.vectors[level]["components"] is known.vectors[level]["components"]
