"""The task factory: the one place where an `attrgan` verb becomes an Airflow task.

`settings().runner` decides what the task is, the argument list is the same either way:

- `local`: a process on the worker's machine (`AttrganProcessOperator`), without a shell;
- `kubernetes`: a pod (`attrgan_pods.AttrganPodOperator`), imported only then, because that import takes a second;
  training over several pods a Job (`attrgan_jobs.AttrganJobOperator`).

The exit code decides what Airflow does, the same either way: 2 (bad input) and 3 (a gate says no) fail without retries,
since the same input gives the same answer, unless the task lists the code in `skip_on`; anything else (1, a signal, out
of memory) is retried. 0 is success only with the manifest of this run (`check_result`).

Tasks hand over folders with manifests; nothing goes through XCom except the short list of shard folders. Nothing
heavier than `attrgan.config` is imported here: DAG files are parsed all the time.
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
from attrgan_lineage import LineageMixin
from attrgan_places import shard_place
from attrgan_s3 import environment, signed_in

from attrgan.config import settings
from attrgan.logs import FIELDS

log = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "attrgan"]
"""What a verb's arguments are appended to on this machine."""

LOG_FIELDS = (
    '{{ {"dag_id": dag.dag_id, "task_id": task.task_id, "map_index": ti.map_index, "dt": dt(), "run_id": run_id,'
    ' "try_number": ti.try_number} | tojson }}'
)
"""What every line of a verb's log says about its task."""

FINAL = (2, 3)
"""Exit codes that a retry cannot change: bad input, and a gate that says no."""

_SEEN_BY_BOTH = "was it `attrgan` that ran, and is that place the same for it and for Airflow's workers?"

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
    """Raises what Airflow should do after an exit code; `said` is the last line of the command, as text or as JSON."""
    with suppress(ValueError, TypeError, KeyError):
        said = json.loads(said)["message"]
    if code in skip_on:
        raise AirflowSkipException(said)
    if code in FINAL:
        raise AirflowFailException(said or f"attrgan ended with exit code {code}")
    if code:
        raise AirflowException(f"attrgan ended with exit code {code}: {said}")


@signed_in()
def check_result(arguments: Sequence[Any]) -> None:
    """Raises AirflowException, which is retried, unless a verb that has ended with 0 left what it was started for.

    - A verb with `-o DIR` must have left a manifest there: finished, of this verb and of this run.
    - `report` writes one page and no manifest: the page must be there.
    - `landing` only looks, and what `promote` changes stands in the model registry: their exit code is all there is.
    """
    from attrgan.lake import manifest, storage

    given = flat(arguments)
    verb = given[0]
    if "-o" not in given:
        return
    out = given[given.index("-o") + 1]
    if verb == "report":
        if not storage.exists(out):
            raise AirflowException(f"report ended with exit code 0, but there is no page at {out}: {_SEEN_BY_BOTH}")
        return
    expected = {"verb": verb, "status": "finished", "run_id": given[given.index("--run-id") + 1]}
    found = manifest.read(out)
    if found is None:
        raise AirflowException(f"{verb} ended with exit code 0, but there is no manifest in {out}: {_SEEN_BY_BOTH}")
    if wrong := {key: found.get(key) for key, value in expected.items() if found.get(key) != value}:
        is_of = ", ".join(f"{key} {value} instead of {expected[key]}" for key, value in wrong.items())
        raise AirflowException(f"{verb} ended with exit code 0, but the manifest in {out} has {is_of}")


class AttrganProcessOperator(LineageMixin, BaseOperator):
    """Runs an `attrgan` verb as a process of its own on this machine.

    Args:
        arguments: the verb and its arguments, each templated; a nested list (from XCom) is made flat.
        skip_on: exit codes that skip the task (and with it what follows) instead of failing it.
        out: of a mapped task, the folder this one writes to: `{{ task.out }}` in `arguments`.

    The process leads a group of its own, so that killing the task kills what the verb started as well. Its output goes
    line by line to the task's log. It inherits the environment and the working folder of the worker.
    """

    template_fields = ("arguments", "log_fields")

    def __init__(
        self, *, arguments: list[Any], skip_on: Sequence[int] = (), out: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self.skip_on = skip_on
        self.out = out
        self.log_fields = LOG_FIELDS
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
            env=environment() | debugging() | {FIELDS: self.log_fields},
            start_new_session=True,
        )
        said = ""
        for line in self._output():
            self.log.info("%s", line)
            said = line or said
        judge(self._process.wait(), said, self.skip_on)
        check_result(self.arguments)

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
        if gpu and settings().kubernetes.training_pods > 1:
            from attrgan_jobs import AttrganJobOperator

            operator = AttrganJobOperator
        options = pod_options(task_id, arguments[0], heavy=heavy, gpu=gpu, skip_on=skip_on) | options
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
