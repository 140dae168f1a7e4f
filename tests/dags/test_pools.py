"""The pools in which pods wait."""

import json
import subprocess
import sys

import airflow_runs
import pytest

CODE = """
import json
from airflow.jobs.job import Job
from airflow.models.pool import Pool
Job()
print(json.dumps({p.pool: [p.slots, p.include_deferred] for p in Pool.get_pools()}))
"""


@pytest.fixture
def started(tmp_path):
    """Starts an Airflow as its scheduler does, with a database of its own; returns its pools and the log."""

    def start(runner="kubernetes", **pools):
        own = {"AIRFLOW_HOME": str(tmp_path), "ATTRGAN__RUNNER": runner, "ATTRGAN__KUBERNETES": json.dumps(pools)}
        variables = airflow_runs.environment(**own)
        if not (tmp_path / "airflow.db").exists():
            subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=variables, check=True)
        command = [sys.executable, "-c", CODE]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr

    return start


def test_missing_pools_are_made_and_that_of_training_counts_deferred_tasks(started):
    assert started(runner="local", pool="pods")[0].keys() == {"default_pool"}
    made, _ = started(pool="pods")
    assert {name: made[name] for name in ("gpu", "pods")} == {"gpu": [1, True], "pods": [16, False]}
    assert made["default_pool"] == started(gpu_pool="default_pool")[0]["default_pool"]


def test_a_pool_that_cannot_limit_training_is_named_and_left_alone(started):
    found, said = started(gpu_pool="default_pool")
    assert found == {"default_pool": [128, False]}
    assert "pool default_pool does not count deferred tasks" in said
