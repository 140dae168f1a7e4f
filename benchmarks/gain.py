"""GAIN as published (Yoon, Jordon, van der Schaar, ICML 2018), with the hyperparameters of its authors' code.

G sees the table with noise in its holes and the mask; D sees what G filled and a hint, and judges which cells are
real. G's loss on the visible cells (weight 100) is a reconstruction, not an imputation.

    L_D = −mean(m log D + (1 − m) log(1 − D))
    L_G = −mean((1 − m) log D) + 100 · mean(m (x − G)²) / mean(m)
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

BATCH, HINT_RATE, ALPHA, ITERATIONS, NOISE = 128, 0.9, 100.0, 10_000, 0.01


def impute(table: np.ndarray, seed: int, iterations: int = ITERATIONS) -> np.ndarray:
    """Fills the holes of a table.

    Args:
        table: float (rows, columns) in [0, 1]; not-a-number where a cell is missing.
        seed: of weights, batches, noise and hints.

    Returns:
        float64 (rows, columns) without holes; the visible cells are as given.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    mask = torch.tensor(~np.isnan(table), dtype=torch.float32)
    x = torch.tensor(np.nan_to_num(table), dtype=torch.float32)
    g, d = (_network(x.shape[1], generator) for _ in range(2))
    g_step, d_step = torch.optim.Adam(g.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 1e-3)
    for _ in range(iterations):
        rows = torch.randperm(len(x), generator=generator)[:BATCH]
        m, seen = mask[rows], _with_noise(x[rows], mask[rows], generator)
        hint = m * (torch.rand(m.shape, generator=generator) < HINT_RATE)
        filled = g(torch.cat([seen, m], 1))
        joined = m * seen + (1 - m) * filled
        _step(d_step, _loss_d(d(torch.cat([joined.detach(), hint], 1)), m))
        judged = d(torch.cat([joined, hint], 1))
        adversarial = -((1 - m) * torch.log(judged + 1e-8)).mean()
        _step(g_step, adversarial + ALPHA * (m * (seen - filled) ** 2).mean() / m.mean())
    with torch.no_grad():
        filled = g(torch.cat([_with_noise(x, mask, generator), mask], 1))
    return np.where(np.isnan(table), filled.numpy().astype(float), table)


def _network(columns: int, generator: "torch.Generator") -> "torch.nn.Sequential":
    """Three layers of the table's width; weights from N(0, 2 / inputs), biases zero."""
    import torch
    from torch import nn

    layers = [nn.Linear(2 * columns, columns), nn.Linear(columns, columns), nn.Linear(columns, columns)]
    for layer in layers:
        with torch.no_grad():
            layer.weight.normal_(0, (2 / layer.in_features) ** 0.5, generator=generator)
            layer.bias.zero_()
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.Sigmoid())


def _with_noise(x: "torch.Tensor", mask: "torch.Tensor", generator: "torch.Generator") -> "torch.Tensor":
    import torch

    return mask * x + (1 - mask) * NOISE * torch.rand(x.shape, generator=generator)


def _loss_d(judged: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    import torch

    return -(mask * torch.log(judged + 1e-8) + (1 - mask) * torch.log(1 - judged + 1e-8)).mean()


def _step(optimizer: "torch.optim.Optimizer", loss: "torch.Tensor") -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
