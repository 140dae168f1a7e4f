"""The benchmarks are run from the project's root; so are their tests. Real sets are used where they are there."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))


@pytest.fixture
def data() -> Path:
    """The folder of the benchmark's files; the test is skipped where there is none."""
    place = Path(os.environ.get("ATTRGAN_BENCHMARK_DATA", "nowhere"))
    if not place.is_dir():
        pytest.skip("ATTRGAN_BENCHMARK_DATA names no folder with the benchmark's files")
    return place


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with one file of a set's name and columns, in which the title says the brand."""
    rng = np.random.default_rng(0)
    brands = rng.choice(["acme", "bolt", "core"], 120)
    frame = pd.DataFrame(
        {"id": [f"r{i}" for i in range(120)], "title": [f"{b} drill {i}" for i, b in enumerate(brands)]}
    )
    frame["brand"], frame["category"], frame["modelno"] = brands, "tools", [f"m{i}" for i in range(120)]
    frame["price"] = rng.integers(5, 9, 120).astype(float)
    folder = tmp_path / "data"
    folder.mkdir()
    frame.to_parquet(folder / "walmart_amazon.parquet")
    return folder
