"""Runs DAGs as `airflow dags test` does, several in one process. Reads a JSON object from standard input:

`{"command": [...] or null, "answer": PATH, "runs": [{"dag_id", "logical_date" or null, "conf", "env", "approve",
"timeouts", "run_after"}]}`

and writes to PATH, for each run, its `state`, its `run_id` and its `tasks`:
`{"complete[0]": {"state", "tries", "seconds"}}`.
`command` stands in for the `attrgan` command; `approve` ("Approve" or "Reject") is the answer to the task `approval`,
given through Airflow's REST API as soon as it waits for one; `timeouts` gives tasks other seconds to run;
a run of the same `run_after` as one before has its id.
"""

import json
import os
import sys
import threading
import traceback
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path

from airflow.api_fastapi.app import create_app
from airflow.dag_processing.dagbag import BundleDagBag
from fastapi.testclient import TestClient

ENVIRONMENT = dict(os.environ)
asked = json.load(sys.stdin)


def answer(dag_id, approve, over):
    """Answers `approval` of the run that waits for it, and keeps what the person is shown."""
    try:
        with TestClient(create_app(apps="core")) as api:
            api.headers["Authorization"] = f"Bearer {api.get('/auth/token').json()['access_token']}"
            where = f"/api/v2/dags/{dag_id}/dagRuns/~/hitlDetails"
            while not (waiting := api.get(where, params={"state": "awaiting_input"}).json()["hitl_details"]):
                if over.wait(0.5):
                    return
            run_id = waiting[0]["task_instance"]["dag_run_id"]
            at = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/approval/-1/hitlDetails"
            done = api.patch(at, json={"chosen_options": [approve], "params_input": {}})
            assert done.is_success, done.text
            shown.append({key: waiting[0][key] for key in ("subject", "body")})
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # else the run would wait for its answer for ever


shown = []


def described(ti):
    seconds = (ti.end_date - ti.start_date).total_seconds() if ti.end_date and ti.start_date else None
    return {"state": ti.state and str(ti.state), "tries": ti.try_number, "seconds": seconds}


def run(dag_id, logical_date=None, conf=None, env=None, approve=None, timeouts=None, run_after=None):
    os.environ.clear()
    os.environ.update(ENVIRONMENT | (env or {}))
    import_module("attrgan.config").settings.cache_clear()
    # Each time: when Airflow loads its plugins, in the first run, the module is replaced by a fresh one.
    tasks = import_module("attrgan_tasks")
    tasks.COMMAND = asked["command"] or tasks.COMMAND
    tasks.DEFAULTS["retry_delay"] = timedelta(0)
    folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    # A DAG object of its own for each run: running one leaves the parameters of that run in it.
    dag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder").dags[dag_id]
    for task_id, seconds in (timeouts or {}).items():
        dag.get_task(task_id).execution_timeout = timedelta(seconds=seconds)
    date, after = (datetime.fromisoformat(text) if text else None for text in (logical_date, run_after))
    sys.stdout.write(f"\n=== {dag_id} {logical_date} {conf}\n")
    sys.stdout.flush()
    over = threading.Event()
    if approve:
        threading.Thread(target=answer, args=(dag_id, approve, over), daemon=True).start()
    done = dag.test(run_after=after, logical_date=date, run_conf=conf or {})
    over.set()
    names = {t: t.task_id + (f"[{t.map_index}]" if t.map_index >= 0 else "") for t in done.get_task_instances()}
    tasks = {name: described(ti) for ti, name in names.items()}
    return {"state": str(done.state), "run_id": done.run_id, "tasks": tasks, "shown": shown.pop() if shown else None}


Path(asked["answer"]).write_text(json.dumps([run(**r) for r in asked["runs"]]))
