"""A trained model: vocabulary, generator, temperatures and promises; what it answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch.nn import functional as F

from attrgan.evaluation.hiding import Mask
from attrgan.evaluation.recalibration import Recalibration
from attrgan.features.sequence import hashed_columns
from attrgan.model import applicability
from attrgan.model.attribution import explain
from attrgan.model.folder import read, write
from attrgan.model.generator import Generator, Hidden, Output, encode_strings
from attrgan.model.inputs import Inputs, batch, build, place, tensor
from attrgan.model.neighbours import Index, values_of
from attrgan.model.prediction import Prediction, join, no_answer, recalibrated
from attrgan.model.regression import TextRegression
from attrgan.model.vocabulary import MAX_PHRASE, Vocabulary
from attrgan.schema import Schema

INTERVAL = 0.9
"""Share of true numbers that `lower` … `upper` is meant to cover."""
BATCH = 512


class CompletionModel:
    """Completes the empty cells of a catalog."""

    def __init__(
        self, schema: Schema, vocabulary: Vocabulary, generator: Generator, index: Index | None = None,
        config: dict[str, Any] | None = None, regression: TextRegression | None = None,
    ) -> None:  # fmt: skip
        self.schema = schema
        self.vocabulary = vocabulary
        self.generator = generator
        self.index = index
        self.regression = regression
        self.config = config or {}
        self.temperature: dict[str, float] = dict.fromkeys(schema.attributes, 1.0)
        self.recalibration: dict[str, Recalibration] = {name: Recalibration() for name in schema.attributes}
        self.estimate: dict[str, str] = dict.fromkeys(vocabulary.numbers, "likeliest")
        self.calibration: dict[str, dict[str, Any]] = {}
        self.applicability: applicability.Rules = {}
        self.metrics: dict[str, Any] = {}

    @property
    def version(self) -> str:
        """The identity of the model: a hash of its weights, vocabulary, schema and thresholds (set when saved)."""
        return str(self.config["model_version"])

    # --- prediction ------------------------------------------------------------------------------------------------

    def inputs(self, frame: pd.DataFrame, features: pa.Table) -> Inputs:
        """The rows of a frame in this model's vocabulary, the training items that resemble them, what texts say."""
        hashed = {name: len(hashed_columns(group.columns)) for name, group in self.schema.sequences.items()}
        inputs = build(frame, features, self.vocabulary, tuple(self.generator.open), tuple(self.schema.text), hashed)
        if self.index:
            inputs.neighbours = self.index.look_up(inputs.retrieval)
        if self.regression and self.vocabulary.numbers:
            inputs.said = self.regression.say(features)
        return inputs

    @torch.inference_mode()
    def predict(
        self, frame: pd.DataFrame, inputs: Inputs, wanted: np.ndarray, mask: Mask | None = None,
        explain_from: dict[str, float] | None = None,
    ) -> dict[str, Prediction]:  # fmt: skip
        """Answers cells.

        Args:
            frame: the rows (for the text that spans are cut from).
            inputs: the same rows in this model's vocabulary.
            wanted: bool (N, A), the cells to answer, in the schema's order of attributes.
            mask: known cells and sequences that must not be seen.
            explain_from: attribute → confidence from which on the levels that carried an answer are found (`carried`),
                which costs a third of the time; None: nowhere.
        """
        self.generator.eval()
        values = self.generator.values()
        strangers = self.strangers(inputs)
        parts: dict[str, list[Prediction]] = {name: [] for name in self.schema.attributes}
        rows = np.flatnonzero(wanted.any(1))
        spans = np.flatnonzero([name in self.generator.open for name in self.schema.attributes])
        # like lengths share a batch, and so do those whose spans nobody asks for
        rows = rows[np.lexsort((np.diff(inputs.token_offsets)[rows], wanted[np.ix_(rows, spans)].any(1)))]
        for start in range(0, len(rows), BATCH):
            at = rows[start : start + BATCH]
            tensors = batch(inputs, at, self.vocabulary)
            z = torch.zeros(len(at), len(parts), self.generator.size.noise)
            hidden = hidden_rows(mask, at, wanted.shape[1])
            output = self.generator(tensors, hidden, z, strangers, values, tensor(wanted[at]))
            chosen = {name: np.flatnonzero(wanted[at, i]) for i, name in enumerate(self.schema.attributes)}
            answers = {
                n: recalibrated(self._answer(n, frame, inputs, at[c], output), self.recalibration[n])
                for n, c in chosen.items() if len(c)
            }  # fmt: skip
            if explain_from is not None:
                explain(self, tensors, output, chosen, answers, explain_from)
            for name, answer in answers.items():
                parts[name].append(answer)
        return {name: join(part) for name, part in parts.items() if part}

    def complete(self, frame: pd.DataFrame, features: pa.Table | None = None) -> pd.DataFrame:
        """Answers every empty cell of a frame: see `attrgan.completion.complete.completions`."""
        from attrgan.completion.complete import completions

        return completions(self, frame, features)

    def vectors(self, frame: pd.DataFrame, features: pa.Table | None = None) -> np.ndarray:
        """One vector per item, of all that is known of it: see `attrgan.model.vectors`.

        Args:
            frame: N items, from `to_frame`.
            features: their features; None encodes them now.

        Returns:
            float32 (N, D) of length 1, in the order of the rows; the same for an item in any company, up to 1e-5.
        """
        from attrgan.features import cache
        from attrgan.model.vectors import item_vectors

        return item_vectors(self, frame, cache.encode(frame, self.schema) if features is None else features)

    def strangers(self, inputs: Inputs) -> torch.Tensor | None:
        """float32 (K, D): embeddings of known cells' values that are not in the vocabulary, or None."""
        if not inputs.strangers:
            return None
        return self.generator.embed_strings(*encode_strings(inputs.strangers, self.vocabulary))

    def _answer(self, name: str, frame: pd.DataFrame, inputs: Inputs, rows: np.ndarray, output: Output) -> Prediction:
        if not self.can_answer(name):
            return no_answer(rows)
        scores = output.logits[name] / self.temperature[name]
        if name in self.generator.sets:
            return self._answer_set(name, inputs, rows, scores.double())
        probability = self.probability(name, output.logits[name])
        if name in self.vocabulary.numbers:
            return self._answer_number(name, rows, probability)
        known = self.vocabulary.values[name].values
        best = scores.topk(min(4, scores.shape[1])).indices.cpu().numpy()
        width = max(output.logits[name].shape[1] - len(known), 0)
        strings = self.written(name, frame, inputs, rows, best)
        chances = np.take_along_axis(probability, best, 1)
        span = self._places(name, inputs, rows, best[:, 0], len(known) if width else None)
        empty = np.full(len(rows), np.nan)
        votes = F.pad(output.votes[name], (0, scores.shape[1] - len(known)))
        unvoted = (scores - votes / self.temperature[name]).argmax(1).cpu().numpy()
        return Prediction(
            rows=rows,
            value=np.array([s[0] for s in strings], dtype=object),
            confidence=chances[:, 0],
            number=empty, lower=empty, upper=empty, expected=empty, span=span, copied=best[:, 0] >= len(known),
            voted=(best[:, 0] < len(known)) & (unvoted != best[:, 0]),
            neighbours=self._neighbours(name, inputs, rows, best[:, 0]),
            runners_up=[
                [(s, round(p, 4)) for s, p in zip(some[1:], each[1:], strict=True) if p > 0.005]
                for some, each in zip(strings, chances.tolist(), strict=True)
            ],
            best=best,
        )  # fmt: skip

    def _answer_set(self, name: str, inputs: Inputs, rows: np.ndarray, scores: torch.Tensor) -> Prediction:
        rule, known = self.generator.sets[name], self.vocabulary.values[name].values
        members, log_probability = rule.most_probable(scores)
        shares = rule.marginals(scores).cpu().numpy()
        chosen, n = members.cpu().numpy(), len(rows)
        written = [json.dumps([known[j] for j in np.flatnonzero(c)], ensure_ascii=False) for c in chosen]
        others = np.argsort(np.where(chosen, -1, -shares), axis=1, kind="stable")[:, :3]
        places = [
            self._member_places(name, inputs, row, np.flatnonzero(c)) for row, c in zip(rows, chosen, strict=True)
        ]
        first = [at[0] if at and len(at) == c.sum() else (-1, -1) for at, c in zip(places, chosen, strict=True)]
        empty = np.full(n, np.nan)
        return Prediction(
            rows=rows,
            value=np.array(written, dtype=object),
            confidence=log_probability.exp().clamp(max=1).cpu().numpy(),
            number=empty, lower=empty, upper=empty, expected=empty,
            span=np.array(first, np.int64).reshape(n, 2),
            copied=np.zeros(n, bool), voted=np.zeros(n, bool), neighbours=[[] for _ in range(n)],
            runners_up=[
                [(known[j], round(float(p[j]), 4)) for j in js if p[j] > 0.005 and not c[j]]
                for js, p, c in zip(others, shares, chosen, strict=True)
            ],
            member_spans=places, best=_padded(chosen),
        )  # fmt: skip

    def _neighbours(
        self, name: str, inputs: Inputs, rows: np.ndarray, best: np.ndarray
    ) -> list[list[tuple[str, float]]]:
        """The neighbours of each row that have the chosen value, with their cosines."""
        if self.index is None or inputs.neighbours is None:
            return [[] for _ in rows]
        column = list(self.vocabulary.values).index(name)
        positions, cosines = inputs.neighbours[0][rows], inputs.neighbours[1][rows]
        agree = values_of(positions, inputs.neighbours[2][:, [column]])[..., 0] == best[:, None]
        found: list[list[tuple[str, float]]] = [[] for _ in rows]
        each = zip(np.nonzero(agree)[0].tolist(), positions[agree].tolist(), cosines[agree].tolist(), strict=True)
        for i, position, cosine in each:
            found[i].append((self.index.ids[position], round(cosine, 4)))
        return found

    def can_answer(self, name: str) -> bool:
        """Whether any training row knew a value: else nothing was learned here, not even which spans are values."""
        known = self.vocabulary.numbers.get(name)
        return bool((self.vocabulary.values[name].counts if known is None else known.count).any())

    def _answer_number(self, name: str, rows: np.ndarray, probability: np.ndarray) -> Prediction:
        numbers = self.vocabulary.numbers[name]
        mass = probability @ numbers.within.T.astype(np.float64)
        cumulated = probability.cumsum(1)
        best = self.best_number(name, probability)
        lower = numbers.low[(cumulated >= (1 - INTERVAL) / 2).argmax(1)]
        upper = numbers.high[(cumulated >= (1 + INTERVAL) / 2 - 1e-9).argmax(1)]
        value = numbers.value[best]
        n = len(rows)
        return Prediction(
            rows=rows, value=value.astype(object), confidence=np.minimum(mass[np.arange(n), best], 1.0), number=value,
            lower=np.minimum(lower, value), upper=np.maximum(upper, value),
            expected=probability @ numbers.value,
            span=np.full((n, 2), -1), copied=np.zeros(n, bool), voted=np.zeros(n, bool),
            runners_up=[[] for _ in range(n)], neighbours=[[] for _ in range(n)], best=best[:, None],
        )  # fmt: skip

    def probability(self, name: str, logits: torch.Tensor) -> np.ndarray:
        """The calibrated distribution over the candidates of an attribute, float64 (n, V), of its scores."""
        # float32 tells hardly any sure answers apart
        return np.asarray((logits / self.temperature[name]).double().softmax(-1).cpu().numpy())

    def best_number(self, name: str, probability: np.ndarray) -> np.ndarray:
        """int64 (n,): the bin whose value answers a distribution over bins, float64 (n, K)."""
        if self.estimate.get(name) == "median":
            return np.asarray((probability.cumsum(1) >= 0.5 - 1e-9).argmax(1))
        return self.vocabulary.numbers[name].likeliest(probability)

    def written(
        self, name: str, frame: pd.DataFrame, inputs: Inputs, rows: np.ndarray, choices: np.ndarray
    ) -> list[list[str]]:
        """Candidates of a categorical attribute as strings.

        A known value is written as it is known; of an attribute whose values are copied (`spelling` in the vocabulary),
        as it stands in the item's own text, if it does.

        Args:
            rows: int64 (n,), the items; choices: int64 (n, k), k candidates of each.
        """
        known, texts = self.vocabulary.values[name].values, [frame[c].to_numpy(object) for c in self.schema.text]
        at = np.full(choices.shape, -1)
        spelling = self.vocabulary.spelling.get(name)
        if spelling and spelling.verbatim:
            listed = np.where(choices < len(known), choices, -1)
            at = inputs.matches.find(np.broadcast_to(rows[:, None], choices.shape), self._number(name), listed)

        def standing(row: int, token: int, length: int) -> str:
            column, start, end = place(texts, inputs, row, token, length, spelling)
            return str(texts[column][row])[start:end] if end else ""

        def string(row: int, choice: int, match: int) -> str:
            if choice >= len(known):
                token, length = divmod(choice - len(known), MAX_PHRASE)
                return standing(row, token, length + 1)
            if match < 0 or inputs.matches.loose[match]:
                return known[choice]
            return standing(row, inputs.matches.token[match], inputs.matches.length[match])

        each = zip(rows.tolist(), choices.tolist(), at.tolist(), strict=True)
        return [[string(row, j, m) for j, m in zip(js, ms, strict=True)] for row, js, ms in each]

    def _number(self, name: str) -> int:
        """Which categorical attribute it is."""
        return list(self.vocabulary.values).index(name)

    def _places(
        self, name: str, inputs: Inputs, rows: np.ndarray, best: np.ndarray, spans_from: int | None
    ) -> np.ndarray:
        """int64 (n, 2): token and length where the chosen value stands in the text."""
        matches = inputs.matches
        at = matches.find(rows, self._number(name), best)
        at[at >= 0] = np.where(matches.loose[at[at >= 0]] > 0, -1, at[at >= 0])  # a loose match spells nothing
        result = np.full((len(rows), 2), -1, np.int64)
        result[at >= 0] = np.stack([matches.token[at], matches.length[at]], 1)[at >= 0] if len(matches.row) else -1
        if spans_from is not None:
            span = best - spans_from
            copied = span >= 0
            result[copied] = np.stack([span // MAX_PHRASE, span % MAX_PHRASE + 1], 1)[copied]
        return result

    def _member_places(self, name: str, inputs: Inputs, row: int, members: np.ndarray) -> list[tuple[int, int]]:
        """Token and length of every member of a set where it first stands in the text."""
        matches = inputs.matches
        at = matches.find(np.full(len(members), row), self._number(name), members)
        return [(int(matches.token[m]), int(matches.length[m])) for m in at if m >= 0 and not matches.loose[m]]

    # --- files -----------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Writes the model folder and sets the version."""
        write(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "CompletionModel":
        """Reads a model folder; raises ModelError when it is not one."""
        return read(Path(folder), cls)


def hidden_rows(mask: Mask | None, rows: np.ndarray, attributes: int) -> Hidden:
    """The part of a mask that concerns the rows of a batch."""
    if mask is None:
        return Hidden(torch.zeros(len(rows), attributes, dtype=torch.bool))
    return Hidden(tensor(mask.cells[rows]), {name: tensor(group[rows]) for name, group in mask.groups.items()})


def _padded(chosen: np.ndarray) -> np.ndarray:
    """int64 (n, k): the true columns of bool (n, V) in each row, −1 where there are no more."""
    order = np.argsort(~chosen, axis=1, kind="stable")[:, : max(int(chosen.sum(1).max(initial=0)), 1)]
    return np.where(np.take_along_axis(chosen, order, 1), order, -1)
