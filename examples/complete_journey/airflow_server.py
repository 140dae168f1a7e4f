"""An Airflow of its own on loopback: a folder, free ports, a generated password; and the few REST calls a run needs.

The components run as child processes (API server, scheduler with the LocalExecutor, DAG processor) and are set up by
environment variables alone, so that nothing of a user's own Airflow is read or touched. Human-in-the-loop tasks need no
triggerer in Airflow 3.3; `make up` starts one all the same.
"""

import json
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from examples.complete_journey.places import DemoError
from examples.complete_journey.processes import Servers, clean_environment, free_port

COMPONENTS = ("api-server", "scheduler", "dag-processor")
FINAL = ("success", "failed")
LOCKED_ATTEMPTS = 6
"""How often `airflow backfill create` is tried: with SQLite it may meet a locked database."""


class Airflow:
    """One Airflow installation below `home`, working on the DAGs of the project at `root`."""

    def __init__(
        self, home: Path, root: Path, servers: Servers, settings: dict[str, str], *, port: int = 0, parallelism: int = 2
    ) -> None:
        self.home, self.root, self.servers = home, root, servers
        self.port = free_port(port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.password = self._password()
        self.env = clean_environment(root, self._settings(parallelism) | settings)
        self._session = requests.Session()

    def __enter__(self) -> "Airflow":
        return self

    def __exit__(self, *_: object) -> None:
        self.servers.stop()

    def start(self, components: tuple[str, ...] = COMPONENTS) -> None:
        """Migrates the database, starts the components and waits until all of them answer."""
        self.cli("db", "migrate")
        for name in components:
            self.servers.start(name, self._command(name), self.env, self.root)
        needed = {"metadatabase", *(name.replace("-", "_") for name in components if name != "api-server")}
        self.wait("Airflow to answer", lambda: needed <= self._healthy(), seconds=180)
        self.log_in()

    def log_in(self) -> None:
        """Lets the calls that follow be those of `admin`."""
        answer = requests.post(
            f"{self.url}/auth/token", json={"username": "admin", "password": self.password}, timeout=30
        )
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def cli(self, *arguments: str) -> str:
        """Runs an `airflow` command to its end; returns what it printed."""
        command = [str(self.root / ".venv" / "bin" / "airflow"), *arguments]
        done = subprocess.run(command, env=self.env, cwd=self.root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"`airflow {' '.join(arguments)}` ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """One call of the REST API, below /api/v2; returns the decoded answer."""
        answer = self._session.request(method, f"{self.url}/api/v2/{path}", timeout=60, **arguments)
        if answer.status_code >= 400:
            raise DemoError(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def wait(self, what: str, done: Callable[[], Any], *, seconds: float, every: float = 1.0) -> Any:
        """Waits until `done` returns something true and returns that; fails when a component ends or time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if result := done():
                return result
            if dead := self.servers.dead():
                raise DemoError(f"{dead[0]} ended while waiting for {what}:\n{self.servers.log_tail(dead[0])}")
            time.sleep(every)
        raise DemoError(f"waited {seconds:.0f} seconds for {what} in vain: logs are in {self.servers.logs}")

    def wait_for_dags(self, dag_ids: set[str]) -> None:
        """Waits until these DAGs are known; fails at once when a DAG file cannot be imported."""

        def known() -> bool:
            if errors := self.call("GET", "importErrors")["import_errors"]:
                raise DemoError(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
            return dag_ids <= {dag["dag_id"] for dag in self.call("GET", "dags")["dags"]}

        self.wait("the DAGs to be parsed", known, seconds=120)

    def unpause(self, dag_id: str) -> None:
        """Lets the scheduler run a DAG."""
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, str]) -> str:
        """Starts a run by hand, which has no logical date; returns its run id."""
        return str(self.call("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})["dag_run_id"])

    def runs(self, dag_id: str = "~") -> list[dict[str, Any]]:
        """All runs, of one DAG or of all."""
        return list(self.call("GET", f"dags/{dag_id}/dagRuns", params={"limit": 100, "order_by": "id"})["dag_runs"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        return dict(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}"))

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self.call("GET", path, params={"limit": 100})["task_instances"])

    def backfill(self, dag_id: str, first: str, last: str, *options: str) -> int:
        """Starts a backfill over both dates and all between, with the command line; returns its number.

        On SQLite the command fails when the scheduler happens to write while it does, and may leave an empty backfill
        that is in the way of the next one: that one is cancelled, and the command run again.
        """
        command = ["backfill", "create", "--dag-id", dag_id, "--from-date", first, "--to-date", last, *options]
        for attempt in range(1, LOCKED_ATTEMPTS + 1):
            try:
                self.cli(*command)
                break
            except DemoError as error:
                if "database is locked" not in str(error) or attempt == LOCKED_ATTEMPTS:
                    raise
            for left in self._backfills(dag_id):
                if not left["completed_at"]:
                    self.call("PUT", f"backfills/{left['id']}/cancel")
        return max(int(backfill["id"]) for backfill in self._backfills(dag_id))

    def backfill_ended(self, number: int) -> bool:
        """Whether a backfill is closed, so that the next one may start."""
        return bool(self.call("GET", f"backfills/{number}")["completed_at"])

    def approve(self, dag_id: str, run_id: str) -> list[str]:
        """Answers what a run asks of people with its first option (`Approve`); returns the tasks that asked."""
        path = f"dags/{dag_id}/dagRuns/{run_id}"
        asked = self.call("GET", f"{path}/hitlDetails", params={"response_received": False})["hitl_details"]
        for question in asked:
            task = question["task_instance"]
            answer = {"chosen_options": question["options"][:1], "params_input": {}}
            self.call("PATCH", f"{path}/taskInstances/{task['task_id']}/{task['map_index']}/hitlDetails", json=answer)
        return [question["task_instance"]["task_id"] for question in asked]

    def task_log(self, task: dict[str, Any], lines: int = 40) -> str:
        """The end of the log of a task's last attempt."""
        index = f"/map_index={task['map_index']}" if task["map_index"] >= 0 else ""
        folder = f"dag_id={task['dag_id']}/run_id={task['dag_run_id']}/task_id={task['task_id']}{index}"
        file = self.home / "logs" / folder / f"attempt={task['try_number']}.log"
        if not file.exists():
            return f"(no log at {file})"
        return f"{file}\n" + "\n".join(map(_event, file.read_text(errors="replace").splitlines()[-lines:]))

    def _backfills(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.call("GET", "backfills", params={"dag_id": dag_id, "limit": 100})["backfills"])

    def _healthy(self) -> set[str]:
        try:
            health = requests.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except requests.RequestException:
            return set()
        return {name for name, part in health.items() if part and part["status"] == "healthy"}

    def _command(self, component: str) -> list[str]:
        options = {
            "api-server": ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"],
            "scheduler": ["--skip-serve-logs"],  # would listen on all interfaces; logs are read from the disk
            "triggerer": ["--skip-serve-logs"],
        }
        return [str(self.root / ".venv" / "bin" / "airflow"), component, *options.get(component, [])]

    def _password(self) -> str:
        """The password of `admin`, made once and readable by the owner only."""
        file = self.home / "passwords.json"
        if not file.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}) + "\n")
        return str(json.loads(file.read_text())["admin"])

    def _settings(self, parallelism: int) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.root / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.root / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}?timeout=60",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "SCARF_ANALYTICS": "false",
        }


def _event(line: str) -> str:
    """A line of a task log (JSON) as a person reads it."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return line
    if not isinstance(entry, dict):
        return line
    errors = [f"{e.get('exc_type')}: {e.get('exc_value')}" for e in entry.get("error_detail") or []]
    return " | ".join([str(entry.get("event", line)), *errors])
