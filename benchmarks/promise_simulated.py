"""How often a promise is broken where the true precision is known, because the cells are made up.

    python -m benchmarks.promise_simulated [--repetitions 1000] [--cells 20 59 100 300 1000 2000]

A *world* is a distribution of confidences and the chance of being right at each. Calibration cells are drawn from it,
a threshold is set, and the true precision above it is looked up. At .95/.95 at most 5 % of the repetitions may be
broken; coverage, the share of all cells above the threshold, stands beside it, and `oracle` is the most that a
threshold could have. The peer is the plain empirical threshold (the largest prefix whose precision on the calibration
cells themselves is the target). Both see the same draws.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import special, stats

from attrgan.evaluation.calibration import walk
from attrgan.evaluation.promise import kept, pooled

TARGET = LEVEL = 0.95
GRID = 20_000
Rule = Callable[[np.ndarray, np.ndarray], float | None]


@dataclass(frozen=True)
class World:
    """Confidences, float (GRID,), ascending, each as frequent, and the chance of being right at each."""

    confidence: np.ndarray
    chance: np.ndarray

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Confidence, float (n,), and right, bool (n,)."""
        at = rng.integers(0, len(self.confidence), n)
        return self.confidence[at], rng.random(n) < self.chance[at]

    def above(self, threshold: float) -> tuple[float, float]:
        """Precision and coverage of the cells at or above a threshold."""
        first = int(np.searchsorted(self.confidence, threshold, side="left"))
        return float(self.chance[first:].mean()), 1 - first / len(self.confidence)

    @property
    def oracle(self) -> float:
        """The largest coverage whose precision is the target."""
        running = np.cumsum(self.chance[::-1]) / np.arange(1, len(self.chance) + 1)
        return float((np.flatnonzero(running >= TARGET)[-1] + 1) / len(self.chance)) if running.max() >= TARGET else 0.0


def worlds() -> dict[str, World]:
    """The worlds of the table; what each is, its name says."""

    def beta(a: float, b: float, slope: float = 1.0, offset: float = 0.0, levels: int | None = None) -> World:
        confidence = stats.beta.ppf((np.arange(GRID) + 0.5) / GRID, a, b)
        if levels:
            confidence = np.clip(np.round(confidence * levels) / levels, 0.02, 0.98)
        odds = special.logit(np.clip(confidence, 1e-9, 1 - 1e-9))
        return World(confidence, special.expit(slope * odds + offset))

    return {
        "calibrated, few are sure": beta(4, 1),
        "calibrated, most are sure": beta(2, 0.3),
        "overconfident": beta(2, 0.3, 0.7, -0.2),
        "timid": beta(4, 1, 1.5, 0.3),
        "twelve levels, many ties": beta(4, 0.7, levels=12),
        "confidence says nothing, .9499 right": World((np.arange(GRID) + 0.5) / GRID, np.full(GRID, 0.9499)),
    }


def promised(confidence: np.ndarray, right: np.ndarray) -> float | None:
    """The threshold of the walk."""
    return walk(confidence, right, TARGET, LEVEL).threshold


def empirical(confidence: np.ndarray, right: np.ndarray) -> float | None:
    """The threshold of the peer."""
    order = np.argsort(-confidence, kind="stable")
    sure, running = confidence[order], np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    whole = np.append(sure[1:] != sure[:-1], True)  # ties stand or fall together
    good = np.flatnonzero((running >= TARGET) & whole)
    return float(sure[good[-1]]) if len(good) else None


RULES: dict[str, Rule] = {"walk": promised, "empirical": empirical}


def broken_and_coverage(world: World, n: int, repetitions: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Rule → share of repetitions in which its promise is broken, and mean coverage."""
    rng = np.random.default_rng([seed, n])
    found = {name: np.zeros((repetitions, 2)) for name in RULES}
    for i in range(repetitions):
        confidence, right = world.draw(n, rng)
        for name, rule in RULES.items():
            threshold = rule(confidence, right)
            if threshold is not None:
                precision, coverage = world.above(threshold)
                found[name][i] = precision < TARGET, coverage
    return {name: (float(f[:, 0].mean()), float(f[:, 1].mean())) for name, f in found.items()}


def broken_of_many(repetitions: int, attributes: int = 20, seed: int = 0) -> tuple[float, float, int]:
    """A catalog of many attributes, of all worlds and of 59 to 1,000 cells: promises made, broken, and most at once."""
    rng = np.random.default_rng(seed)
    each = list(worlds().values())
    made, broken = np.zeros(repetitions), np.zeros(repetitions)
    for i in range(repetitions):
        for attribute in range(attributes):
            world = each[attribute % len(each)]
            threshold = promised(*world.draw((59, 100, 300, 1000)[attribute % 4], rng))
            made[i] += threshold is not None
            broken[i] += threshold is not None and world.above(threshold)[0] < TARGET
    return float(made.mean()), float(broken.mean()), int(broken.max())


# --- pools ---------------------------------------------------------------------------------------------------------


def correlated(items: int, rng: np.random.Generator, attributes: int = 4, known: float = 0.25) -> pd.DataFrame:
    """Cells of thin attributes; those of one item share its luck. Columns row, attribute, confidence, right."""
    row, attribute = np.nonzero(rng.random((items, attributes)) < known)
    odds = rng.normal(4.2 + 0.3 * (attribute % 3), 1.5)
    right = rng.random(len(row)) < special.expit(odds + 1.2 * rng.normal(0, 1, items)[row])
    return pd.DataFrame({"row": row, "attribute": attribute, "confidence": special.expit(odds), "right": right})


def pool_broken(items: int, repetitions: int, seed: int = 0) -> tuple[float, float, float]:
    """Share of repetitions in which the promise of a pool is broken, mean coverage, lowest precision of a member."""
    rng = np.random.default_rng([seed, items])
    truth = correlated(400_000, rng).sort_values("confidence", ascending=False, ignore_index=True)
    precision = truth["right"].cumsum().to_numpy() / np.arange(1, len(truth) + 1)
    found, members = np.zeros((repetitions, 2)), []
    for i in range(repetitions):
        cells = correlated(items, rng)
        thin = {str(name): part for name, part in cells.groupby("attribute")}
        threshold = next(iter(pooled(thin, TARGET, LEVEL, rng).values())).threshold
        if threshold is not None:
            n = int((truth["confidence"] >= threshold).sum())
            found[i] = precision[n - 1] < TARGET, n / len(truth)
            members.append(truth[:n].groupby("attribute")["right"].mean().min())
    return float(found[:, 0].mean()), float(found[:, 1].mean()), float(np.min(members, initial=1.0))


# --- what is missing is not what is known ----------------------------------------------------------------------------


def shifted(n: int, rng: np.random.Generator, hard: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, right and whether the item is hard, each (n,): at the same confidence hard items are less right."""
    is_hard = rng.random(n) < hard
    confidence = rng.uniform(0.6, 1, n)
    return confidence, rng.random(n) < np.where(is_hard, 0.88, 0.998) - 0.1 * (1 - confidence), is_hard


def shift_broken(n: int, repetitions: int, known: float = 0.15, empty: float = 0.65, seed: int = 0) -> dict[str, float]:
    """Share of repetitions in which the promise for empty cells is broken.

    Args:
        known, empty: the share of hard items among known and among empty cells.
    """
    rng = np.random.default_rng([seed, n])
    of_hard, of_others = empty / known, (1 - empty) / (1 - known)
    weights = {"equal weights": (1.0, 1.0), "weighted": (of_hard, of_others)}
    confidence, right, _ = shifted(400_000, rng, empty)
    broken = dict.fromkeys(weights, 0.0)
    for _ in range(repetitions):
        sure, answers, hard = shifted(n, rng, known)
        for name, pair in weights.items():
            keep = kept(np.where(hard, *pair), rng)
            threshold = promised(sure[keep], answers[keep])
            if threshold is not None:
                broken[name] += float(right[confidence >= threshold].mean() < TARGET) / repetitions
    return broken


def main(argv: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser("python -m benchmarks.promise_simulated", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--cells", nargs="+", type=int, default=[20, 59, 100, 300, 1000, 2000])
    given = parser.parse_args(argv)
    table = Table("world", "cells", "walk: broken", "coverage", "empirical: broken", "coverage", "oracle")
    for name, world in worlds().items():
        for n in given.cells:
            found = broken_and_coverage(world, n, given.repetitions)
            figures = [
                f(x) for rule in RULES for f, x in zip(("{:.1%}".format, "{:.3f}".format), found[rule], strict=True)
            ]
            table.add_row(name, str(n), *figures, f"{world.oracle:.3f}")
    console = Console(width=120)
    console.print(table)
    made, broken, most = broken_of_many(given.repetitions)
    console.print(f"of 20 attributes {made:.1f} promises are made, {broken:.2f} of them broken, at most {most} at once")
    table = Table("pool of four thin attributes, items", "broken", "coverage", "least precision of a member")
    for items in (100, 150, 230):
        broken, coverage, member = pool_broken(items, given.repetitions)
        table.add_row(str(items), f"{broken:.1%}", f"{coverage:.3f}", f"{member:.3f}")
    console.print(table)
    table = Table("empty cells are of harder items; known cells", *(names := ("equal weights", "weighted")))
    for n in (300, 1000, 2000):
        found = shift_broken(n, given.repetitions)
        table.add_row(str(n), *(f"{found[name]:.1%}" for name in names))
    console.print(table)


if __name__ == "__main__":
    main()
