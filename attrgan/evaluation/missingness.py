"""What is really missing, modelled: how alike each known cell is to the empty ones of its attribute.

Known cells that were hidden stand for the empty ones only where cells are missing completely at random. Where what is
missing depends on what is seen of an item (MAR: old items have no material, a category has no colours), each known
cell is weighted by the odds w = P(empty | x) / P(known | x) of a logistic regression: the mean over known cells is then
the one over empty cells (importance weighting under covariate shift; Shimodaira, 2000). Where it depends on the value
itself (MNAR: nobody states the price of what is dear), no weight can mend it: only labels of really empty cells do.

x is simple on purpose, since weights thin cells and rank nothing: which other cells are known, how long each text and
sequence is, and the category. It holds nothing of the attribute itself nor of what is hidden with it.
"""

import numpy as np
import pandas as pd

from attrgan.schema import Schema

LEAST_EMPTY = 20
"""With fewer empty or known cells than this, nothing is learned of how they differ, and all weights are 1."""
CATEGORIES = 20
"""The most frequent categories that are told apart."""


def weights(
    frame: pd.DataFrame, schema: Schema, name: str, empty: np.ndarray, learn: np.ndarray, ask: np.ndarray
) -> np.ndarray:
    """How much more like the attribute's empty cells than like its known ones each row is.

    Args:
        frame: all rows of the catalog, from `to_frame`.
        empty: bool (rows,), the cells of the attribute that are to be completed; one that is neither known nor to be
            completed (`applies_to`) tells nothing.
        learn: int (n,), rows to learn from; ask: int (m,), rows to weigh.

    Returns:
        float64 (m,): odds of being empty, with a mean of 1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learn = learn[empty[learn] | frame[name].notna().to_numpy()[learn]]
    if min(empty[learn].sum(), (~empty[learn]).sum()) < LEAST_EMPTY or not len(ask):
        return np.ones(len(ask))
    x = _features(frame, schema, name)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(x[learn], empty[learn])
    odds = np.exp(np.clip(model.decision_function(x[ask]), -10, 10))
    return np.asarray(odds / odds.mean())


def _features(frame: pd.DataFrame, schema: Schema, name: str) -> np.ndarray:
    """float64 (rows, features), of everything but the attribute and what is hidden with it."""
    away = set(schema.hidden_together[name])
    seen = [frame[other].notna().to_numpy(float) for other in schema.attributes if other not in away]
    for column in [c for c in (*schema.text, *schema.sequence_columns) if c in frame and c not in away]:
        length = frame[column].map(_length).to_numpy(float)
        seen += [np.log1p(length), (length == 0).astype(float)]
    seen += [frame[column].notna().to_numpy(float) for column in [*schema.images, *schema.audio] if column in frame]
    if schema.category in frame and schema.category not in away:
        category = frame[schema.category].astype(str)
        seen += [(category == value).to_numpy(float) for value in category.value_counts().index[:CATEGORIES]]
    return np.column_stack(seen) if seen else np.zeros((len(frame), 1))


def _length(cell: object) -> int:
    """Of a text in characters, of a sequence in steps; 0 where there is none."""
    return len(cell) if isinstance(cell, str | list | tuple | np.ndarray) else 0
