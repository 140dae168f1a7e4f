"""Whole DAG runs, for real, around a stand-in for the `attrgan` command."""

import json
import sys

import airflow_runs
import pytest

FAKE = [sys.executable, str(airflow_runs.HERE / "fake_attrgan.py")]
NIGHTLY = [
    "landing",
    "validate",
    "features",
    "drift",
    "shards",
    "complete[0]",
    "complete[1]",
    "audit",
    "publish",
    "report",
]


class Run:
    """What became of one run: `state`, state and tries of each task, the calls of the command, the log."""

    def __init__(self, answer, calls, log):
        self.state, self.run_id = answer["state"], answer["run_id"]
        self.tasks = {name: task["state"] for name, task in answer["tasks"].items()}
        self.tries = {name: task["tries"] for name, task in answer["tasks"].items()}
        self.calls = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
        self.runs = calls.parent / "runs"
        self.shown, self.log = answer["shown"], log

    def call(self, verb):
        return next(c for c in self.calls if c[0] == verb)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All runs of this file, one after the other in one Airflow process."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "schema.yaml").write_text("entity: product\nid: i\ntext: [t]\nattributes: {c: {kind: categorical}}\n")
    dt = {"dt": "2017-03-05"}
    asked = {
        "scheduled": {"logical_date": "2017-03-02T00:00:00+00:00"},
        "by hand": {"conf": dt},
        "own model": {"conf": dt | {"model": "/models/mine"}},
        "no date": {},
        "nothing landed": {"conf": dt, "exits": {"landing": 3}},
        "bad landing": {"conf": dt, "exits": {"validate": 2}},
        "audit says no": {"conf": dt, "exits": {"audit": 3}},
        "killed once": {"conf": dt, "exits": {"complete": [137, 0]}},
        "judged": {"conf": dt, "manifests": {"drift": {"model": "models:/attrgan-product/7"}}},
        "no manifest": {"conf": dt, "manifests": {"audit": None}},
        "of another run": {"conf": dt, "manifests": {"drift": [{"run_id": "manual__1"}, {}]}},
        "broken for good": {"conf": dt, "exits": {"publish": 1}},
        "training": {"dag_id": "train_model", "conf": dt},
        "approved": {"dag_id": "promote_model", "conf": dt, "approve": "Approve"},
        "rejected": {"dag_id": "promote_model", "conf": dt, "approve": "Reject"},
        "worse candidate": {"dag_id": "promote_model", "conf": dt, "exits": {"compare": 3}},
    }
    specs = [
        {
            "dag_id": spec.get("dag_id", "nightly_completion"),
            "logical_date": spec.get("logical_date"),
            "conf": spec.get("conf"),
            "approve": spec.get("approve"),
            "env": {
                "FAKE_CALLS": str(folder / name),
                "FAKE_EXIT": json.dumps(spec.get("exits", {})),
                "FAKE_MANIFEST": json.dumps(spec.get("manifests", {})),
            },
        }
        for name, spec in asked.items()
    ]
    answers, log = airflow_runs.run_dags(
        specs,
        command=FAKE,
        ATTRGAN__CATALOG_SCHEMA=str(folder / "schema.yaml"),
        ATTRGAN__RUNS=str(folder / "runs"),
        ATTRGAN__LANDING="/landing",
        ATTRGAN__WAREHOUSE=str(folder / "warehouse"),
        ATTRGAN__TRAIN_ARGUMENTS='["--epochs", "3"]',
    )
    logs = log.split("\n=== ")[1:]
    return {name: Run(answer, folder / name, part) for name, answer, part in zip(asked, answers, logs, strict=True)}


def test_a_scheduled_run_completes_the_day_its_interval_starts(runs):
    run = runs["scheduled"]
    assert run.state == "success"
    assert run.tasks == dict.fromkeys(NIGHTLY, "success")
    assert run.call("landing") == ["landing", "/landing", "--dt", "2017-03-01"]


def test_each_task_writes_to_a_folder_derived_from_dag_date_run_and_task(runs):
    run = runs["by hand"]
    folder = f"{run.runs}/nightly_completion/2017-03-05/{run.run_id.replace(':', '_').replace('+', '_')}"
    validate = run.call("validate")
    assert validate[validate.index("-o") + 1] == f"{folder}/validate"
    assert run.call("report")[-3] == f"{folder}/report/report.html"


def test_verbs_that_write_are_told_the_id_of_the_dag_run(runs):
    run = runs["by hand"]
    for call in run.calls:
        assert ("-o" in call) == (call[-2:] == ["--run-id", run.run_id]), call


def test_every_shard_is_completed_and_handed_to_audit_publish_and_report(runs):
    run = runs["scheduled"]
    completed = sorted(c for c in run.calls if c[0] == "complete")
    folders = [c[c.index("-o") + 1] for c in completed]
    assert [c[c.index("--shard") + 1] for c in completed] == ["0/2", "1/2"]
    assert [f.rsplit("/", 2)[1:] for f in folders] == [["complete", "0-of-2"], ["complete", "1-of-2"]]
    assert run.call("audit")[1:3] == folders
    assert run.call("publish")[1:3] == folders
    assert run.call("report")[3:5] == folders


def test_drift_is_judged_by_the_model_that_completes_and_every_shard_and_the_report_are_told(runs):
    run = runs["own model"]
    drift = run.call("drift")
    judged = drift[drift.index("-o") + 1]
    assert drift[drift.index("--model") + 1] == "/models/mine"
    for complete in (c for c in run.calls if c[0] == "complete"):
        assert complete[complete.index("--drift") + 1] == judged
    assert judged in run.call("report")


def test_the_champion_completes_unless_a_model_is_named(runs):
    def model(run):
        call = run.call("complete")
        return call[call.index("--model") + 1]

    assert model(runs["by hand"]) == "models:/attrgan-product@champion"
    assert model(runs["own model"]) == "/models/mine"


def test_a_promotion_in_mid_run_is_for_the_next_run(runs):
    run = runs["judged"]
    assert run.call("drift")[2:4] == ["--model", "models:/attrgan-product@champion"]
    completed = [c for c in run.calls if c[0] == "complete"]
    assert [c[c.index("--model") + 1] for c in completed] == ["models:/attrgan-product/7"] * 2


def test_a_run_without_a_date_fails_at_once_and_says_what_to_do(runs):
    run = runs["no date"]
    assert run.state == "failed"
    assert (run.tasks["landing"], run.tries["landing"]) == ("failed", 1)
    assert run.tasks["validate"] == "upstream_failed"
    assert run.calls == []
    assert "give it the parameter dt" in run.log


def test_a_date_without_landing_files_is_skipped_and_the_run_is_green(runs):
    run = runs["nothing landed"]
    assert run.state == "success"
    assert set(run.tasks.values()) == {"skipped"}
    assert [c[0] for c in run.calls] == ["landing"]


@pytest.mark.parametrize(("name", "task"), [("bad landing", "validate"), ("audit says no", "audit")])
def test_bad_input_and_a_gate_that_says_no_fail_without_a_retry(runs, name, task):
    run = runs[name]
    assert run.state == "failed"
    assert (run.tasks[task], run.tries[task]) == ("failed", 1)
    assert run.tasks["publish"] == "upstream_failed"
    assert f"failed: the {task} said no for a reason" in run.log


def test_a_shard_whose_process_was_killed_is_tried_again_alone(runs):
    run = runs["killed once"]
    assert run.state == "success"
    assert sorted([run.tries["complete[0]"], run.tries["complete[1]"]]) == [1, 2]
    assert run.tries["validate"] == 1


def test_a_fault_of_ours_is_retried_and_then_fails(runs):
    run = runs["broken for good"]
    assert run.state == "failed"
    assert (run.tasks["publish"], run.tries["publish"]) == ("failed", 3)
    assert run.tasks["report"] == "upstream_failed"


def test_exit_code_0_without_a_manifest_is_tried_again_and_then_fails(runs):
    run = runs["no manifest"]
    assert run.state == "failed"
    assert (run.tasks["audit"], run.tries["audit"]) == ("failed", 3)
    assert "audit ended with exit code 0, but there is no manifest in " in run.log


def test_the_manifest_of_another_run_is_no_proof(runs):
    run = runs["of another run"]
    assert run.state == "success"
    assert run.tries["drift"] == 2
    assert f"has run_id manual__1 instead of {run.run_id}" in run.log


def test_training_goes_from_landing_to_a_registered_candidate(runs):
    run = runs["training"]
    assert run.state == "success"
    assert [c[0] for c in run.calls] == ["validate", "features", "train", "evaluate", "register"]
    train, evaluate, register = (run.call(verb) for verb in ("train", "evaluate", "register"))
    model = train[train.index("-o") + 1]
    assert train[train.index("--epochs") : train.index("--epochs") + 2] == ["--epochs", "3"]
    assert evaluate[evaluate.index("--model") + 1] == model == register[1]


def test_nobody_is_asked_about_a_candidate_that_the_gate_refuses(runs):
    run = runs["worse candidate"]
    assert run.state == "failed"
    assert run.tasks == {
        "validate": "success",
        "compare": "failed",
        "approval": "upstream_failed",
        "promote": "upstream_failed",
    }


def test_a_person_who_approves_sees_the_figures_and_the_candidate_is_promoted(runs):
    run = runs["approved"]
    assert run.state == "success"
    assert set(run.tasks.values()) == {"success"}
    assert run.shown["subject"] == "Promote models:/attrgan-product@candidate to champion?"
    assert "Candidate **m2**, champion **m1**" in run.shown["body"]
    compare, promote = run.call("compare"), run.call("promote")
    assert promote == ["promote", "--comparison", compare[compare.index("-o") + 1]]


def test_a_rejected_candidate_is_not_promoted_and_the_run_is_green(runs):
    run = runs["rejected"]
    assert run.state == "success"
    assert (run.tasks["approval"], run.tasks["promote"]) == ("success", "skipped")
    assert [c[0] for c in run.calls] == ["validate", "compare"]
