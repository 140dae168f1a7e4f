"""What validation rows say of the averaged weights: which epoch is kept, and whether D can tell real from generated."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from attrgan.evaluation import calibration, hiding
from attrgan.evaluation.hiding import Mask
from attrgan.model.completion_model import hidden_rows
from attrgan.model.inputs import batch, tensor
from attrgan.training import losses

if TYPE_CHECKING:
    from attrgan.training.trainer import Trainer

TEMPERATURES = (0.7, 1.0, 1.4, 2.0)
"""What epochs are compared at."""


@torch.inference_mode()
def scores(trainer: "Trainer") -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    """Attribute → logits (n, V) and right candidates, as in `Targets`, of the validation cells, batch by batch."""
    average, inputs = trainer.average.eval(), trainer.data.inputs
    values = average.values()
    strangers = trainer.model.strangers(inputs)
    found: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {n: ([], []) for n in trainer.schema.attributes}
    rows = trainer.data.parts.validation
    for mask in _masks(trainer):
        for start in range(0, len(rows), 512):
            at = rows[start : start + 512]
            tensors, hidden = batch(inputs, at, trainer.vocabulary), hidden_rows(mask, at, len(found))
            z = torch.zeros(len(at), len(found), trainer.options.size.noise)
            output = average(tensors, hidden, z, strangers, values)
            target = losses.targets(tensors, average, hidden.cells)
            for name, right in target.index.items():
                asked = target.asked(name)
                if asked.any():
                    found[name][0].append(output.logits[name][asked].cpu().numpy())
                    found[name][1].append(right[asked].cpu().numpy())
    return found


def _masks(trainer: "Trainer") -> list[Mask]:
    rows = np.zeros(len(trainer.data.frame), bool)
    rows[trainer.data.parts.validation] = True
    rng = np.random.default_rng([trainer.options.seed, 7])
    return list(hiding.each_once(trainer.data.known & rows[:, None], trainer.schema, rng))


def loss(trainer: "Trainer") -> float:
    """Mean negative log-likelihood of the validation cells, each attribute counting alike, at the best temperature;
    not a number where no validation row knows a cell.

    Temperatures are fitted after training: an epoch that is right more often must not lose for being too sure.
    """
    found = [(cost(trainer, name), *cells) for name, cells in scores(trainer).items() if cells[1]]

    if not found:
        return float("nan")

    def at(temperature: float) -> float:
        each = [np.concatenate([of(s / temperature, r) for s, r in zip(logits, right, strict=True)])
                for of, logits, right in found]  # fmt: skip
        return float(np.mean([cells.mean() for cells in each]))

    return min(at(temperature) for temperature in TEMPERATURES)


def cost(trainer: "Trainer", name: str) -> calibration.Cost:
    """The negative log-likelihood of an attribute's cells, of whole sets where they are sets."""
    sets = trainer.generator.sets.get(name)
    if sets is None:
        return calibration.cross_entropy

    def of_sets(logits: np.ndarray, right: np.ndarray) -> np.ndarray:
        return sets.negative_log_likelihood(tensor(logits).double(), tensor(right) > 0).cpu().numpy()

    return of_sets


@torch.inference_mode()
def discriminator_accuracy(trainer: "Trainer") -> float | None:
    """The share of validation cells that D judges rightly: one half means it cannot tell real from generated."""
    rows, options = trainer.data.parts.validation, trainer.options
    rng = np.random.default_rng([options.seed, 11])
    torch.manual_seed(options.seed)
    mask = hiding.for_training(trainer.data.known[rows], trainer.schema, rng)
    tensors, hidden = batch(trainer.data.inputs, rows, trainer.vocabulary), losses.hidden_cells(mask)
    trainer.average.eval()
    z = torch.randn(len(rows), len(trainer.schema.attributes), options.size.noise)
    output = trainer.average(tensors, hidden, z, trainer.model.strangers(trainer.data.inputs))
    chances = rng.random(tuple(hidden.cells.shape)) < 0.7
    judgement = trainer.judgement(tensors, hidden.cells, output, chances)
    if not judgement.judged.any():
        return None
    critic = trainer.critic(judgement)
    on_real, on_fake = critic(judgement.real), critic(judgement.fake)
    return losses.judged_rightly(on_real, on_fake, judgement.judged, options.adversarial_loss)
