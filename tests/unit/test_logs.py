"""The log: what stands in its lines, in which form, and when there are none."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from attrgan import logs
from attrgan.errors import GateError
from attrgan.lake.manifest import Result, step


@pytest.fixture
def lines(monkeypatch, capsys):
    """What the verb `complete` writes to standard error in JSON while something is done."""
    monkeypatch.setenv("ATTRGAN__LOG__FORMAT", "json")

    def of(do, verb="complete"):
        logs.begin(verb)
        do()
        said = capsys.readouterr()
        assert said.out == ""
        return [json.loads(line) for line in said.err.splitlines()]

    return of


def completing(out: Path, refused: str | None = None, run_id: str = "night-1") -> None:
    counts = {"rows": 4, "filled": 3, "attributes": {"brand": {"filled": 3}}}
    step(
        "complete", out, lambda _: Result(counts, {"model_version": "7", "shard": "1/4"}, refused),
        inputs={}, arguments={"model_version": "7", "shard": "1/4", "seed": 1}, run_id=run_id,
    )  # fmt: skip


def test_a_step_says_that_it_starts_and_how_it_ended_with_run_shard_and_model(lines, tmp_path):
    started, finished = lines(lambda: completing(tmp_path / "out"))
    about = {"verb": "complete", "run_id": "night-1", "shard": "1/4", "model_version": "7", "level": "info"}
    assert about.items() <= started.items()
    assert about.items() <= finished.items()
    assert started["message"] == "started"
    assert finished["message"].endswith("s: rows 4, filled 3")
    assert finished["counts"]["attributes"] == {"brand": {"filled": 3}}
    assert finished["seconds"] >= 0
    assert "seed" not in started


def test_a_step_that_was_finished_before_says_that_there_is_nothing_to_do(lines, tmp_path):
    lines(lambda: completing(tmp_path / "out"))
    (line,) = lines(lambda: completing(tmp_path / "out"))
    assert "nothing to do" in line["message"]
    assert (line["run_id"], line["shard"]) == ("night-1", "1/4")


def test_a_gate_that_says_no_is_a_warning_with_the_reason(lines, tmp_path):
    def refused():
        with pytest.raises(GateError):
            completing(tmp_path / "out", refused="6 of 9 rows are quarantined")

    line = lines(refused)[-1]
    assert (line["level"], line["status"]) == ("warning", "refused")
    assert "6 of 9 rows are quarantined" in line["message"]


def test_what_the_scheduler_says_stands_in_every_line(lines, monkeypatch, tmp_path):
    monkeypatch.setenv(logs.FIELDS, '{"dag_id": "nightly_completion", "try_number": 2}')
    for line in lines(lambda: completing(tmp_path / "out")):
        assert (line["dag_id"], line["try_number"]) == ("nightly_completion", 2)


@pytest.mark.parametrize("given", ["", "no JSON", "[1]", "{{ ti.try_number }}"])
def test_what_the_scheduler_says_wrongly_says_nothing(lines, monkeypatch, tmp_path, given):
    monkeypatch.setenv(logs.FIELDS, given)
    assert len(lines(lambda: completing(tmp_path / "out"))) == 2


def test_the_next_step_is_not_said_to_be_about_the_shard_of_the_one_before(lines, tmp_path):
    def two():
        completing(tmp_path / "one")
        step("report", tmp_path / "two", lambda _: Result(), inputs={}, run_id="other")

    last = lines(two)[-1]
    assert (last["verb"], last["run_id"]) == ("report", "other")
    assert "shard" not in last


def test_credentials_of_an_address_are_masked(lines):
    def say():
        logging.getLogger("attrgan.x").warning("no answer of %s", "https://me:secret@mlflow.example/api")

    (line,) = lines(say)
    assert line["message"] == "no answer of https://***@mlflow.example/api"


def test_a_traceback_is_one_field_and_masked(lines):
    def say():
        try:
            raise OSError("s3://key:secret@bucket is away")
        except OSError:
            logging.getLogger("attrgan.x").exception("a fault")

    (line,) = lines(say)
    assert "OSError: s3://***@bucket is away" in line["exception"]


def test_libraries_are_heard_from_warnings_on(lines):
    def say():
        logging.getLogger("somebody").info("chatter")
        logging.getLogger("somebody").warning("two\nlines")

    (line,) = lines(say)
    assert (line["logger"], line["message"]) == ("somebody", "two lines")


def test_text_names_time_level_verb_and_what_it_is_about(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ATTRGAN__LOG__LEVEL", "info")
    logs.begin("complete")
    completing(tmp_path / "out")
    first = capsys.readouterr().err.splitlines()[0]
    time, rest = first.split(" ", 1)
    assert time.endswith("Z")
    assert rest == "INFO complete: started [run_id=night-1 shard=1/4 model_version=7]"


def test_at_a_terminal_a_step_that_ends_well_says_nothing_on_standard_error(capsys, tmp_path):
    logs.begin("complete")
    completing(tmp_path / "out")
    assert capsys.readouterr().err == ""


def test_settings_that_are_not_valid_leave_the_log_as_it_is_by_default(monkeypatch, capsys):
    monkeypatch.setenv("ATTRGAN__SEED", "many")
    logs.begin("complete")
    logging.getLogger("attrgan.x").warning("something")
    assert "WARNING complete: something" in capsys.readouterr().err


def run(*words, **variables):
    """A command line in a process of its own."""
    import os

    command = [sys.executable, "-m", "attrgan", *words]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


def test_in_json_the_sentence_of_a_failure_is_the_last_line_and_standard_output_stays_clean(tmp_path):
    done = run("landing", str(tmp_path), "--dt", "2026-01-01", "--json", ATTRGAN__LOG__FORMAT="json")
    ended, failure = map(json.loads, done.stderr.splitlines())
    assert (done.returncode, done.stdout) == (3, "")
    assert (ended["verb"], ended["exit_code"]) == ("landing", 3)
    assert failure["message"].startswith("no landing files for dt=2026-01-01")
    assert failure["level"] == "error"


def test_warnings_of_libraries_are_lines_of_the_log(tmp_path):
    code = "import warnings; from attrgan import logs; logs.begin('x'); warnings.warn('old', UserWarning)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"ATTRGAN__LOG__FORMAT": "json", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    line = json.loads(done.stderr)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "UserWarning: old" in line["message"]
