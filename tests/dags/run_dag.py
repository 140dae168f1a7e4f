"""Runs DAGs as `airflow dags test` does, several in one process. Reads a JSON object from standard input:

`{"command": [...] or null, "answer": PATH, "runs": [{"dag_id", "logical_date" or null, "conf", "env"}]}`

and writes to PATH, for each run, its `state`, its `run_id` and its `tasks`: `{"complete[0]": {"state", "tries"}}`.
`command` stands in for the `attrgan` command.
"""

import json
import os
import sys
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag

ENVIRONMENT = dict(os.environ)
asked = json.load(sys.stdin)


def run(dag_id, logical_date=None, conf=None, env=None):
    os.environ.clear()
    os.environ.update(ENVIRONMENT | (env or {}))
    # Each time: when Airflow loads its plugins, in the first run, the module is replaced by a fresh one.
    tasks = import_module("attrgan_tasks")
    tasks.COMMAND = asked["command"] or tasks.COMMAND
    tasks.DEFAULTS["retry_delay"] = timedelta(0)
    folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    # A DAG object of its own for each run: running one leaves the parameters of that run in it.
    dag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder").dags[dag_id]
    date = datetime.fromisoformat(logical_date) if logical_date else None
    sys.stdout.write(f"\n=== {dag_id} {logical_date} {conf}\n")
    sys.stdout.flush()
    done = dag.test(logical_date=date, run_conf=conf or {})
    names = {t: t.task_id + (f"[{t.map_index}]" if t.map_index >= 0 else "") for t in done.get_task_instances()}
    tasks = {name: {"state": t.state and str(t.state), "tries": t.try_number} for t, name in names.items()}
    return {"state": str(done.state), "run_id": done.run_id, "tasks": tasks}


Path(asked["answer"]).write_text(json.dumps([run(**r) for r in asked["runs"]]))
