"""Starting from another model: what its weights mean is carried over, whatever its catalog and schema were.

Choices:
- a weight is carried where it means the same in both models: layers without a vocabulary as they are; the text by the
  hash of the word or 3-gram; values by their string (of the same attribute first); what belongs to an attribute or a
  column by its name; the linear part by feature × (attribute, value). Everything else starts fresh;
- the words and 3-grams of both catalogs are kept: what a small catalog's training rows never say, the other may have;
- a number is encoded piecewise-linearly between quantiles (Gorishniy et al., 2022), and two catalogs have different
  ones: not the weights are carried but the function, read off at the new knots; how numbers go together and what texts
  say of them (`numeric.py`, `regression.py`) is estimated from the new catalog alone;
- pretrained vectors keep the other model's principal components, where the encoder is the same, since the weights
  mean nothing without them, and many rows give better ones than few; the centre is the new catalog's own;
- the sizes of the networks are the other model's; the discriminator, which no model folder holds, starts fresh;
- rows that the other model's weights have seen set no threshold and score nothing here: they join the training rows.
"""

from dataclasses import dataclass, replace

import numpy as np

from attrgan.errors import CatalogError
from attrgan.evaluation.splits import Split
from attrgan.model.completion_model import CompletionModel
from attrgan.model.generator import Generator
from attrgan.model.vocabulary import Hashes, Vocabulary
from attrgan.schema import Schema
from attrgan.training.carrier import Carrier

LEAST = 0.1
"""Of the rows that would be set aside, the share without which thresholds would rest on nothing."""


@dataclass(frozen=True)
class Origin:
    """The model to start from.

    Attributes:
        model: the model.
        trained, validated: uint64 hashes of the ids (`splits.id_hashes`) of the rows that moved its weights, and of
            those that chose the epoch they are of; its own origin's among them.
    """

    model: CompletionModel
    trained: np.ndarray
    validated: np.ndarray

    def knows(self, schema: Schema) -> bool:
        """Whether equal ids mean the same item: where both catalogs call row and id alike."""
        theirs = self.model.schema
        return (theirs.entity, theirs.id) == (schema.entity, schema.id)


def set_aside(parts: Split, hashes: np.ndarray, origin: Origin) -> Split:
    """The split without rows in validation, calibration and holdout that have moved the origin's weights.

    Args:
        parts: the split of N rows.
        hashes: uint64 (N,), of their ids.

    Raises:
        CatalogError: next to no row is left to validate and calibrate on.
    """
    trained = np.isin(hashes, origin.trained)
    touched = trained | np.isin(hashes, origin.validated)
    validation, calibration, holdout = (
        part[~seen[part]]
        for part, seen in ((parts.validation, trained), (parts.calibration, touched), (parts.holdout, touched))
    )
    wanted, left = len(parts.validation) + len(parts.calibration), len(validation) + len(calibration)
    if not len(validation) or left < LEAST * wanted:
        raise CatalogError(
            f"model {origin.model.version} has learned from {wanted - left} of the {wanted} rows of the catalog that "
            "would be set aside for validation and calibration: bring rows that it has not seen, start from a model "
            "that was trained with --no-refit, or train without --from"
        )
    kept = np.concatenate([validation, calibration, holdout])
    return Split(np.setdiff1d(np.arange(len(hashes)), kept), validation, calibration, holdout)


def inherit(vocabulary: Vocabulary, schema: Schema, origin: Origin) -> Vocabulary:
    """A vocabulary fitted on the new catalog, with the origin's words, 3-grams and principal components."""
    theirs = origin.model.vocabulary
    vectors = dict(vocabulary.vectors)
    for name, fitted in vectors.items():
        known = theirs.vectors.get(name)
        level = name.split()[0]  # of several parts of one vector
        same = getattr(schema.encoders, level) == getattr(origin.model.schema.encoders, level)
        if same and known and len(known["centre"]) == len(fitted["centre"]):
            vectors[name] = fitted | {"components": known["components"]}
    return replace(
        vocabulary,
        words=Hashes(np.union1d(vocabulary.words.known, theirs.words.known)),
        grams=Hashes(np.union1d(vocabulary.grams.known, theirs.grams.known)),
        vectors=vectors,
    )


def carry(generator: Generator, vocabulary: Vocabulary, origin: Origin) -> dict[str, float]:
    """Puts the origin's weights into a new generator; returns the share carried of each part and of `all` weights.

    Args:
        generator: of the origin's size.
        vocabulary: the generator's, from `inherit`.
    """
    carrier = Carrier(generator, vocabulary, origin.model)
    carrier.carry()
    generator.load_state_dict(carrier.new)
    generator.wide.forget_own()
    counts: dict[str, list[int]] = {}
    for name, taken in carrier.taken.items():
        for part in (name.split(".")[0], "all"):
            done, of = counts.get(part, (0, 0))
            counts[part] = [done + int(taken.sum()), of + taken.numel()]
    return {part: round(done / max(of, 1), 4) for part, (done, of) in counts.items()}
