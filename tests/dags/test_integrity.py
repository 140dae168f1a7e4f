"""The DAG files parse, quickly and without dragging the package's heavy parts into the scheduler."""

import json
import subprocess
import sys

import airflow_runs
import pytest

DAGS = ["nightly_completion", "promote_model", "train_model"]
HEAVY = ["torch", "pandas", "numpy", "pyarrow", "mlflow", "great_expectations", "transformers", "deltalake", "sklearn"]

PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print("\\n" + json.dumps({"errors": bag.import_errors, "dags": sorted(bag.dags), "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module", params=["local", "kubernetes"])
def parsed(request):
    command = [sys.executable, "-c", PARSE, str(airflow_runs.ROOT / "dags")]
    variables = airflow_runs.environment(ATTRGAN__RUNNER=request.param)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return request.param, json.loads(done.stdout.splitlines()[-1])


def test_every_dag_file_parses(parsed):
    assert (parsed[1]["errors"], parsed[1]["dags"]) == ({}, DAGS)


def test_parsing_imports_nothing_heavy(parsed):
    assert set(parsed[1]["modules"]) & set(HEAVY) == set()


def test_the_kubernetes_provider_is_imported_only_where_tasks_are_pods(parsed):
    runner, found = parsed
    assert ("airflow.providers.cncf.kubernetes.operators.pod" in found["modules"]) == (runner == "kubernetes")


def test_dag_files_stay_thin():
    lengths = {f.name: len(f.read_text().splitlines()) for f in (airflow_runs.ROOT / "dags").glob("*.py")}
    assert {name: n for name, n in lengths.items() if n > 100} == {}


def test_airflow_loads_the_plugins_folder_without_an_error():
    code = "import airflow.plugins_manager as p; p.ensure_plugins_loaded(); print(p.get_import_errors())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=airflow_runs.environment(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["{}"], done.stderr
