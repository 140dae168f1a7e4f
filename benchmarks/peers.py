"""What attrgan is compared with on catalogs: models of one column each, all with the same interface.

A peer learns from a task and returns a function that answers it, so that both are timed. Peers learn from the holed
training rows and see the holed test rows, as attrgan does.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from benchmarks.linear import LinearPeer, Text, most_probable
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
    seen = cache(lambda: text.transform(task.test))  # part of the answering, once

    def learn(name: str) -> Column:
        peer = LinearPeer(schema, name).fit(task.train, matrix)
        return lambda: peer.predict(task.test, seen())

    return per_column(task, learn)


MAX_BOOSTED_CLASSES = 100
COMPONENTS = 50


def boosting(task: Task) -> Answer:
    """Gradient boosted trees per column, on the main components of the text and the ordinal-coded other attributes."""
    schema = task.schema
    text = Text(schema.text).fit(task.train)
    dense = _components(text.transform(task.train))
    train, test = dense(text.transform(task.train)), dense(text.transform(task.test))
    coded_train, coded_test = _coded(task)
    columns = list(coded_train)

    def learn(name: str) -> Column:
        others = [c for c in columns if c not in schema.hidden_together[name]]
        x, asked = (np.hstack([t, c[others]]) for t, c in ((train, coded_train), (test, coded_test)))
        values = task.train[name]
        known = values.notna().to_numpy()
        if task.set.kinds[name] == "numeric":
            model = HistGradientBoostingRegressor(max_iter=50, random_state=task.seed)
            model.fit(x[known], values[known].to_numpy(float))
            return lambda: (model.predict(asked), np.nan)
        known = known & values.isin(values.value_counts().index[:MAX_BOOSTED_CLASSES]).to_numpy()
        one = values[known].nunique() == 1
        classifier = DummyClassifier() if one else HistGradientBoostingClassifier(max_iter=50, random_state=task.seed)
        classifier.fit(x[known], values[known].to_numpy())
        return lambda: most_probable(classifier, asked)

    return per_column(task, learn)


def _components(matrix: sparse.csr_matrix) -> Callable[[sparse.csr_matrix], np.ndarray]:
    """The projection on the main components of a matrix; one without columns gives none."""
    if not matrix.shape[1]:
        return lambda given: np.zeros((given.shape[0], 0))
    return TruncatedSVD(min(COMPONENTS, matrix.shape[1]), random_state=0).fit(matrix).transform


def _coded(task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The attributes and the category of train and test rows as numbers; not-a-number: unknown, or new in test."""
    schema = task.schema
    columns = [*schema.attributes, *([schema.category] if schema.category else [])]
    coded: tuple[dict[str, pd.Series], dict[str, pd.Series]] = ({}, {})
    for name in dict.fromkeys(columns):
        codes = {value: i for i, value in enumerate(sorted(task.train[name].dropna().unique()))}
        for rows, found in zip((task.train, task.test), coded, strict=True):
            found[name] = rows[name] if task.set.kinds.get(name) == "numeric" else rows[name].map(codes)
    train, test = (pd.DataFrame(found).astype(float) for found in coded)
    return train, test
