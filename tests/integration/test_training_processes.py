"""One training by two processes that torchrun starts, on the CPU over loopback: what one process would have done."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from trainings import ended, write_catalog

pytestmark = pytest.mark.slow
TESTS = str(Path(__file__).parents[1])
LOOPBACK = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "ATTRGAN__CHECKPOINT_MINUTES": "0.000001"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
HERE = ["--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with a catalog and its schema."""
    return write_catalog(tmp_path_factory.mktemp("given"))


def start(*command: str) -> subprocess.Popen:
    environment = os.environ | LOOPBACK | {"PYTHONPATH": os.pathsep.join([TESTS, str(Path(TESTS).parent)])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def attrgan_train(given: Path, out: Path) -> list[str]:
    words = ["train", str(given / "catalog.parquet"), "-s", str(given / "schema.yaml"), "-o", str(out), "--resume"]
    return ["-m", "attrgan", *words, "--seed", "3", "--epochs", "5", "--device", "cpu"]


def weights(out: Path) -> str:
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes that torchrun started, by rank."""
    children = [p for p in psutil.Process(process.pid).children(recursive=True) if "RANK" in p.environ()]
    return sorted(children, key=lambda p: int(p.environ()["RANK"]))


@pytest.fixture(scope="module")
def together(given, tmp_path_factory) -> tuple[Path, str]:
    """What two processes made of the catalog, and what they said."""
    out = tmp_path_factory.mktemp("together") / "model"
    code, said, err = ended(start(*TORCHRUN, *HERE, *attrgan_train(given, out)))
    assert code == 0, err
    return out, said


def test_where_chance_is_switched_off_two_processes_have_the_losses_of_one(tmp_path):
    """To one part in a hundred thousand: sums of floats are taken in another order."""
    alone, two = tmp_path / "alone", tmp_path / "two"
    for command in ([sys.executable], [*TORCHRUN, *HERE]):
        folder = alone if len(command) == 1 else two
        code, _, err = ended(start(*command, "-m", "train_without_chance", str(folder)))
        assert code == 0, err
    assert len(log(alone)) == len(log(two)) > 9
    for expected, found in zip(log(alone), log(two), strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_with_its_own_dropout_each_two_processes_learn_what_one_does_and_one_of_them_speaks(given, tmp_path, together):
    """The validation loss of each epoch within 5 %: seeds differ by as much."""
    out, said = together
    code, _, err = ended(start(sys.executable, *attrgan_train(given, tmp_path / "alone")))
    assert code == 0, err
    curves = [[r["validation_loss"] for r in log(of) if "validation_loss" in r] for of in (tmp_path / "alone", out)]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.05)
    assert {"manifest.json", "metrics.json", "plots"} <= {path.name for path in out.iterdir()}
    assert said.count("Epoch [5/5], Step [") == 1
    assert json.loads((out / "manifest.json").read_text())["arguments"]["processes"] == 2


def test_a_killed_worker_fails_the_training_which_resumes_as_if_undisturbed(given, tmp_path, together):
    out = tmp_path / "model"
    training = start(*TORCHRUN, *HERE, *attrgan_train(given, out))
    while training.poll() is None:
        if list(out.glob(".checkpoints/epoch-00002-*")):
            workers_of(training)[1].send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    code, _, err = ended(training)
    assert code, err
    assert not (out / "manifest.json").exists()
    code, said, err = ended(start(*TORCHRUN, *HERE, *attrgan_train(given, out)))
    assert code == 0, err
    assert "Goes on from the checkpoint after step" in said
    assert weights(out) == weights(together[0])


def test_two_pods_of_an_indexed_job_train_as_two_processes_of_one_machine_do(given, tmp_path, together):
    out, port = tmp_path / "model", free_port()
    pods = []
    for index in ("0", "1"):
        where = ["--nnodes=2", f"--node-rank={index}", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
        pods.append(start(*TORCHRUN, *where, f"--master-port={port}", *attrgan_train(given, out)))
    for pod in pods:
        code, _, err = ended(pod)
        assert code == 0, err
    assert weights(out) == weights(together[0])
