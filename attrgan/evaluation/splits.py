"""Which row serves what: training, validation, calibration, or never seen before (holdout).

Holdout rows are chosen by a salted hash of the id alone, so they are the same for every version of a model and none was
ever trained on them. Rows that set thresholds (calibration) touch nothing else: not training, not early stopping or
temperature (validation), not vocabularies.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

HOLDOUT, CALIBRATION, VALIDATION = 0.10, 0.15, 0.05
MOST_CALIBRATION, MOST_VALIDATION = 2500, 1000
"""Rows past which more cells sharpen neither a promise nor a temperature as much as they would the model."""
SALT = "attrgan"


@dataclass(frozen=True)
class Split:
    """Row numbers, int64, of each part."""

    train: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray
    holdout: np.ndarray


def id_hashes(ids: pd.Series) -> np.ndarray:
    """uint64 (N,): the salted hash of each id."""
    digests = (hashlib.blake2b(f"{SALT}\x1f{i}".encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def split(ids: pd.Series) -> Split:
    """Splits N rows: holdout by threshold, the others by the order of their hashes, in shares of N up to a limit."""
    hashes = id_hashes(ids)
    holdout = hashes < np.uint64(int(HOLDOUT * 2**64))
    rest = np.flatnonzero(~holdout)
    rest = rest[np.argsort(hashes[rest], kind="stable")[::-1]]
    calibration = min(round(CALIBRATION * len(ids)), MOST_CALIBRATION)
    validation = min(max(round(VALIDATION * len(ids)), 1), MOST_VALIDATION)
    return Split(
        train=np.sort(rest[calibration + validation :]),
        validation=np.sort(rest[calibration : calibration + validation]),
        calibration=np.sort(rest[:calibration]),
        holdout=np.flatnonzero(holdout),
    )
