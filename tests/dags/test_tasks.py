"""The task factory and the local process operator."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import attrgan_tasks
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from attrgan_tasks import AttrganProcessOperator, attrgan_task, flat, judge


@pytest.fixture
def script(monkeypatch):
    """Puts a Python script in the place of the `attrgan` command."""

    def replaced(code):
        monkeypatch.setattr(attrgan_tasks, "COMMAND", [sys.executable, "-c", code])

    return replaced


def run(**options):
    AttrganProcessOperator(task_id="validate", **{"arguments": ["validate"], **options}).execute({})


def test_a_list_among_the_arguments_becomes_arguments():
    assert flat(["audit", ["a/0-of-2", "a/1-of-2"], "-o", "out"]) == ["audit", "a/0-of-2", "a/1-of-2", "-o", "out"]


@pytest.mark.parametrize(
    ("code", "skip_on", "expected"),
    [
        (2, (), AirflowFailException),
        (3, (), AirflowFailException),
        (3, (3,), AirflowSkipException),
        (1, (), AirflowException),
        (-9, (), AirflowException),
        (137, (), AirflowException),
    ],
)
def test_the_exit_code_decides(code, skip_on, expected):
    with pytest.raises(AirflowException, match="the last line") as raised:
        judge(code, "the last line", skip_on)
    assert type(raised.value) is expected


def test_a_sentence_in_the_json_of_a_log_is_the_reason_too():
    with pytest.raises(AirflowFailException, match=r"^no such catalog$"):
        judge(2, '{"level": "error", "message": "no such catalog", "exit_code": 2}', ())


def test_exit_code_0_is_success_even_where_others_skip():
    judge(0, "", (3,))


def test_the_sentence_on_standard_error_is_the_reason_of_the_failure(script):
    script("import sys; print('much else'); sys.stdout.flush(); sys.exit('no such catalog')")
    with pytest.raises(AirflowException, match="no such catalog"):
        run()


def test_arguments_reach_the_command_as_they_are_without_a_shell(script, tmp_path):
    script(f"import sys, pathlib; pathlib.Path({str(tmp_path / 'seen')!r}).write_text('|'.join(sys.argv[1:]))")
    run(arguments=["complete", "$(touch /tmp/pwned); a b", "--shard", "0/3"])
    assert (tmp_path / "seen").read_text() == "complete|$(touch /tmp/pwned); a b|--shard|0/3"


def test_the_process_is_told_what_its_log_is_about(script, tmp_path):
    script(f"import os, pathlib; pathlib.Path({str(tmp_path / 'seen')!r}).write_text(os.environ['ATTRGAN_LOG_FIELDS'])")
    task = AttrganProcessOperator(task_id="validate", arguments=["validate"])
    task.log_fields = '{"dag_id": "nightly_completion"}'
    task.execute({})
    assert (tmp_path / "seen").read_text() == '{"dag_id": "nightly_completion"}'


def test_output_that_is_not_utf_8_does_not_fail_a_task(script):
    script("import sys; sys.stdout.buffer.write(b'caf\\xe9\\n')")
    run()


PARENT = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[2], "w").write(str(child.pid))
{stubborn}
time.sleep(600)
"""


@pytest.mark.parametrize("stubborn", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_killing_a_task_ends_the_verb_and_everything_it_started(script, tmp_path, stubborn):
    script(PARENT.format(stubborn=stubborn))
    pid = tmp_path / "pid"
    operator = AttrganProcessOperator(task_id="train", arguments=["train", str(pid)])
    raised = []

    def execute():
        try:
            operator.execute({})
        except AirflowException as error:
            raised.append(error)

    worker = threading.Thread(target=execute)
    worker.start()
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.05)
    operator.on_kill()
    worker.join(60)
    assert not worker.is_alive()
    assert len(raised) == 1
    assert not _running(int(pid.read_text()))


def _running(pid):
    """Whether a process is there and not a zombie that nobody has waited for."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(found.strip()) and not found.strip().startswith("Z")


def test_verbs_that_write_a_folder_are_told_the_run_and_others_are_not():
    assert attrgan_task("audit", ["audit", "-o", "x"]).arguments == ["audit", "-o", "x", "--run-id", "{{ run_id }}"]
    assert attrgan_task("promote", ["promote"]).arguments == ["promote"]


def test_heavier_work_gets_more_time():
    tasks = [attrgan_task("t", ["t"], **kind) for kind in ({}, {"heavy": True}, {"gpu": True})]
    assert [t.execution_timeout.total_seconds() / 3600 for t in tasks] == [1, 6, 12]


def test_the_failure_callback_names_dag_task_shard_and_run(caplog):
    for index, where in ((-1, "nightly.complete of"), (0, "nightly.complete[0] of"), (None, "nightly.complete of")):
        ti = SimpleNamespace(dag_id="nightly", task_id="complete", map_index=index, run_id="r1")
        attrgan_tasks.log_failure({"ti": ti, "exception": ValueError("why")})
        assert f"{where} run r1 failed: why" in caplog.messages[-1]
        assert "\n" not in caplog.messages[-1]


def test_every_argument_that_a_dag_gives_is_one_that_the_command_knows(parse):
    import typer

    from attrgan.cli import app

    command = typer.main.get_command(app)
    for dag in parse(TRAIN_ARGUMENTS='["--epochs", "2"]').values():
        for task in dag.tasks:
            arguments = task.partial_kwargs["arguments"] if task.is_mapped else getattr(task, "arguments", None)
            if arguments is None:
                continue
            verb = command.commands[arguments[0]]
            known = {option for parameter in verb.params for option in parameter.opts}
            given = {a for a in arguments if isinstance(a, str) and a.startswith("-")}
            assert given <= known, f"{dag.dag_id}.{task.task_id}: {given - known}"
            required = {p.opts[0] for p in verb.params if p.required and p.opts[0].startswith("-")}
            assert all(any(o in given for o in p.opts) for p in verb.params if p.opts[0] in required)
