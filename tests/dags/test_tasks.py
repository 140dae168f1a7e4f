"""The task factory and the local process operator."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import attrgan_tasks
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from attrgan_tasks import AttrganProcessOperator, attrgan_task, check_result, flat, judge

from attrgan.errors import GateError
from attrgan.lake.manifest import Result, step


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


@pytest.fixture
def validated(tmp_path):
    """The output folder of a verb that has finished, with a real manifest."""
    step("validate", tmp_path / "validate", lambda _: Result(), inputs={}, run_id="r1")
    return str(tmp_path / "validate")


def test_exit_code_0_is_success_with_the_manifest_of_this_verb_and_run(validated):
    check_result(["validate", ["a", "b"], "-o", validated, "--run-id", "r1"])


@pytest.mark.parametrize(
    ("verb", "run_id", "said"),
    [("validate", "r2", "has run_id r1 instead of r2"), ("audit", "r1", "has verb validate instead of audit")],
)
def test_the_manifest_of_another_verb_or_run_is_no_success(validated, verb, run_id, said):
    with pytest.raises(AirflowException, match=said):
        check_result([verb, "-o", validated, "--run-id", run_id])


def test_the_manifest_of_a_gate_that_said_no_is_no_success(tmp_path):
    with pytest.raises(GateError):
        step("audit", tmp_path, lambda _: Result(refused="no"), inputs={}, run_id="r1")
    with pytest.raises(AirflowException, match="status refused instead of finished"):
        check_result(["audit", "-o", str(tmp_path), "--run-id", "r1"])


@pytest.mark.parametrize("verb", ["validate", "report"])
def test_exit_code_0_without_an_output_is_no_success_and_is_tried_again(tmp_path, verb):
    with pytest.raises(AirflowException, match="ended with exit code 0, but there is no") as raised:
        check_result([verb, "-o", str(tmp_path / "nothing"), "--run-id", "r1"])
    assert not isinstance(raised.value, AirflowFailException)


def test_a_report_is_its_page_and_verbs_without_an_output_are_their_exit_code(tmp_path):
    (tmp_path / "report.html").write_text("a page")
    check_result(["report", "-o", str(tmp_path / "report.html"), "--run-id", "r1"])
    check_result(["promote", "--comparison", str(tmp_path)])


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
