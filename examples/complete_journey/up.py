"""`make up` leaves everything running for a person, on the demo's results if there are any; `make down` stops it.

Airflow (UI, scheduler, DAG processor, triggerer), the MLflow UI and an S3 endpoint, all on loopback, as background
processes with pid files in `var/up`. Without a demo before it, the catalog is landed and the tables are still empty.
"""

import argparse
import json
import sys

import requests
from rich.console import Console

from examples.complete_journey import catalog
from examples.complete_journey.airflow_server import COMPONENTS, Airflow
from examples.complete_journey.places import ROOT, UP, DemoError, Places, alone
from examples.complete_journey.processes import Servers, clean_environment, free_port

ADDRESSES = UP / "addresses.json"
"""What `make up` printed, to print it again."""
BUCKET = "attrgan"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1"}


def up(servers: Servers, places: Places) -> dict[str, str]:
    """Starts everything; returns what a person needs to know."""
    if not places.landing.exists():
        catalog.build(places.landing)
    mlflow = f"http://127.0.0.1:{_start_mlflow(servers, places)}"
    s3 = f"http://127.0.0.1:{_start_s3(servers)}"
    airflow = Airflow(places.airflow, ROOT, servers, places.settings([], ui_url=mlflow), port=8080)
    airflow.start((*COMPONENTS, "triggerer"))
    airflow.wait("MLflow to answer", lambda: _answers(f"{mlflow}/health"), seconds=120)
    airflow.wait("the S3 endpoint to answer", lambda: _answers(s3), seconds=60)
    _make_bucket(s3)
    return {
        "Airflow": f"{airflow.url}  log in as admin, password {airflow.password}",
        "MLflow": mlflow,
        "S3": f"{s3}  bucket {BUCKET}; AWS_ENDPOINT_URL={s3} " + " ".join(f"{k}={v}" for k, v in S3_KEYS.items()),
        "Reports": str(places.runs),
        "Logs": str(servers.logs),
    }


def main() -> int:
    """Starts or stops; returns the exit code."""
    parser = argparse.ArgumentParser(prog="up", description="Airflow, MLflow and an S3 endpoint in the background.")
    parser.add_argument("--down", action="store_true", help="stop what is running")
    down, console, servers = parser.parse_args().down, Console(soft_wrap=True), Servers(UP / "pids", UP / "logs")
    if down:
        stopped = servers.stop()
        console.print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running", highlight=False)
        return 0
    try:
        if not servers.alive():
            with alone(Places()):
                addresses = up(servers, Places())
            ADDRESSES.write_text(json.dumps(addresses))
            ADDRESSES.chmod(0o600)
    except (DemoError, KeyboardInterrupt) as error:
        servers.stop()
        console.print(f"Could not start: {error or 'interrupted'}", markup=False)
        return 1
    for name, text in json.loads(ADDRESSES.read_text()).items():
        console.print(f"{name:8} {text}", markup=False, highlight=False)
    console.print("`make down` stops all of it.")
    return 0


def _start_mlflow(servers: Servers, places: Places) -> int:
    port = free_port(5000)
    command = [str(ROOT / ".venv/bin/mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", places.tracking_uri, "--default-artifact-root", str(places.mlflow / "artifacts")]
    environment = clean_environment(ROOT, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})  # spares eight processes
    places.mlflow.mkdir(parents=True, exist_ok=True)
    servers.start("mlflow", [*command, *stores], environment, ROOT)
    return port


def _start_s3(servers: Servers) -> int:
    port = free_port(9000)
    command = [str(ROOT / ".venv/bin/moto_server"), "--host", "127.0.0.1", "--port", str(port)]
    servers.start("s3", command, clean_environment(ROOT, {}), ROOT)
    return port


def _make_bucket(endpoint: str) -> None:
    import boto3

    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket=BUCKET)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    sys.exit(main())
