"""A trained model: vocabulary, generator, temperatures and promises; what it predicts, saved and loaded.

A model folder holds `model.safetensors` (weights and arrays), `vocabulary.json` (strings), `config.json`, `schema.yaml`
and `calibration.json`; nothing in it is ever unpickled.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from attrgan.errors import ModelError
from attrgan.evaluation.hiding import Mask
from attrgan.evaluation.recalibration import Recalibration
from attrgan.model import applicability
from attrgan.model.attribution import Carried, explain
from attrgan.model.generator import Generator, Hidden, Output, Size, encode_strings
from attrgan.model.inputs import Inputs, batch, build, place, tensor
from attrgan.model.neighbours import Index
from attrgan.model.regression import TextRegression
from attrgan.model.vocabulary import MAX_PHRASE, Vocabulary
from attrgan.schema import Schema

INTERVAL = 0.9
"""Share of true numbers that `lower` … `upper` is meant to cover."""
BATCH = 512
FORMAT = 3
"""Of the model folder; raised when one of an older version cannot be loaded any more."""
FILES = ("model.safetensors", "vocabulary.json", "config.json", "schema.yaml", "calibration.json")


@dataclass
class Prediction:
    """The answers to some cells of one attribute.

    Attributes:
        rows: int64 (n,): the items asked about.
        value: object (n,): the best value as a string.
        confidence: float64 (n,): the calibrated probability that it is right.
        number, lower, upper: float64 (n,), for numeric attributes; expected: the mean of the distribution, the best
            guess where squared errors count.
        span: int64 (n, 2): first token and number of tokens where the value stands in the item's text, −1 where not;
            of a `multi` attribute where its first member stands, if all of them do.
        copied: bool (n,): the value is a span that no known value spells.
        runners_up: the other best candidates, [(value, probability), …] per cell; of a `multi` attribute members that
            are not in the set, with the probability that they belong to it.
        neighbours: the similar training items that have this value, [(id, cosine), …] per cell.
        voted: bool (n,): without the neighbours another value would have been chosen.
        member_spans: of a `multi` attribute the places, as `span`, of all members that stand in the text, per cell.
        best: the candidates, int64 (n, k): the one chosen and those next to it; of a `multi` attribute the members, −1
            where there are no more; of a number its bin.
        carried: what carried the answers, where that was asked for.
    """

    rows: np.ndarray
    value: np.ndarray
    confidence: np.ndarray
    number: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    expected: np.ndarray
    span: np.ndarray
    copied: np.ndarray
    voted: np.ndarray
    runners_up: list[list[tuple[str, float]]] = field(default_factory=list)
    neighbours: list[list[tuple[str, float]]] = field(default_factory=list)
    member_spans: list[list[tuple[int, int]]] = field(default_factory=list)
    best: np.ndarray | None = None
    carried: Carried | None = None


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
        """The identity of the model: a hash of its weights, vocabulary and schema (set when it is saved)."""
        return str(self.config["model_version"])

    # --- prediction ------------------------------------------------------------------------------------------------

    def inputs(self, frame: pd.DataFrame, features: pa.Table) -> Inputs:
        """The rows of a frame in this model's vocabulary, the training items that resemble them, what texts say."""
        inputs = build(frame, features, self.vocabulary, tuple(self.generator.open), tuple(self.schema.text))
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
                n: _recalibrated(self._answer(n, frame, inputs, at[c], output), self.recalibration[n])
                for n, c in chosen.items() if len(c)
            }  # fmt: skip
            if explain_from is not None:
                explain(self, tensors, output, chosen, answers, explain_from)
            for name, answer in answers.items():
                parts[name].append(answer)
        return {name: _join(part) for name, part in parts.items() if part}

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
            return _no_answer(rows)
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
        positions, cosines, codes = (part[rows] for part in inputs.neighbours)
        agree = codes[:, :, list(self.vocabulary.values).index(name)] == best[:, None]
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
        arrays = {f"vocabulary.{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in self._plain_arrays().items()}
        weights = {f"generator.{k}": v.cpu().contiguous() for k, v in self.generator.state_dict().items()}
        index = self.index or Index.empty(len(self.vocabulary.values))
        found = {"index.vectors": torch.from_numpy(index.vectors), "index.codes": torch.from_numpy(index.codes)}
        said = self.regression or TextRegression.empty(len(self.vocabulary.numbers))
        found |= {f"regression.{name}": torch.from_numpy(array) for name, array in said.arrays().items()}
        save_file(arrays | weights | found, folder / "model.safetensors")
        learned = {"index": index.ids, "applicability": applicability.to_json(self.applicability)}
        _write(folder / "vocabulary.json", self.vocabulary.strings() | learned)
        self.schema.save(folder / "schema.yaml")
        digest = hashlib.sha256()
        for name in ("model.safetensors", "vocabulary.json", "schema.yaml"):
            digest.update((folder / name).read_bytes())
        self.config |= {
            "format": FORMAT,
            "model_version": digest.hexdigest()[:12],
            "schema_hash": self.schema.hash,
            "size": asdict(self.generator.size),
        }
        _write(folder / "config.json", self.config)
        _write(folder / "calibration.json", self.calibration)

    def _plain_arrays(self) -> dict[str, np.ndarray]:
        # safetensors has no uint32 in torch < 2.3 readers: hashes travel as int64
        return {k: v.astype(np.int64) if v.dtype == np.uint32 else v for k, v in self.vocabulary.arrays().items()}

    @classmethod
    def load(cls, folder: str | Path) -> "CompletionModel":
        """Reads a model folder; raises ModelError when it is not one."""
        folder = Path(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise ModelError(
                f"{folder} is not a model folder (it lacks {', '.join(missing)}): expected what `attrgan train` wrote, "
                "or an MLflow URI such as models:/attrgan-product@champion"
            )
        try:
            schema = Schema.load(folder / "schema.yaml")
            config = json.loads((folder / "config.json").read_text())
            if config.get("format", 1) != FORMAT:
                raise ModelError(
                    f"{folder} was written by another version of attrgan (its folders have format "
                    f"{config.get('format', 1)}, this one reads {FORMAT}): train anew, or use that version; "
                    "a champion that can no longer be compared gives way by `attrgan promote --version N`"
                )
            tensors = load_file(folder / "model.safetensors")
            arrays = {
                k.removeprefix("vocabulary."): v.numpy() for k, v in tensors.items() if k.startswith("vocabulary.")
            }
            for name in arrays:
                if name in ("words", "grams", "wide") or name.endswith(".hashed"):
                    arrays[name] = arrays[name].astype(np.uint32)
            strings = json.loads((folder / "vocabulary.json").read_text())
            vocabulary = Vocabulary.restore(strings, arrays)
            index = Index(tensors["index.vectors"].numpy(), tensors["index.codes"].numpy(), strings["index"])
            said = {k.removeprefix("regression."): v.numpy() for k, v in tensors.items() if k.startswith("regression.")}
            generator = Generator(schema, vocabulary, Size(**config["size"]))
            weights = {k.removeprefix("generator."): v for k, v in tensors.items() if k.startswith("generator.")}
            generator.load_state_dict(weights)
            model = cls(schema, vocabulary, generator, index, config, TextRegression(**said))
            model.calibration = json.loads((folder / "calibration.json").read_text())
            model.temperature = {name: model.calibration[name]["temperature"] for name in schema.attributes}
            model.recalibration = {
                name: Recalibration(*model.calibration[name].get("recalibration", ())) for name in schema.attributes
            }
            model.estimate = {name: model.calibration[name]["estimate"] for name in vocabulary.numbers}
            model.applicability = applicability.from_json(strings.get("applicability", {}))
            if (folder / "metrics.json").is_file():
                model.metrics = dict(json.loads((folder / "metrics.json").read_text()))
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{folder} is a damaged model folder ({reason}): train or fetch it again") from error
        return model


def hidden_rows(mask: Mask | None, rows: np.ndarray, attributes: int) -> Hidden:
    """The part of a mask that concerns the rows of a batch."""
    if mask is None:
        return Hidden(torch.zeros(len(rows), attributes, dtype=torch.bool))
    return Hidden(tensor(mask.cells[rows]), {name: tensor(group[rows]) for name, group in mask.groups.items()})


def _no_answer(rows: np.ndarray) -> Prediction:
    """Cells of an attribute whose values nobody knows: no value, no confidence."""
    n, unknown = len(rows), np.full(len(rows), np.nan)
    return Prediction(
        rows=rows, value=np.full(n, None, dtype=object), confidence=np.zeros(n), number=unknown, lower=unknown,
        upper=unknown, expected=unknown, span=np.full((n, 2), -1), copied=np.zeros(n, bool), voted=np.zeros(n, bool),
        runners_up=[[] for _ in range(n)], neighbours=[[] for _ in range(n)],
    )  # fmt: skip


def _padded(chosen: np.ndarray) -> np.ndarray:
    """int64 (n, k): the true columns of bool (n, V) in each row, −1 where there are no more."""
    order = np.argsort(~chosen, axis=1, kind="stable")[:, : max(int(chosen.sum(1).max(initial=0)), 1)]
    return np.where(np.take_along_axis(chosen, order, 1), order, -1)


def _recalibrated(answer: Prediction, to: Recalibration) -> Prediction:
    """The answers with the confidence that is reported; other candidates keep their order and never exceed it."""
    before = answer.confidence
    if to == Recalibration() or not before.any():
        return answer
    after = to(before)
    if answer.member_spans:  # the runners-up of a set are members, whose chances are not those of the whole set
        return replace(answer, confidence=after)
    share = np.minimum(after / before, (1 - after) / np.maximum(1 - before, 1e-12))
    each = zip(answer.runners_up, share.tolist(), strict=True)
    others = [[(v, round(p * s, 4)) for v, p in some] for some, s in each]
    return replace(answer, confidence=after, runners_up=others)


def _join(parts: list[Prediction]) -> Prediction:
    """Batches as one prediction, in the order of the rows."""
    arrays = {
        name: np.concatenate([getattr(p, name) for p in parts])
        for name in ("rows", "value", "confidence", "number", "lower", "upper", "expected", "span", "copied", "voted")
    }
    order = np.argsort(arrays["rows"], kind="stable")
    runners_up, neighbours = ([r for p in parts for r in getattr(p, name)] for name in ("runners_up", "neighbours"))
    member_spans = [s for p in parts for s in p.member_spans]
    carried = [p.carried or Carried.nothing(len(p.rows)) for p in parts]
    shares, by = [s for c in carried for s in c.shares], [b for c in carried for b in c.by]
    return Prediction(
        **{k: v[order] for k, v in arrays.items()},
        runners_up=[runners_up[i] for i in order], neighbours=[neighbours[i] for i in order],
        member_spans=[member_spans[i] for i in order] if member_spans else [],
        carried=Carried([shares[i] for i in order], [by[i] for i in order]),
    )  # fmt: skip


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")
