"""One vector per item, in which near means alike: its completed attributes beside what its levels say of it.

The fused context alone is a poor one: it is trained to answer questions, and forgets what none of them needs (measured
by `benchmarks/vectors.py`). So a vector has two parts of fixed weights:
- *attributes*: per attribute the embedding of its value, where it is unknown the expectation over the generator's
  distribution; summed, each under the signs of its own name (as role and filler in Plate, 1995), so that the length
  does not grow with the number of attributes, and a brand is never taken for a colour;
- *content*: the mean of the item's word embeddings and its pretrained vectors, each of length 1.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch.nn import functional as F

from attrgan.model.generator import Generator, Hidden, Output, mean_of
from attrgan.model.inputs import Batch, batch, tensor
from attrgan.model.levels import piecewise
from attrgan.model.vocabulary import Vocabulary

if TYPE_CHECKING:
    from attrgan.model.completion_model import CompletionModel

CONTENT = 1.5
"""Weight of the content beside the attributes: from 1 to 2 labels lose a little and near-duplicates gain."""
BATCH = 512


@torch.inference_mode()
def item_vectors(model: "CompletionModel", frame: pd.DataFrame, features: pa.Table) -> np.ndarray:
    """The vectors of N items, with all that is known of them visible: float32 (N, D) of length 1, in their order."""
    inputs, generator = model.inputs(frame, features), model.generator.eval()
    values, strangers = generator.values(), model.strangers(inputs)
    embedded = _embedded(generator, model.vocabulary, values, strangers)
    order = np.argsort(np.diff(inputs.token_offsets), kind="stable")  # like lengths share a batch
    found = [torch.zeros(0, length(generator, model.vocabulary))]
    for start in range(0, len(order), BATCH):
        items = batch(inputs, order[start : start + BATCH], model.vocabulary)
        nothing = Hidden(torch.zeros(len(items), len(generator.attributes), dtype=torch.bool))
        z = torch.zeros(len(items), len(generator.attributes), generator.size.noise)
        output = generator(items, nothing, z, strangers, values)
        parts = [_attributes(generator, items, output, embedded), CONTENT * _content(generator, items)]
        found.append(F.normalize(torch.cat(parts, 1), dim=1))
    result = np.empty((len(order), found[0].shape[1]), np.float32)
    result[order] = torch.cat(found).cpu().numpy()
    return result


def length(generator: Generator, vocabulary: Vocabulary) -> int:
    """D: a width for the attributes, one for the words where there is text, the components of pretrained vectors."""
    words = generator.size.width * bool(generator.schema.text)
    return generator.size.width + words + sum(len(fitted["components"]) for fitted in vocabulary.vectors.values())


def _embedded(
    generator: Generator, vocabulary: Vocabulary, values: torch.Tensor, strangers: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Attribute → the embedding of every value it may have, of length 1: known values (or bins), then strangers."""
    found, start = {}, 0
    for name, size in zip(generator.categorical, generator.value_sizes, strict=False):
        table = values[start : start + size]
        found[name] = table if strangers is None else torch.cat([table, strangers])
        start += size
    for i, name in enumerate(generator.numeric):
        knots = piecewise(tensor(vocabulary.numbers[name].value).float()[:, None], generator.edges[i : i + 1])
        found[name] = knots[:, 0] @ generator.number[i]
    return {name: F.normalize(table, dim=1) for name, table in found.items()}


def _attributes(generator: Generator, items: Batch, output: Output, embedded: dict[str, torch.Tensor]) -> torch.Tensor:
    """The sum of the attributes' values under their signs, of length 1: (B, width)."""
    codes = dict(zip(generator.categorical, items.codes.unbind(1), strict=False))
    codes |= dict(zip(generator.numeric, items.bins.unbind(1), strict=True))
    sizes = dict(zip(generator.categorical, generator.value_sizes, strict=False))
    sizes |= {name: len(embedded[name]) for name in generator.numeric}
    total = output.context.new_zeros(len(items), generator.size.width)
    for name, table in embedded.items():
        if not sizes[name]:
            continue  # no training row knew a value
        if name in generator.sets:
            probability, code = generator.sets[name].marginals(output.logits[name]), items.sets[name]
        else:  # spans of an open attribute are left out
            probability, code = output.logits[name].softmax(1)[:, : sizes[name]], codes[name][:, None]
        expected = F.normalize(probability @ table[: sizes[name]], dim=1)
        value = F.normalize(mean_of(table[code.clamp(min=0)], code >= 0), dim=1)
        known = codes[name] >= 0
        total += torch.where(known[:, None], value, expected) * _signs(name, total.shape[1])
    return F.normalize(total, dim=1)


def _content(generator: Generator, items: Batch) -> torch.Tensor:
    """Words and pretrained vectors, of length 1 together: (B, D − width); zeros where the item has none of them."""
    parts = [F.normalize(items.vectors[name] * items.vector_mask[name][:, None], dim=1) for name in items.vectors]
    if generator.schema.text:
        words = generator.text(items.word, items.gram) * items.token_mask[..., None]
        parts.insert(0, F.normalize(words.sum(1), dim=1))
    return F.normalize(torch.cat([torch.zeros(len(items), 0), *parts], 1), dim=1)


def _signs(name: str, width: int) -> torch.Tensor:
    """float32 (width,): −1 or 1, decided by the attribute's name."""
    drawn = np.frombuffer(hashlib.shake_128(name.encode()).digest(-(-width // 8)), np.uint8)
    return tensor(np.unpackbits(drawn)[:width].astype(np.float32) * 2 - 1)
