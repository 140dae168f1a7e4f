"""The benchmarks are run from the project's root; so are their tests. Real sets are used where they are there."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))


@pytest.fixture
def data() -> Path:
    """The folder of the benchmark's files; the test is skipped where there is none."""
    place = Path(os.environ.get("ATTRGAN_BENCHMARK_DATA", "nowhere"))
    if not place.is_dir():
        pytest.skip("ATTRGAN_BENCHMARK_DATA names no folder with the benchmark's files")
    return place
