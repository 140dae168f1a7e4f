"""What every DAG of this project promises, whoever writes it."""

import re

import airflow_runs
import pytest

DAGS = ["nightly_completion", "promote_model", "train_model"]
VERBS = {
    *("landing", "validate", "features", "train", "evaluate", "register", "compare", "promote"),
    *("drift", "complete", "audit", "publish", "report"),
}


@pytest.fixture(params=DAGS)
def dag(request, parse):
    return parse()[request.param]


def test_a_dag_says_whose_it_is_and_what_to_do_when_it_fails(dag):
    assert dag.owner not in ("", "airflow")
    assert "attrgan" in dag.tags
    assert dag.description
    runbooks = re.findall(r"docs/runbooks/\w+\.md", dag.doc_md)
    assert runbooks
    assert all((airflow_runs.ROOT / book).is_file() for book in runbooks)


def test_a_dag_runs_once_at_a_time_and_does_not_catch_up(dag):
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert dag.start_date.year == 2017


def test_a_task_is_retried_ever_more_slowly_and_ends_at_some_time(dag):
    for task in dag.tasks:
        if task.task_id == "approval":
            assert (task.retries, task.response_timeout.days) == (0, 7)
            continue
        assert task.retries >= 1
        assert task.retry_exponential_backoff > 1
        assert task.max_retry_delay is not None
        assert task.execution_timeout is not None


def test_a_task_that_fails_says_so_in_one_line(dag):
    for task in dag.tasks:
        assert [f.__name__ for f in task.on_failure_callback] == ["log_failure"]


def test_every_task_is_a_verb_of_attrgan(dag):
    others = {"shards", "approval"}
    made = [t for t in dag.tasks if t.task_id not in others]
    assert {"AttrganProcessOperator"} == {t.task_type for t in made}
    for task in made:
        arguments = task.partial_kwargs["arguments"] if task.is_mapped else task.arguments
        assert arguments[0] in VERBS
        assert arguments[0] == task.task_id


def test_only_the_shards_and_the_answer_of_a_person_go_through_xcom(dag):
    for task in dag.tasks:
        returns = "shards" if task.task_id == "shards" else None
        if returns is None and task.task_id != "approval":
            assert task.operator_class.execute.__annotations__["return"] is None


def test_one_publisher_and_one_writer_of_features_at_a_time(parse):
    nightly = parse()["nightly_completion"]
    assert [nightly.get_task(t).max_active_tis_per_dag for t in ("features", "publish")] == [1, 1]


def test_the_nightly_interval_is_a_whole_day(parse):
    from airflow.sdk import CronDataIntervalTimetable

    timetable = parse()["nightly_completion"].timetable
    assert isinstance(timetable, CronDataIntervalTimetable)
    assert timetable.expression == "0 0 * * *"
