"""A task of a DAG as it is when it runs: its templates filled in for one run, without a database."""

from types import SimpleNamespace

import pendulum

SHARDS = ["s3://lake/complete/0-of-2", "s3://lake/complete/1-of-2"]


def rendered(dag, task_id, try_number=1):
    """The task (of a mapped one, the first instance) and the context of its run."""
    task = dag.get_task(task_id)
    task = task.unmap({"out": SHARDS[0]}) if task.is_mapped else task
    run = SimpleNamespace(dag_id=dag.dag_id, run_id="manual__1", data_interval_start=pendulum.datetime(2017, 3, 1))
    ti = SimpleNamespace(
        dag_id=dag.dag_id, task_id=task_id, run_id=run.run_id, map_index=-1, try_number=try_number,
        xcom_pull=lambda **_: SHARDS, xcom_push=lambda **_: None,
    )  # fmt: skip
    about = {"params": {"dt": None, "model": None}, "dag_run": run, "run_id": run.run_id, "ti": ti, "dag": dag}
    about |= {"task": task, "judged_model": lambda: "models:/attrgan-product/7"}  # which `drift` would have noted
    task.render_template_fields(about, dag.get_template_env())
    return task, about
