"""What people answered, in training: more known cells to learn from, and the cells that thresholds rest on.

Choices:
- Answers of the review queue fill empty cells of training rows, as if the seller had known them. Rows of the other
  parts stay as they are: cells were queued because the model was unsure of them, so neither thresholds, temperatures
  nor scores may rest on them. What a seller has written since wins; where it contradicts an answer, that is counted.
- Answers of an audit are never trained on, in whatever part their row is; the row is. The audited cell then stands as
  the other empty cells of the catalog do, asked about exactly as `complete` asks (every empty cell unseen, the rest of
  the item seen, trained on or not), and was drawn from them by lot. So a threshold set on audited cells is about the
  cells that are really empty, not about known ones that were hidden.
- An attribute with as many audited cells as its promise needs is calibrated on them alone, else on hidden ones. So it
  is too where the queue had asked for one of them and the model started from another model of the same catalog, which
  may have been trained on that answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.completion.complete import wanted_cells
from attrgan.evaluation.calibration import cells_needed
from attrgan.evaluation.hiding import Mask, mask_of
from attrgan.evaluation.metrics import is_right, scored_cells
from attrgan.evaluation.splits import HOLDOUT, split
from attrgan.model.completion_model import CompletionModel
from attrgan.schema import NOT_APPLICABLE, Schema


@dataclass(frozen=True)
class Gold:
    """The answers to cells of a catalog.

    Attributes:
        received: the catalog's rows as the sellers gave them.
        frame: the same, where answers of the queue fill cells of training rows.
        truth: as `received`, but holding nothing but the audited cells' answers, in object columns.
        asked: bool (N, A), the audited cells.
        queued: the attributes of which the queue had asked for an audited cell.
        counts: answers by what became of them.
    """

    received: pd.DataFrame
    frame: pd.DataFrame
    truth: pd.DataFrame
    asked: np.ndarray
    queued: frozenset[str] = frozenset()
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, frame: pd.DataFrame, schema: Schema, answers: pd.DataFrame | None = None, holdout: float = HOLDOUT
    ) -> "Gold":
        """Sorts answers (`attrgan.review.answers.current`) to the rows of a catalog, from `to_frame`."""
        names = list(schema.attributes)
        truth = pd.DataFrame({name: np.full(len(frame), None, object) for name in names})
        asked = np.zeros((len(frame), len(names)), bool)
        counts = dict.fromkeys(("trained", "audited", "set_aside", "not_trainable", "against_seller", "unknown"), 0)
        if answers is None or answers.empty:
            return cls(frame, frame, truth, asked)
        filled, queued = frame.copy(), set()
        rows = pd.Series(range(len(frame)), index=frame[schema.id].str.strip())
        trains = np.zeros(len(frame), bool)
        trains[split(frame[schema.id], holdout).train] = True
        for answer in answers.to_dict("records"):
            name, row = answer["attribute"], rows.get(answer["key"])
            if row is None or name not in schema.attributes:
                counts["unknown"] += 1
                continue
            value = answer["number"] if schema.attributes[name].kind == "numeric" else answer["answer"]
            fate = _fate(frame.at[row, name], value, answer, trains[row], schema)
            counts[fate] = counts.get(fate, 0) + 1
            if fate == "audited":
                truth.at[row, name], asked[row, names.index(name)] = value, True
                queued |= {name} if answer["queued"] else set()
            elif fate == "trained":
                filled.at[row, name] = value
        asked &= wanted_cells(frame, schema)
        return cls(frame, filled, truth, asked, frozenset(queued), counts)

    def cells(self, model: CompletionModel, features: pa.Table) -> dict[str, pd.DataFrame]:
        """The audited cells, answered as `complete` answers them and compared: as `metrics.answer_hidden`."""
        rows = np.flatnonzero(self.asked.any(1))
        if not len(rows):
            return {}
        frame, schema = self.received.iloc[rows].reset_index(drop=True), model.schema
        unseen: Mask = mask_of(wanted_cells(frame, schema), schema)
        inputs = model.inputs(frame, features.take(pa.array(rows)))
        answered = model.predict(frame, inputs, self.asked[rows], unseen)
        truth = self.truth.iloc[rows].reset_index(drop=True)
        return {n: scored_cells(answer, truth[n], schema.attributes[n]) for n, answer in answered.items()}

    def calibration_cells(
        self, model: CompletionModel, features: pa.Table, hidden: dict[str, pd.DataFrame], same_catalog: bool = False
    ) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, Any]]]:
        """The cells that thresholds are set on, and for each attribute which they are, for `calibration.json`.

        Args:
            features: of all rows of the catalog.
            hidden: the scored hidden cells of calibration rows.
            same_catalog: the model started from one that may have been trained on answers of the queue.

        Returns:
            Attribute → scored cells, and attribute → `labels` (`reviews` or `hidden`) and `label_counts` of both kinds.
        """
        audited, schema = self.cells(model, features), model.schema
        chosen, labels = dict(hidden), {}
        for name in schema.attributes:
            counts = {kind: len(cells.get(name, ())) for kind, cells in (("reviews", audited), ("hidden", hidden))}
            enough = counts["reviews"] >= cells_needed(schema.target(name), schema.confidence_level)
            reviews = enough and not (same_catalog and name in self.queued)
            if reviews:
                chosen[name] = audited[name]
            labels[name] = {"labels": "reviews" if reviews else "hidden", "label_counts": counts}
        return chosen, labels


def _fate(cell: Any, value: Any, answer: Mapping[Any, Any], trains: bool, schema: Schema) -> str:
    """What becomes of an answer, as a key of the counts: `agrees_with_seller` beside those that are always there."""
    attribute = schema.attributes[answer["attribute"]]
    if pd.notna(cell):
        same = is_right(np.array([value], dtype=object), np.array([cell], dtype=object), attribute)[0]
        return "agrees_with_seller" if same else "against_seller"
    if answer["purpose"] == "audit":
        return "audited"
    if not trains:
        return "set_aside"
    return "not_trainable" if attribute.kind == "numeric" and answer["answer"] == NOT_APPLICABLE else "trained"
