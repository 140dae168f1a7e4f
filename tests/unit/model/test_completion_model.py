"""What a model may see, and what it must answer the same whatever stands beside it."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file
from small_catalog import SCHEMA, frame

from attrgan.errors import ModelError
from attrgan.evaluation.hiding import Mask, mask_of
from attrgan.evaluation.recalibration import Recalibration
from attrgan.features import cache
from attrgan.model import CompletionModel, Prediction

NAMES = list(SCHEMA.attributes)
OTHER = {
    "brand": "Belzone", "colour": "grey", "neckline": "n/a", "tags": '["kettle"]', "unit": "g",
    "quantity": 100.0, "price": 61.0,
}  # fmt: skip
STRANGER = {
    "brand": "Nobody Knows", "colour": "ultraviolet", "neckline": "halo", "tags": '["a", "b"]', "unit": "ell",
    "quantity": 7.5e6, "price": -3.0,
}  # fmt: skip


def answers(model: CompletionModel, items: pd.DataFrame, mask: Mask | None = None, wanted: np.ndarray | None = None):
    """The model's answer to every cell (or the wanted ones)."""
    everything = np.ones((len(items), len(NAMES)), dtype=bool)
    inputs = model.inputs(items, cache.encode(items, SCHEMA))
    return model.predict(items, inputs, everything if wanted is None else wanted, mask)


def assert_same(one: dict[str, Prediction], other: dict[str, Prediction], tolerance: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert list(one[name].value) == list(other[name].value), name
        for field in ("confidence", "number", "lower", "upper", "expected", "span"):
            np.testing.assert_allclose(getattr(one[name], field), getattr(other[name], field), atol=tolerance)


def differ(one: dict[str, Prediction], other: dict[str, Prediction]) -> bool:
    return any(not np.allclose(one[n].confidence, other[n].confidence, atol=1e-4) for n in one)


def hide(items: pd.DataFrame, *names: str) -> Mask:
    cells = np.zeros((len(items), len(NAMES)), dtype=bool)
    cells[:, [NAMES.index(name) for name in names]] = True
    return mask_of(cells, SCHEMA)


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    return frame(24, seed=5)


@pytest.mark.parametrize("replacement", [OTHER, STRANGER], ids=["another known value", "a stranger"])
@pytest.mark.parametrize("name", NAMES)
def test_no_answer_depends_on_the_value_of_a_hidden_cell(small_model, items, name, replacement):
    changed = items.assign(**{name: replacement[name]})
    mask = hide(items, name)
    assert_same(answers(small_model, items, mask), answers(small_model, changed, mask))
    assert differ(answers(small_model, items), answers(small_model, changed)), "visible, the value must matter"


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_depends_on_whether_a_hidden_cell_has_a_value_at_all(small_model, items, name):
    emptied = items.assign(**{name: np.nan if SCHEMA.attributes[name].kind == "numeric" else None})
    mask = hide(items, name)
    assert_same(answers(small_model, items, mask), answers(small_model, emptied, mask))


def test_what_gives_a_cell_away_is_hidden_with_it(small_model, items):
    mask = hide(items, "quantity")
    assert_same(answers(small_model, items, mask), answers(small_model, items.assign(unit=OTHER["unit"]), mask))


def test_a_sequence_that_gives_a_cell_away_is_hidden_with_it_from_the_network_and_from_the_linear_part(
    small_model, items
):
    other = items.assign(week=[[1, 2, 9]] * len(items), paid=[[999.0, 1.0, 5.0]] * len(items))
    absent = items.assign(week=None, paid=None)
    mask = hide(items, "price")
    assert_same(answers(small_model, items, mask), answers(small_model, other, mask))
    assert_same(answers(small_model, items, mask), answers(small_model, absent, mask))
    visible = hide(items, "colour")
    assert differ(answers(small_model, items, visible), answers(small_model, other, visible))


def test_a_cell_hidden_in_one_item_stays_visible_in_the_next(small_model, items):
    mask = hide(items, "unit")
    mask.cells[1:] = False
    one, other = answers(small_model, items, mask), answers(small_model, items.assign(unit="g"), mask)
    first_alike = {n: (one[n].confidence[0], other[n].confidence[0]) for n in NAMES}
    assert all(np.isclose(a, b, atol=1e-6) for a, b in first_alike.values())
    assert differ(one, other)


def test_an_answer_is_the_same_alone_and_among_others_of_any_length(small_model, items):
    long = frame(6, seed=8, prefix="L")
    long["title"] += " and much more to say" * 8
    long["week"] = [list(range(40))] * len(long)
    long["paid"] = [[float(i) for i in range(40)]] * len(long)
    together = answers(small_model, pd.concat([items, long], ignore_index=True))
    for row in (0, 7, 11, 23):
        alone = answers(small_model, items.iloc[[row]].reset_index(drop=True))
        for name in NAMES:
            assert alone[name].value[0] == together[name].value[row]
            assert alone[name].confidence[0] == pytest.approx(together[name].confidence[row], abs=1e-5)


def test_an_answer_does_not_depend_on_what_else_is_asked(small_model, items):
    some = np.zeros((len(items), len(NAMES)), dtype=bool)
    some[3, 2] = some[9, 2] = True
    asked, everything = answers(small_model, items, wanted=some), answers(small_model, items)
    assert list(asked) == [NAMES[2]]
    assert asked[NAMES[2]].rows.tolist() == [3, 9]
    np.testing.assert_allclose(asked[NAMES[2]].confidence, everything[NAMES[2]].confidence[[3, 9]], atol=1e-5)


def test_answers_come_in_the_order_of_the_rows(small_model):
    many = frame(1100, seed=3)  # more than two batches, sorted inside by length
    assert all(
        (np.diff(part.rows) > 0).all() and len(part.rows) == 1100 for part in answers(small_model, many).values()
    )


@pytest.mark.parametrize(
    "absent",
    [
        ["title", "description"],
        ["week", "paid", "review"],
        ["title", "description", "week", "paid", "review", "department"],
        NAMES,
        [*NAMES, "title", "description", "week", "paid", "review", "department"],
    ],
    ids=["no text", "no sequences", "only attributes", "only levels", "nothing but the id"],
)
def test_any_level_may_be_absent(small_model, items, absent):
    empty = items.assign(**dict.fromkeys(absent))
    for name in ("quantity", "price"):
        empty[name] = empty[name].astype(float)
    for name, part in answers(small_model, empty).items():
        assert len(part.rows) == len(items)
        assert ((part.confidence > 0) & (part.confidence <= 1 + 1e-9)).all(), name


def test_an_absent_level_in_one_item_changes_nothing_for_the_others(small_model, items):
    changed = items.copy()
    for name in ("title", "description", "week", "paid", "review"):
        changed.loc[0, name] = None
    one, other = answers(small_model, items), answers(small_model, changed)
    for name in NAMES:
        np.testing.assert_allclose(one[name].confidence[1:], other[name].confidence[1:], atol=1e-5)


def test_a_known_value_that_training_never_saw_is_read_by_its_spelling(small_model, items):
    mask = hide(items, "brand")
    known = answers(small_model, items, mask)
    strange = answers(small_model, items.assign(colour="ultraviolet"), mask)
    stranger = answers(small_model, items.assign(colour="infra-red"), mask)
    assert differ(known, strange)
    assert differ(strange, stranger)


def test_a_brand_nobody_has_listed_is_copied_from_the_title(small_model):
    new = frame(40, seed=9, brands=["Quexar", "Wobbly", "Yttrium", "Hogarth"], prefix="N")
    found = answers(small_model, new, hide(new, "brand"))["brand"]
    right = found.value == new["brand"].to_numpy()
    assert right.mean() >= 0.9
    assert found.copied[right].all()
    assert set(found.value) - set(small_model.vocabulary.values["brand"].values)


def test_the_evidence_of_a_copied_value_points_at_where_it_stands(small_model):
    new = frame(20, seed=9, brands=["Quexar"], prefix="N")
    new["brand"] = None
    new["title"] = "  「«" + new["title"].str.replace(" ", "»  ", n=1)
    done = small_model.complete(new)
    copied = done[(done["attribute"] == "brand") & (done["value"] == "Quexar")]
    assert len(copied) >= 10
    assert (copied["source"] == "text").all()
    for sku, evidence in zip(copied["sku"], copied["evidence"], strict=True):
        span = json.loads(evidence)["span"]
        raw = new.set_index("sku").loc[sku, span["column"]]
        assert raw[span["start"] : span["end"]] == span["text"] == "Quexar"


def test_what_does_not_apply_is_answered_with_not_applicable(small_model):
    new = frame(60, seed=21, prefix="K")
    kitchen = (new["department"] == "Kitchen").to_numpy()
    found = answers(small_model, new, hide(new, "neckline"))["neckline"]
    assert (found.value[kitchen] == "n/a").mean() > 0.95
    assert (found.value[~kitchen] != "n/a").mean() > 0.95


def test_numbers_come_with_an_interval_around_them(small_model, items):
    for name in ("quantity", "price"):
        part = answers(small_model, items, hide(items, name))[name]
        assert (part.lower <= part.number).all()
        assert (part.number <= part.upper).all()
        assert set(part.number) <= set(small_model.vocabulary.numbers[name].value)


def test_it_learned_what_the_titles_say(small_model):
    """Hiding proves nothing in a model that predicts one thing always."""
    new = frame(80, seed=33, prefix="T")
    for name in ("colour", "quantity", "unit", "price"):
        found = answers(small_model, new, hide(new, name))[name]
        truth = new[name].to_numpy()
        value = found.number if SCHEMA.attributes[name].kind == "numeric" else found.value
        right = np.abs(value - truth) <= 0.05 * truth if SCHEMA.attributes[name].kind == "numeric" else value == truth
        assert right.mean() > 0.9, name


# --- the folder ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(small_folder, tmp_path):
    for file in small_folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_mapped_confidence_changes_no_answer_and_no_order(small_model, items):
    """Other candidates keep theirs too, and are never more probable than the answer."""
    maps = small_model.recalibration
    found = []
    try:
        for to in (Recalibration(), Recalibration(-0.7, -1.0), Recalibration(0.3, 2.0)):
            small_model.recalibration = dict.fromkeys(maps, to)
            found.append(answers(small_model, items, mask_of(np.ones((len(items), len(NAMES)), bool), SCHEMA)))
    finally:
        small_model.recalibration = maps
    plain = found[0]
    for mapped in found[1:]:
        for name, answer in mapped.items():
            assert answer.value.tolist() == plain[name].value.tolist()
            unsure = plain[name].confidence < 0.999
            assert not np.isclose(answer.confidence, plain[name].confidence)[unsure].any()
            order = np.argsort(plain[name].confidence, kind="stable")
            assert (np.diff(answer.confidence[order]) >= 0).all()
            if name != "tags":
                for sure, others in zip(answer.confidence, answer.runners_up, strict=True):
                    assert sure + sum(p for _, p in others) <= 1.001
                    assert all(p <= sure + 1e-4 for _, p in others)


def test_a_saved_model_answers_as_before(small_model, items, tmp_path):
    small_model.save(tmp_path)
    again = CompletionModel.load(tmp_path)
    assert_same(answers(small_model, items), answers(again, items), tolerance=0)
    assert again.version == small_model.version
    assert again.calibration == small_model.calibration
    assert again.schema == SCHEMA


def test_saving_again_writes_the_same_bytes(small_folder, tmp_path):
    CompletionModel.load(small_folder).save(tmp_path)
    for name in ("model.safetensors", "vocabulary.json", "schema.yaml", "calibration.json"):
        assert (tmp_path / name).read_bytes() == (small_folder / name).read_bytes(), name


def test_another_weight_is_another_version(folder):
    model = CompletionModel.load(folder)
    before = model.version
    model.generator.item.data += 1e-3
    model.save(folder)
    assert CompletionModel.load(folder).version != before


@pytest.mark.parametrize(
    "name", ["model.safetensors", "vocabulary.json", "config.json", "schema.yaml", "calibration.json"]
)
def test_a_folder_that_lacks_a_file_is_not_a_model(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"is not a model folder.*{name}"):
        CompletionModel.load(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "vocabulary.json", "config.json", "calibration.json", "metrics.json"]
)
@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04\x95pickle", b"[1]", b"\xff\xfe\x00"], ids=["empty", "pickle", "list", "bytes"]
)
def test_a_damaged_file_is_said_to_be_damaged(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match="damaged model folder"):
        CompletionModel.load(folder)


def test_a_folder_of_an_older_version_is_not_called_damaged(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["format"]  # as it was before there were several
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"another version of attrgan.*format 1.*train anew.*promote --version"):
        CompletionModel.load(folder)


def test_a_calibration_that_lacks_an_attribute_is_damage(folder):
    promises = json.loads((folder / "calibration.json").read_text())
    del promises["colour"]
    (folder / "calibration.json").write_text(json.dumps(promises))
    with pytest.raises(ModelError, match=r"damaged.*colour"):
        CompletionModel.load(folder)


def test_weights_of_another_model_are_damage(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["generator.item"] = tensors["generator.item"][:5].clone()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match="damaged model folder"):
        CompletionModel.load(folder)


def test_no_folder_at_all_is_not_a_model(tmp_path):
    with pytest.raises(ModelError, match="is not a model folder"):
        CompletionModel.load(tmp_path / "nowhere")


def test_two_models_that_promise_differently_are_two_versions(small_folder, tmp_path):
    versions = []
    for threshold in (0.8, 0.8, 0.9):
        model = CompletionModel.load(small_folder)
        model.calibration["brand"]["threshold"] = threshold
        model.save(tmp_path)
        versions.append(model.version)
    assert versions[0] == versions[1] != versions[2]
