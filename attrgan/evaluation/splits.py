"""Which row serves what: training, validation, calibration, or never seen before (holdout).

Holdout rows are chosen by a salted hash of the id alone, so they are the same for every version of a model and none was
ever trained on them; a smaller holdout is part of a larger one. In the first training, rows that set thresholds
(calibration) touch nothing else: not weights, not early stopping or temperature (validation), not vocabularies. A
second one learns from them too (`training/refit.py`).
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from attrgan.errors import InputError

HOLDOUT, LEAST_HOLDOUT, MOST_HOLDOUT = 0.10, 0.01, 0.50
CALIBRATION = (0.15, 0.20, 300, 1500)
VALIDATION = (0.05, 0.10, 100, 500)
"""Share of a large catalog and of a small one, the rows up to which the latter holds, and the most rows: past them more
cells sharpen neither a promise nor a temperature as much as they would the model."""
SALT = "attrgan"


@dataclass(frozen=True)
class Split:
    """Row numbers, int64, of each part."""

    train: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray
    holdout: np.ndarray


def as_holdout(share: float) -> float:
    """The share, where it is one that can be held out; raises InputError."""
    if LEAST_HOLDOUT <= share <= MOST_HOLDOUT:
        return share
    raise InputError(f"--holdout {share} is no share to hold out: expected from {LEAST_HOLDOUT} to {MOST_HOLDOUT}")


def id_hashes(ids: pd.Series) -> np.ndarray:
    """uint64 (N,): the salted hash of each id."""
    digests = (hashlib.blake2b(f"{SALT}\x1f{i}".encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def split(ids: pd.Series, share: float = HOLDOUT) -> Split:
    """Splits N rows: holdout by threshold, the others by the order of their hashes, in shares of N up to a limit.

    Args:
        share: of the holdout, as of `as_holdout`.
    """
    hashes = id_hashes(ids)
    holdout = hashes < np.uint64(int(share * 2**64))
    rest = np.flatnonzero(~holdout)
    rest = rest[np.argsort(hashes[rest], kind="stable")[::-1]]
    calibration, validation = _rows(len(ids), *CALIBRATION), _rows(len(ids), *VALIDATION)
    return Split(
        train=np.sort(rest[calibration + validation :]),
        validation=np.sort(rest[calibration : calibration + validation]),
        calibration=np.sort(rest[:calibration]),
        holdout=np.flatnonzero(holdout),
    )


def _rows(n: int, share: float, small_share: float, small: int, most: int) -> int:
    """How many of n rows a part gets, at least one."""
    return max(min(max(round(share * n), min(round(small_share * n), small)), most), 1)


def evenly_spread(rows: int, most: int) -> np.ndarray:
    """int64, ascending: `most` of so many rows, evenly spread over them, or all where there are no more."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))
