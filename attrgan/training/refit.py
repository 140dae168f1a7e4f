"""The second training: on every row but the holdout, after the first has said for how long, and how sure to be.

Choices:
- The first training sets validation and calibration rows aside: they choose the epoch, the temperatures, the
  confidences and the thresholds. In a small catalog that is three rows in ten, and the model misses what they say. The
  second one starts anew, with the same seed and as many epochs, and learns from these rows too. What it brought and
  what was tried instead: docs/adr/0018-refit.md.
- It takes over temperatures and thresholds, and is mapped to be on the whole as sure of the holdout's cells as the
  first was, without a look at their values: left to itself it was surer than it was righter.
- What is promised was measured on the first model, and holds for the second as far as a model that has learned from
  more rows of the same kind is not less precise where it accepts as many cells. That is an assumption, no theorem: the
  holdout, which neither has seen, scores the second, and `--no-refit` keeps the first.
- Where less than `LEAST` of the training rows would be gained (some 47,000 rows and more), once is enough.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from attrgan.evaluation.promise import Cells
from attrgan.evaluation.recalibration import Recalibration, as_sure_as
from attrgan.evaluation.splits import Split
from attrgan.lake import storage
from attrgan.model.completion_model import CompletionModel
from attrgan.training.run import OUT_OF_TIME, Checkpoints, Run
from attrgan.training.trainer import Trainer

LEAST = 0.05
_NONE = np.empty(0, np.int64)


def together(parts: Split) -> Split:
    """The split of the second training: nothing is set aside but the holdout."""
    train = np.sort(np.concatenate([parts.train, parts.validation, parts.calibration]))
    return Split(train, _NONE, _NONE, parts.holdout)


def is_worth_it(first: Trainer, outcome: dict[str, Any]) -> bool:
    """Whether there is a second training: not ruled out, in time, with rows to gain and a holdout to judge it."""
    parts = first.data.parts
    if not first.data.known[parts.holdout].any():
        return False
    gained = len(parts.validation) + len(parts.calibration)
    return first.options.refit and outcome["stopped"] != OUT_OF_TIME and gained >= LEAST * len(parts.train)


def refit(
    first: Trainer,
    outcome: dict[str, Any],
    features: pa.Table,
    log: Callable[[dict[str, Any]], None],
    say: Callable[[str], None],
    checkpoints: Checkpoints | None = None,
    minutes: float | None = None,
) -> Trainer:
    """The second training, at the temperatures of the first; the first one where the time runs out.

    Args:
        first: trained and, in the first process, calibrated.
        outcome: what its run said.
        features: as of a `Trainer`, of the rows of `together`.
        log, say, checkpoints: as of a `Run`; the checkpoints lie below those of the first.
        minutes: at most so many; None: as many as it takes.

    Raises:
        Interrupted: SIGTERM came.
    """
    epochs, batch_size = outcome["epochs"], first.batch_size
    options = replace(first.options, epochs=epochs, batch_size=batch_size, max_minutes=minutes)
    parts = together(first.data.parts)
    say(f"Trains anew for {epochs} epochs, on all {len(parts.train)} rows but the holdout.")
    second = Trainer(first.schema, first.data.frame, features, options, first.origin, first.workers, parts)
    if checkpoints:
        checkpoints = replace(checkpoints, place=storage.join(checkpoints.place, "_refit"))
    if Run(second, log, say, checkpoints, after=outcome["epochs"]).to_the_end()["stopped"] == OUT_OF_TIME:
        say("The time was up before the second training was done: the first model is kept.")
        return first
    second.model.temperature |= first.model.temperature
    second.model.estimate |= first.model.estimate
    return second


def take_over(first: CompletionModel, second: CompletionModel, score: Callable[[CompletionModel], Cells]) -> None:
    """Makes the second model as sure as the first of holdout cells, at whose values nobody looks; it promises the same.

    Args:
        score: the answers of a model to holdout cells.
    """
    maps, first.recalibration = first.recalibration, {name: Recalibration() for name in first.recalibration}
    theirs, ours = ({n: c["confidence"].to_numpy() for n, c in score(model).items()} for model in (first, second))
    second.recalibration = as_sure_as(maps, theirs, ours)
    second.calibration = {
        name: promised | {"recalibration": [second.recalibration[name].s, second.recalibration[name].b]}
        for name, promised in first.calibration.items()
    }
