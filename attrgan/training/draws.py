"""What chance decides about a batch in training, and what the discriminator is to judge of it."""

from dataclasses import dataclass

import numpy as np
import torch

from attrgan.evaluation import hiding
from attrgan.evaluation.hiding import Mask
from attrgan.model.generator import Generator
from attrgan.model.inputs import tensor
from attrgan.model.vocabulary import VECTORS, Vocabulary
from attrgan.schema import Schema
from attrgan.training import losses


@dataclass
class Judgement:
    """What D judges of B items: `context` (B, D), value embeddings `real` and `fake` (B, A, D), which cells have a
    value, `known`, and which are `judged`, bool (B, A)."""

    context: torch.Tensor
    real: torch.Tensor
    fake: torch.Tensor
    known: torch.Tensor
    judged: torch.Tensor


@dataclass
class Draws:
    """What chance decides about the rows of a batch, arrays (B, …)."""

    hidden: Mask
    unlisted: dict[str, np.ndarray]
    text: np.ndarray | None
    levels: dict[str, np.ndarray]
    composed: dict[str, np.ndarray]
    judged: np.ndarray
    z: torch.Tensor

    @classmethod
    def of_rows(
        cls, known: np.ndarray, schema: Schema, generator: Generator, vocabulary: Vocabulary,
        rng: np.random.Generator, noise: torch.Generator | None,
    ) -> "Draws":  # fmt: skip
        """Draws for rows whose known cells are bool (B, A); z comes from `noise`, None being torch's own generator."""
        hidden = hiding.for_training(known, schema, rng)
        unlisted = losses.unlisted_chances(generator, vocabulary, len(known), rng)
        text = rng.random(len(known)) < 0.05 if schema.text else None
        levels = {level: rng.random(len(known)) < 0.1 for level in VECTORS}
        composed = losses.choose_composed(generator, len(known), rng)
        z = torch.randn(*known.shape, generator.size.noise, generator=noise)
        return cls(hidden, unlisted, text, levels, composed, rng.random(known.shape) < 0.7, z)

    def of(self, at: np.ndarray) -> "Draws":
        """The part for some rows of the batch."""
        if len(at) == len(self.judged):
            return self
        mask = Mask(self.hidden.cells[at], {n: group[at] for n, group in self.hidden.groups.items()})
        by_name = ({n: of[at] for n, of in named.items()} for named in (self.unlisted, self.levels, self.composed))
        unlisted, levels, composed = by_name
        text = None if self.text is None else self.text[at]
        return Draws(mask, unlisted, text, levels, composed, self.judged[at], self.z[tensor(at)])
