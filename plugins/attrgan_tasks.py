"""The task factory: the one place where an `attrgan` verb becomes an Airflow task.

`settings().runner` decides what the task is, the argument list is the same either way:

- `local`: a process on the worker's machine (`AttrganProcessOperator`), without a shell;
- `kubernetes`: a pod (`attrgan_pods.AttrganPodOperator`), imported only then, because that import takes a second.

The exit code decides what Airflow does, the same either way: 0 is success; 2 (bad input) and 3 (a gate says no) fail
without retries, since the same input gives the same answer, unless the task lists the code in `skip_on`; anything else
(1, a signal, out of memory) is retried. Tasks hand over folders with manifests; nothing goes through XCom except the
short list of shard folders. Nothing heavier than `attrgan.config` is imported here: DAG files are parsed all the time.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context, XComArg, conf, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from attrgan_places import shard_place
from attrgan_s3 import environment

from attrgan.config import settings

log = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "attrgan"]
"""What a verb's arguments are appended to on this machine."""

FINAL = (2, 3)
"""Exit codes that a retry cannot change: bad input, and a gate that says no."""

KILL_AFTER_SECONDS = 3
"""From SIGTERM to SIGKILL; shorter than the 5 s after which Airflow kills the task that would send it."""


def log_failure(context: Context) -> None:
    """One line that says what failed, for whatever reads the log."""
    ti = context["ti"]
    where = f"{ti.dag_id}.{ti.task_id}" + (f"[{ti.map_index}]" if ti.map_index not in (None, -1) else "")
    log.error("attrgan task %s of run %s failed: %s", where, ti.run_id, context.get("exception"))


DEFAULTS: dict[str, Any] = {
    "owner": "data-engineering",
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=15),
    "execution_timeout": timedelta(hours=1),
    "on_failure_callback": log_failure,
}
"""`default_args` of every DAG."""


def debugging() -> dict[str, str]:
    """The variable that makes a verb show where a fault of ours is, while Airflow's own log level is DEBUG."""
    return {"ATTRGAN_DEBUG": "1"} if conf.get("logging", "logging_level").upper() == "DEBUG" else {}


def flat(arguments: Sequence[Any]) -> list[str]:
    """One level of lists inside a rendered argument list, made flat: that is how a list from XCom becomes arguments."""
    return [str(part) for given in arguments for part in ([given] if isinstance(given, str) else given)]


def judge(code: int, said: str, skip_on: Sequence[int]) -> None:
    """Raises what Airflow should do after an exit code; `said` is the last line of the command."""
    if code in skip_on:
        raise AirflowSkipException(said)
    if code in FINAL:
        raise AirflowFailException(said or f"attrgan ended with exit code {code}")
    if code:
        raise AirflowException(f"attrgan ended with exit code {code}: {said}")


class AttrganProcessOperator(BaseOperator):
    """Runs an `attrgan` verb as a process of its own on this machine.

    Args:
        arguments: the verb and its arguments, each templated; a nested list (from XCom) is made flat.
        skip_on: exit codes that skip the task (and with it what follows) instead of failing it.
        out: of a mapped task, the folder this one writes to: `{{ task.out }}` in `arguments`.

    The process leads a group of its own, so that killing the task kills what the verb started as well. Its output goes
    line by line to the task's log. It inherits the environment and the working folder of the worker.
    """

    template_fields = ("arguments",)

    def __init__(
        self, *, arguments: list[Any], skip_on: Sequence[int] = (), out: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self.skip_on = skip_on
        self.out = out
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Runs the verb; raises what its exit code means."""
        command = [*COMMAND, *flat(self.arguments)]
        self.log.info("Running %s", command)
        # Not in a `with`: on a timeout Airflow raises through here and calls on_kill only then; leaving the block would
        # wait for a process that nobody has told to stop.
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment() | debugging(),
            start_new_session=True,
        )
        said = ""
        for line in self._output():
            self.log.info("%s", line)
            said = line or said
        judge(self._process.wait(), said, self.skip_on)

    def on_kill(self) -> None:
        """Ends the process and everything it started."""
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_AFTER_SECONDS)
            os.killpg(self._process.pid, signal.SIGKILL)

    def _output(self) -> Iterator[str]:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.rstrip()


def attrgan_task(
    task_id: str,
    arguments: list[Any],
    *,
    heavy: bool = False,
    gpu: bool = False,
    skip_on: Sequence[int] = (),
    each: XComArg | None = None,
    **options: Any,
) -> Any:
    """Makes a verb a task.

    Args:
        task_id: also the name of the task's folder in the run.
        arguments: the verb and its arguments, templated (see `attrgan_places` for the macros). `--run-id` is added to
            every verb that writes a folder (`-o`), so that manifests carry the id of the DAG run.
        heavy: the verb reads or computes the whole catalog: six hours instead of one, and a full-size pod.
        gpu: training: twelve hours; in Kubernetes the GPU limit, its tolerations, node selector and pool, and the
            worker's slot is given back while the pod runs (deferrable).
        skip_on: exit codes that mean "nothing to do" here.
        each: list of folders: the task is mapped, one instance per folder, `{{ task.out }}` in `arguments`.
        options: anything else an operator takes.

    Returns: the operator, or the mapped operator.
    """
    if "-o" in arguments:
        arguments = [*arguments, "--run-id", "{{ run_id }}"]
    hours = 12 if gpu else 6 if heavy else 1
    options = {"task_id": task_id, "arguments": arguments, "execution_timeout": timedelta(hours=hours)} | options
    operator: Any = AttrganProcessOperator
    if settings().runner == "local":
        options["skip_on"] = tuple(skip_on)
    else:
        from attrgan_pods import AttrganPodOperator, pod_options

        operator = AttrganPodOperator
        options = pod_options(task_id, heavy=heavy, gpu=gpu, skip_on=skip_on) | options
    return operator(**options) if each is None else operator.partial(**options).expand(out=each)


@task(task_id="shards")
def shard_places(validated: str, parent: str) -> list[str]:
    """The folders of the shards that the valid rows are completed in: the only thing that goes through XCom.

    Runs `attrgan shards` beside the worker whatever the runner is: it reads one manifest, and a pod would need an XCom
    sidecar for its answer.
    """
    done = subprocess.run(
        [*COMMAND, "shards", validated], capture_output=True, text=True, check=False, env=environment()
    )
    judge(done.returncode, (done.stderr.strip().splitlines() or [""])[-1], ())
    return [shard_place(parent, shard) for shard in json.loads(done.stdout)]
