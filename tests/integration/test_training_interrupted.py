"""A training whose process is ended from outside, at any point, and started again: the same model to the last bit."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from trainings import ended, write_catalog

from attrgan.lake import storage

pytestmark = pytest.mark.slow
EVERY_STEP = {"ATTRGAN__CHECKPOINT_MINUTES": "0.000001", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with a catalog and its schema."""
    return write_catalog(tmp_path_factory.mktemp("given"))


def training(given: Path, out: str, *more: str) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "attrgan",
        "train",
        str(given / "catalog.parquet"),
        "-s",
        str(given / "schema.yaml"),
    ]
    options = ["-o", out, "--seed", "3", "--epochs", "6", "--device", "cpu", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *options], env=os.environ | EVERY_STEP, **pipes)


def checkpoints(out: str) -> list[str]:
    """The names of the checkpoints, oldest first."""
    storage.filesystem(out)[0].invalidate_cache()
    return [path.rsplit("/", 1)[-1] for path in storage.files(storage.join(out, ".checkpoints"))]


def damage_newest(out: str, how: Callable[[bytes], bytes]) -> None:
    newest = Path(out, ".checkpoints", checkpoints(out)[-1])
    newest.write_bytes(how(newest.read_bytes()))


def stop_in_epoch(process: subprocess.Popen, out: str, epoch: int, how: signal.Signals) -> tuple[int, str, str]:
    """Ends a training as soon as it has written a checkpoint within an epoch."""
    while process.poll() is None:
        if any(name.startswith(f"epoch-{epoch:05d}-") for name in checkpoints(out)):
            process.send_signal(how)
            break
        time.sleep(0.01)
    return ended(process)


def result(out: str) -> tuple[str, dict, list[dict]]:
    """The weights' hash, the metrics without seconds, and the log."""
    fs, place = storage.filesystem(out)
    weights = hashlib.sha256(fs.cat_file(f"{place}/model.safetensors")).hexdigest()
    metrics = json.loads(fs.cat_file(f"{place}/metrics.json"))
    log = [json.loads(line) for line in fs.cat_file(f"{place}/training_log.jsonl").decode().splitlines()]
    return weights, metrics | {"training_seconds": None}, log


@pytest.fixture(scope="module")
def undisturbed(given, tmp_path_factory) -> tuple[str, dict, list[dict]]:
    out = str(tmp_path_factory.mktemp("undisturbed") / "model")
    code, _, err = ended(training(given, out))
    assert code == 0, err
    assert not Path(out, ".checkpoints").exists(), "after success nothing of them is left"
    return result(out)


def test_a_pod_that_gets_sigterm_keeps_its_step_in_the_lake_and_the_next_one_ends_as_if_undisturbed(
    given, bucket, undisturbed
):
    out = f"{bucket}/runs/model"
    code, _, err = stop_in_epoch(training(given, out), out, 2, signal.SIGTERM)
    assert code == 143, err
    assert "was interrupted (SIGTERM)" in err
    assert "--resume" in err
    assert len(checkpoints(out)) == 2
    code, said, err = ended(training(given, out, "--resume"))
    assert code == 0, err
    assert "Goes on from the checkpoint after step" in said
    assert result(out) == undisturbed
    assert not checkpoints(out)


def test_a_killed_training_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(given, tmp_path, undisturbed):
    out = str(tmp_path / "model")
    stop_in_epoch(training(given, out), out, 1, signal.SIGKILL)
    damage_newest(out, lambda data: data[: len(data) // 2])
    code, said, err = stop_in_epoch(training(given, out, "--resume"), out, 2, signal.SIGKILL)
    assert code == -signal.SIGKILL, err
    assert said.count("is damaged") == 1
    damage_newest(out, lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    code, said, err = ended(training(given, out, "--resume"))
    assert code == 0, err
    assert said.count("is damaged") == 1
    assert "Goes on from the checkpoint after step" in said
    assert result(out) == undisturbed
