"""The command: what it refuses, what it computes, what it finds already there."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import catalogs, tables, tasks
from benchmarks.catalogs import main


def bench(data: Path, *more: str) -> int:
    return main(["--data", str(data), "--sets", "walmart_amazon", "--out", str(data.parent / "out"), *more])


def results(data: Path) -> dict[str, dict]:
    return {p.name: json.loads(p.read_text()) for p in (data.parent / "out").glob("*.json")}


def test_the_peer_that_reads_the_title_is_better_than_the_mode(made: Path) -> None:
    assert bench(made, "--models", "mode", "linear") == 0
    found = {r["model"]: r["attributes"]["brand"]["accuracy"] for r in results(made).values()}
    assert found["linear"] == 1
    assert found["mode"] < 0.8


def test_a_result_that_is_there_is_not_computed_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench(made, "--models", "mode") == 0
    before = {p: p.stat().st_mtime_ns for p in (made.parent / "out").glob("*.json")}
    monkeypatch.setattr(tasks, "load", lambda *_: pytest.fail("computed again"))
    assert bench(made, "--models", "mode") == 0
    assert {p: p.stat().st_mtime_ns for p in (made.parent / "out").glob("*.json")} == before


def test_another_seed_or_other_data_is_another_result(made: Path) -> None:
    bench(made, "--models", "mode", "--seeds", "0", "1")
    assert len(results(made)) == 2
    frame = pd.read_parquet(made / "walmart_amazon.parquet")
    frame.iloc[:100].to_parquet(made / "walmart_amazon.parquet")
    bench(made, "--models", "mode")
    assert len(results(made)) == 3


def test_a_run_that_is_killed_loses_only_what_it_was_computing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = catalogs.compute

    def killed(set_name: str, model: str, *rest: object) -> dict:
        if model == "linear":
            raise KeyboardInterrupt
        return whole(set_name, model, *rest)

    monkeypatch.setattr(catalogs, "compute", killed)
    with pytest.raises(KeyboardInterrupt):
        bench(made, "--models", "mode", "linear")
    assert [r["model"] for r in results(made).values()] == ["mode"]
    assert {p.suffix for p in (made.parent / "out").iterdir()} == {".json"}


def test_fewer_rows_to_learn_from_are_a_variant_of_any_model(made: Path) -> None:
    bench(made, "--models", "linear", "linear:rows-20%")
    rows = {r["model"]: r["rows"]["train"] for r in results(made).values()}
    assert rows["linear:rows-20%"] == round(rows["linear"] / 5)


def test_a_part_may_be_off_and_the_rows_be_few() -> None:
    assert catalogs.parse_model("attrgan:weight-0:rows-5%") == ("attrgan", "weight-0", 5)
    assert catalogs.parse_model("linear:rows-5%") == ("linear", None, 5)
    assert tables.linear_of("attrgan:weight-0:rows-5%", "linear") == "linear:rows-5%"
    assert tables.linear_of("attrgan:weight-0", "linear") == "linear"


def test_the_table_has_the_ratio_to_the_linear_peer(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(made, "--models", "mode", "linear", "--attributes")
    printed = capsys.readouterr().out
    mode = next(r for r in results(made).values() if r["model"] == "mode")["summary"]["accuracy"]
    linear = next(r for r in results(made).values() if r["model"] == "linear")["summary"]["accuracy"]
    assert f"{mode / linear:.3f}" in printed
    assert "1.000" in printed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--sets", "walmart"], "--sets walmart is not a set: expected one of livostyle,"),
        (["--models", "linera"], "--models linera is not a model: expected one of attrgan,"),
        (["--models", "linear:no-text"], "--models linear:no-text is not a model"),
        (["--models", "linear:rows-0%"], "--models linear:rows-0% is not a model"),
        (["--models", "attrgan:no-text:no-images"], "--models attrgan:no-text:no-images is not a model"),
        (["--seeds", "-1"], "--seeds -1 is not a seed: expected whole numbers from 0 on"),
        (["--attrgan", "epoch=3"], "--attrgan epoch=3 is not an option of the training: expected one of seed=int"),
        (["--data", "/nowhere"], "/nowhere is not a folder"),
    ],
)
def test_a_wrong_name_is_one_clear_sentence(
    made: Path, given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(made, *given) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(said)
    assert printed.err.count("\n") == 1
    assert not printed.out


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ([], "autogluon has an environment of its own: name its Python with --autogluon-python"),
        (["--autogluon-python", "/nowhere"], "--autogluon-python /nowhere cannot be run"),
        (["--autogluon-python", sys.executable], "expected a Python with autogluon.tabular"),
    ],
)
def test_where_autogluon_is_not_there_one_sentence_says_so(
    made: Path, python: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(made, "--models", "mode", "autogluon", *python) == 2
    printed = capsys.readouterr()
    assert printed.err.count(said) == 1
    assert "mode" in printed.out


def test_a_file_that_is_not_there_leaves_the_other_results(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(made, "--sets", "jd_laptops", "walmart_amazon", "--models", "mode") == 2
    printed = capsys.readouterr()
    assert "walmart_amazon" in printed.out
    assert "jd_laptops.parquet" in printed.err
