"""Trains on the made-up catalog without dropout and Gumbel noise: what is left does not depend on who draws it.

Started by `test_training_processes.py` as `python -m train_without_chance FOLDER`, alone or under torchrun.
"""

import sys
from pathlib import Path

import torch
from small_catalog import SCHEMA, catalog, with_gaps

from attrgan.features import cache
from attrgan.lake.cells import to_frame
from attrgan.model.generator import Size
from attrgan.training import distributed, losses
from attrgan.training.train import Options, follow, train

SIZE = Size(width=32, layers=1, heads=2, feed_forward=64, dropout=0.0, wide_dropout=0.0, vector_dropout=0.0)
OPTIONS = Options(epochs=3, batch_size=16, adversarial_weight=0.5, log_every=1, size=SIZE)


def likeliest(logits: torch.Tensor, tau: float, hard: bool) -> torch.Tensor:
    """Gumbel-softmax without the noise."""
    soft = (logits / tau).softmax(-1)
    return torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0) - soft.detach() + soft


def main() -> None:
    torch.nn.Dropout.forward = lambda self, x: x  # some have a rate of their own
    losses.F.gumbel_softmax = likeliest
    losses._drawn_sets = lambda logits, sets: logits[:, : sets.candidates].sigmoid()
    workers = distributed.connect("cpu")
    frame = to_frame(with_gaps(catalog(120)), SCHEMA)
    if not workers.first:
        follow(SCHEMA, frame, lambda rows: cache.encode(rows, SCHEMA), OPTIONS, workers)
        return
    folder = Path(sys.argv[1])
    folder.mkdir()
    train(SCHEMA, frame, cache.encode(frame, SCHEMA), OPTIONS, folder, say=lambda _: None, workers=workers)


if __name__ == "__main__":
    main()
