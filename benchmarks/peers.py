"""What attrgan is compared with on catalogs: models of one column each, all with the same interface.

A peer learns from a task and returns a function that answers it, so that both are timed. Peers learn from the holed
training rows and see the holed test rows, as attrgan does.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.linear import LinearPeer, Text
from benchmarks.scoring import TOLERANCE
from benchmarks.tasks import ID, Task

Answer = Callable[[], pd.DataFrame]
"""Answers the test rows: `product_id`, `attribute`, `value`, `confidence` (not-a-number: the model has none)."""
Column = Callable[[], tuple[np.ndarray, np.ndarray | float]]
"""Answers one column of the test rows: values and confidence, each (rows,)."""


def per_column(task: Task, learn: Callable[[str], Column]) -> Answer:
    """Learns every scored column; one that no training row knows has no answers."""
    columns = {name: learn(name) for name in task.set.scored if task.train[name].notna().any()}

    def answer() -> pd.DataFrame:
        parts = []
        for name, column in columns.items():
            values, confidence = column()
            part = pd.DataFrame({ID: task.test[ID].to_numpy(), "attribute": name, "confidence": confidence})
            parts.append(part.assign(value=pd.Series(values, dtype=object)))
        return pd.concat(parts, ignore_index=True)

    return answer


def mode(task: Task) -> Answer:
    """The most frequent value, or the median; its confidence is the share of training cells it answers right."""

    def learn(name: str) -> Column:
        known = task.train[name].dropna()
        if task.set.kinds[name] == "numeric":
            guess = known.median()
            share = float(((known - guess).abs() <= TOLERANCE * known.abs()).mean())
        else:
            guess = min(known.mode())
            share = float((known == guess).mean())
        return lambda: (np.full(len(task.test), guess, dtype=object), share)

    return per_column(task, learn)


def linear(task: Task) -> Answer:
    """One linear model per column, see `benchmarks.linear`."""
    schema = task.schema
    text = Text(schema.text).fit(task.train)
    matrix = text.transform(task.train)
    columns = {}

    def learn(name: str) -> Column:
        peer = LinearPeer(schema, name).fit(task.train, matrix)
        return lambda: peer.predict(task.test, seen())

    def seen() -> object:
        if "test" not in columns:
            columns["test"] = text.transform(task.test)
        return columns["test"]

    return per_column(task, learn)
