"""The smallest case, by the commands of its README: a hundred products are completed, and none of it is promised."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SMALLEST = Path(__file__).parents[2] / "examples" / "smallest"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """What the README's commands write."""
    out = tmp_path_factory.mktemp("smallest")
    lines = re.findall(r"^attrgan .*", (SMALLEST / "README.md").read_text(), re.MULTILINE)
    assert [line.split()[1] for line in lines] == ["validate", "train", "complete"]
    for line in lines:
        words = [word.replace("out/", f"{out}/") for word in line.split()[1:]]
        done = subprocess.run(
            [sys.executable, "-m", "attrgan", *words], cwd=SMALLEST, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def catalog() -> pd.DataFrame:
    return pd.read_csv(SMALLEST / "catalog.csv", keep_default_na=False, dtype=str)


def test_it_is_a_hundred_products_with_five_attributes_a_fifth_unknown(catalog):
    attributes = catalog[["brand", "colour", "material", "size", "price"]]
    assert attributes.shape == (100, 5)
    assert 0.15 < (attributes == "").to_numpy().mean() < 0.25


def test_the_catalog_is_the_one_that_its_script_makes(tmp_path):
    script = tmp_path / "make_catalog.py"
    script.write_text((SMALLEST / "make_catalog.py").read_text())
    subprocess.run([sys.executable, str(script)], check=True)
    assert (tmp_path / "catalog.csv").read_bytes() == (SMALLEST / "catalog.csv").read_bytes()


def test_every_empty_cell_gets_a_value_and_none_is_filled(out, catalog):
    cells = pd.read_parquet(out / "completed" / "completions.parquet")
    assert len(cells) == (catalog == "").to_numpy().sum()
    assert set(cells["status"]) <= {"review", "abstained"}
    assert cells["value"].notna().all()


def test_it_says_how_many_calibration_cells_are_needed_and_how_many_there_are(out):
    promises = json.loads((out / "model" / "calibration.json").read_text())
    assert set(promises) == {"brand", "colour", "material", "size", "price"}
    for promise in promises.values():
        assert promise["threshold"] is None
        assert re.search(r"needs 59.*has \d+", promise["reason"]), promise["reason"]
