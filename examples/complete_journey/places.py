"""Where the demo keeps things, and the settings that make the DAGs work there."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.complete_journey.processes import Servers

ROOT = Path(__file__).resolve().parents[2]
UP = ROOT / "var" / "up"
"""Pid files and logs of `make up`."""
SCHEMA = Path(__file__).with_name("schema.yaml")


class DemoError(Exception):
    """The demo cannot go on; the sentence says why and where to look."""


@dataclass(frozen=True)
class Places:
    """The folders below `var/demo` (or another base, for a test)."""

    base: Path = ROOT / "var" / "demo"

    @property
    def landing(self) -> Path:
        return self.base / "landing"

    @property
    def warehouse(self) -> Path:
        return self.base / "warehouse"

    @property
    def runs(self) -> Path:
        return self.base / "runs"

    @property
    def airflow(self) -> Path:
        return self.base / "airflow"

    @property
    def logs(self) -> Path:
        return self.base / "logs"

    @property
    def summary(self) -> Path:
        return self.base / "summary.json"

    @property
    def mlflow(self) -> Path:
        return self.base / "mlflow"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.mlflow / 'mlflow.db'}"

    def task(self, run: dict[str, str], dt: str, task_id: str) -> Path:
        """The folder that a task of a DAG run wrote to."""
        safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in run["dag_run_id"])
        return self.runs / run["dag_id"] / dt / safe / task_id

    def settings(self, train_arguments: list[str], ui_url: str | None = None) -> dict[str, str]:
        """The environment variables that point attrgan here."""
        self.mlflow.mkdir(parents=True, exist_ok=True)
        settings = {
            "ATTRGAN__CATALOG_SCHEMA": str(SCHEMA),
            "ATTRGAN__LANDING": str(self.landing),
            "ATTRGAN__WAREHOUSE": str(self.warehouse),
            "ATTRGAN__RUNS": str(self.runs),
            "ATTRGAN__TRACKING_URI": self.tracking_uri,
            "ATTRGAN__ARTIFACT_ROOT": str(self.mlflow / "artifacts"),
            "ATTRGAN__TRAIN_ARGUMENTS": json.dumps(train_arguments),
            "ATTRGAN_DEBUG": "1",  # a fault is logged with its traceback
            "XDG_CACHE_HOME": str(self.base / "cache"),  # models fetched from the registry
        }
        return settings | ({"ATTRGAN__UI_URL": ui_url} if ui_url else {})


@contextmanager
def alone(places: Places) -> Iterator[None]:
    """Holds the places for this process; fails when a demo or `make up` works in them."""
    places.base.parent.mkdir(parents=True, exist_ok=True)
    if places == Places() and Servers(UP / "pids", UP / "logs").alive():
        raise DemoError(f"`make up` works in {places.base}: stop it with `make down` and try again")
    with (places.base.parent / f".{places.base.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo works in {places.base}: wait until it ends") from None
        yield
