"""Sends the demo's catalog through the running stack of docker-compose.yaml: landing on S3, DAG runs, tables on S3.

    .venv/bin/python -m examples.complete_journey.composed --products 1500

Lands the catalog in the bucket, then trains, promotes (answering the request for approval through the API) and
completes the two latest dates; reads what was published from the bucket. Exit 0 only if every run is green and both
nights are published.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import requests
from deltalake import DeltaTable
from dotenv import dotenv_values
from rich.console import Console

from examples.complete_journey import catalog
from examples.complete_journey.airflow_server import Airflow
from examples.complete_journey.demo import NIGHTLY, PROMOTE, TRAIN, Journey
from examples.complete_journey.places import ROOT, DemoError, Places
from examples.complete_journey.processes import Servers


class ComposedAirflow(Airflow):
    """The Airflow of the compose file, through its REST API alone."""

    def __init__(self, url: str, password: str, nothing: Path) -> None:
        self.url, self.password = url, password
        self.servers = Servers(nothing, nothing)  # Docker's, not ours
        self._session = requests.Session()
        self.log_in()

    def start(self, components: tuple[str, ...] = ("scheduler", "dag_processor")) -> None:
        """Nothing to start here: waits until the components are healthy."""
        self.wait("Airflow's components", lambda: set(components) <= self._healthy(), seconds=600, every=5)

    def task_log(self, task: dict[str, Any], lines: int = 40) -> str:
        """The end of the log of a task's last attempt, as the API server shows it."""
        run = f"dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
        query = {"map_index": task["map_index"], "full_content": True}
        content = self.call("GET", f"{run}/logs/{task['try_number']}", params=query)["content"]
        return "\n".join(
            str(entry.get("event", entry)) if isinstance(entry, dict) else entry for entry in content[-lines:]
        )


def land(keys: dict[str, str], endpoint: str, bucket: str, products: int) -> dict[str, int]:
    """Puts the catalog's partitions below `landing/` in the bucket; returns date → rows."""
    import boto3

    with tempfile.TemporaryDirectory() as folder:
        rows = catalog.build(Path(folder), catalog.DATES, products)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        for file in sorted(Path(folder).rglob("*.parquet")):
            client.upload_file(str(file), bucket, f"landing/{file.relative_to(folder)}")
    return rows


def main() -> int:
    """Runs the journey; returns the exit code."""
    parser = argparse.ArgumentParser(prog="composed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--products", type=int, default=1500, help="products in the catalog")
    parser.add_argument("--env-file", type=Path, action="append", help="what docker compose was given; default: .env")
    options, console = parser.parse_args(), Console(soft_wrap=True)
    env = {
        name: value
        for file in options.env_file or [ROOT / ".env"]
        for name, value in dotenv_values(file).items()
        if value
    }
    s3, bucket = f"http://127.0.0.1:{env.get('S3_PORT', 8333)}", env.get("S3_BUCKET", "attrgan")
    keys = {"aws_access_key_id": env["S3_ACCESS_KEY"], "aws_secret_access_key": env["S3_SECRET_KEY"]}
    console.print(f"landed {land(keys, s3, bucket, options.products)} in s3://{bucket}/landing", highlight=False)
    with tempfile.TemporaryDirectory() as nothing:
        url = f"http://127.0.0.1:{env.get('AIRFLOW_PORT', 8080)}"
        airflow = ComposedAirflow(url, env["AIRFLOW_ADMIN_PASSWORD"], Path(nothing))
        try:
            journey = _travel(Journey(airflow, Places(), catalog.DATES, console))
        except DemoError as error:
            console.print(f"It failed: {error}", markup=False)
            return 1
    table = DeltaTable(f"s3://{bucket}/warehouse/completed", storage_options=keys | _HERE | {"aws_endpoint_url": s3})
    files = pa.table(table.get_add_actions(flatten=True)).to_pandas()
    published = files.groupby(files["partition.dt"].astype(str))["num_records"].sum().to_dict()
    console.print(f"published {published} in s3://{bucket}/warehouse/completed", highlight=False)
    return 0 if set(journey.nights) <= set(published) else 1


_HERE = {"aws_region": "us-east-1", "aws_allow_http": "true"}


def _travel(journey: Journey) -> Journey:
    airflow, last = journey.airflow, journey.nights[-1]
    airflow.start()
    airflow.wait_for_dags({TRAIN, PROMOTE, NIGHTLY})
    for dag_id in (TRAIN, PROMOTE, NIGHTLY):
        airflow.unpause(dag_id)
    for dag_id, dates in {TRAIN: [last], PROMOTE: [last], NIGHTLY: journey.nights}.items():
        for dt in dates:
            journey.follow(dag_id, airflow.trigger(dag_id, {"dt": dt}))
    journey.settle()
    return journey


if __name__ == "__main__":
    sys.exit(main())
