"""Candidate and champion of different schemas on the same rows."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from attrgan import api
from attrgan.errors import GateError, ModelError

SMALLEST = Path(__file__).parents[3] / "examples" / "smallest"
CATALOG = str(SMALLEST / "catalog.csv")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A model of the same catalog whose schema lacks an attribute and has the others in another order."""
    place = tmp_path_factory.mktemp("other")
    roles = yaml.safe_load((SMALLEST / "schema.yaml").read_text())
    names = sorted(set(roles["attributes"]) - {"size"}, reverse=True)
    assert names != [n for n in roles["attributes"] if n != "size"]
    roles["attributes"] = {name: roles["attributes"][name] for name in names}
    (place / "schema.yaml").write_text(yaml.safe_dump(roles, sort_keys=False))
    api.train(CATALOG, str(place / "schema.yaml"), str(place / "model"), seed=1, epochs=1, refit=False, say=str)
    return place / "model"


def test_a_champion_of_another_schema_is_judged_on_the_cells_of_the_same_attributes(other, tiny_model, tmp_path):
    found = {}
    for name, one, two in (("new", tiny_model, other), ("old", other, tiny_model), ("same", tiny_model, tiny_model)):
        with suppress(GateError):  # which of two models that know little is better is not what is asked
            api.compare(str(one), CATALOG, str(tmp_path / name), champion=str(two))
        found[name] = json.loads((tmp_path / name / "comparison.json").read_text())["attributes"]
    assert found["new"]["size"]["champion"] is None
    assert "size" not in found["old"]
    for name in found["old"]:
        assert found["new"][name]["n"] == found["old"][name]["n"] == found["same"][name]["n"]
        assert found["same"][name]["champion"] == found["same"][name]["candidate"]


def test_a_champion_that_knows_items_by_another_column_cannot_be_compared(tiny_model, tmp_path):
    champion = tmp_path / "champion"
    shutil.copytree(tiny_model, champion)
    schema = (champion / "schema.yaml").read_text()
    assert schema.count("\nid: id\n") == 1
    (champion / "schema.yaml").write_text(schema.replace("\nid: id\n", "\nid: sku\n"))
    with pytest.raises(ModelError, match=r"by 'id' and the champion by 'sku': .* `attrgan promote --version N`"):
        api.compare(str(tiny_model), CATALOG, str(tmp_path / "out"), champion=str(champion))
    assert not (tmp_path / "out").exists()
