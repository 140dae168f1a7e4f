"""Airflow for tests: one home and one database per test session; DAGs run for real, in a process of their own."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent / "dags"


@cache
def home() -> Path:
    """A folder for `AIRFLOW_HOME` that goes when the tests are over."""
    folder = Path(tempfile.mkdtemp(prefix="attrgan-airflow-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def environment(**variables: str) -> dict[str, str]:
    """The environment of an Airflow process that knows this project's DAGs and plugins."""
    own = {
        "AIRFLOW_HOME": str(home()),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",  # a machine that is busy with something else
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), str(ROOT)]),  # this checkout, whatever is installed
        "OMP_NUM_THREADS": "1",
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW__", "ATTRGAN", "AWS_"))}
    return clean | own | variables


@cache
def migrated() -> None:
    """Makes the tables of the metadata database, once per session."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run_dags(runs: list[dict], *, command: list[str] | None = None, **variables: str) -> tuple[list[dict], str]:
    """Runs DAGs one after the other (see `dags/run_dag.py`): what became of each, and all that was logged."""
    migrated()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        asked = json.dumps({"command": command, "runs": runs, "answer": str(answer)})
        done = subprocess.run(
            [sys.executable, str(HERE / "run_dag.py")],
            input=asked,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1800,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return json.loads(answer.read_text()), done.stdout
