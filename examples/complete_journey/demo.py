"""`make demo`: a real catalog from landing to report, by DAG runs that a scheduler starts and a worker finishes.

Lands the catalog, starts an Airflow of its own on loopback, trains and promotes a model (answering the request for
approval through the API), completes the latest landing dates and backfills the two first ones, twice. Ends with a
table and `var/demo/summary.json`; exit 0 only if every DAG run succeeded and its results are there. What it started is
stopped in any case; running it again starts from a clean `var/demo`.
"""

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.complete_journey import catalog, results
from examples.complete_journey.airflow_server import FINAL, Airflow
from examples.complete_journey.places import ROOT, DemoError, Places, alone
from examples.complete_journey.processes import PeakMemory, Servers

TRAIN, PROMOTE, NIGHTLY = "train_model", "promote_model", "nightly_completion"
MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `make up` shows the runs: what reports link to."""
RUN_SECONDS = 3600.0
"""A DAG run that takes longer is given up."""

THINK_SECONDS = 8.0
"""From a question to its answer. An answer that overtakes the scheduler's note that the task waits fails the task."""


class Journey:
    """The steps of the demo on a running Airflow; `done` collects the DAG runs as they end."""

    def __init__(self, airflow: Airflow, places: Places, dates: tuple[date, ...], console: Console) -> None:
        self.airflow, self.places, self.console = airflow, places, console
        self.past, self.nights = [str(dt) for dt in dates[:2]], [str(dt) for dt in dates[2:]]
        self.done: list[dict[str, Any]] = []
        self._started = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Everything, in order; returns the summary without seconds and memory."""
        self.airflow.wait_for_dags({TRAIN, PROMOTE, NIGHTLY})
        for dag_id in (TRAIN, PROMOTE, NIGHTLY):
            self.airflow.unpause(dag_id)
        trained = self.follow(TRAIN, self.airflow.trigger(TRAIN, {"dt": self.nights[-1]}))
        self.follow(PROMOTE, self.airflow.trigger(PROMOTE, {"dt": self.nights[-1]}))
        nights = {dt: self.follow(NIGHTLY, self.airflow.trigger(NIGHTLY, {"dt": dt})) for dt in self.nights}
        self.set_aside("nights")
        past = self.backfill()
        first = results.published(self.places, self.past)
        for dt in self.past:  # with their manifests and what was decided away, the second pass has to decide again
            shutil.move(self.places.runs / NIGHTLY / dt, self.places.base / "first_pass" / dt)
        self.set_aside("first_pass")
        self.backfill("--reprocess-behavior", "completed")
        identical = results.identical(first, results.published(self.places, self.past), self.say)
        self.settle()
        return results.summary(self.places, trained, self.nights[-1], past | nights, self.done) | {
            "backfill_identical": identical
        }

    def set_aside(self, name: str) -> None:
        """Moves what was decided so far away, so that nothing of it is taken over."""
        for kept in (self.places.warehouse / "features").glob("decisions-*"):
            shutil.move(kept, self.places.base / name / kept.name)

    def follow(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Waits for a run to end, saying which tasks have; answers what it asks of people. Fails when it failed."""
        said: set[tuple[Any, ...]] = set()
        asked: dict[str, float] = {}
        self.say(f"{dag_id} {run_id}")

        def ended() -> dict[str, Any] | None:
            run = self.airflow.run(dag_id, run_id)
            for task in self.airflow.tasks(dag_id, run_id):
                self._report(task, said)
                if task["state"] == "awaiting_input":
                    since = asked.setdefault(task["task_id"], time.monotonic())
                    if time.monotonic() - since > THINK_SECONDS and self.airflow.approve(dag_id, run_id):
                        self.say(f"  {_name(task)} asked, approved through the API")
            return run if run["state"] in FINAL else None

        run = dict(self.airflow.wait(f"{dag_id} {run_id}", ended, seconds=RUN_SECONDS, every=2.0))
        self.record(run)
        return run

    def _report(self, task: dict[str, Any], said: set[tuple[Any, ...]]) -> None:
        """Says once that a task has ended; of one that will be tried again also how its log ends."""
        key = (task["task_id"], task["map_index"], task["state"], task["try_number"])
        if key in said or task["state"] not in (*FINAL, "skipped", "upstream_failed", "up_for_retry"):
            return
        said.add(key)
        self.say(f"  {_name(task)} {task['state']} in {task['duration'] or 0:.0f} s")
        if task["state"] == "up_for_retry":
            self.say(self.airflow.task_log(task, lines=12))

    def record(self, run: dict[str, Any]) -> None:
        """Keeps a run that has ended; fails, with the log of the task that did, when it failed."""
        facts = {"dag_id": run["dag_id"], "run_id": run["dag_run_id"], "state": run["state"]}
        self.done.append(facts | {"seconds": round(run["duration"] or 0, 1)})
        if run["state"] != "success":
            tasks = self.airflow.tasks(run["dag_id"], run["dag_run_id"])
            logs = [f"{_name(t)} failed: {self.airflow.task_log(t)}" for t in tasks if t["state"] == "failed"]
            raise DemoError(f"{run['dag_id']} {run['dag_run_id']} failed\n" + "\n".join(logs))

    def backfill(self, *options: str) -> dict[str, dict[str, Any]]:
        """Backfills the two past dates from the command line and waits for the runs; returns date → run."""
        self.say(f"airflow backfill create {self.past[0]} to {self.past[-1]} {' '.join(options)}".rstrip())
        number = self.airflow.backfill(NIGHTLY, self.past[0], self.past[-1], *options)
        started = [r for r in self.airflow.runs(NIGHTLY) if (r["logical_date"] or "")[:10] in self.past]
        runs = {run["logical_date"][:10]: self.follow(NIGHTLY, run["dag_run_id"]) for run in started}
        self.airflow.wait("the backfill to be closed", lambda: self.airflow.backfill_ended(number), seconds=180)
        if sorted(runs) != self.past:
            raise DemoError(f"the backfill made runs for {sorted(runs)}, expected {self.past}")
        return runs

    def settle(self) -> None:
        """Waits for the runs that the scheduler started by itself: yesterday's, which is skipped and green."""
        known = {(run["dag_id"], run["run_id"]) for run in self.done}
        for run in self.airflow.runs():
            if (run["dag_id"], run["dag_run_id"]) not in known:
                self.follow(run["dag_id"], run["dag_run_id"])

    def say(self, text: str) -> None:
        """One line of progress."""
        self.console.print(f"{time.monotonic() - self._started:6.0f} s  {text}", markup=False, highlight=False)


def main() -> int:
    """Runs the demo; returns the exit code."""
    options = _options()
    console = Console(soft_wrap=True)
    console.width = max(console.width, 120)  # of the table, where there is no terminal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell inherits it ignored
    started, places = time.monotonic(), Places(options.var.resolve())
    try:
        with alone(places), PeakMemory() as memory, _servers(places) as servers:
            rows = catalog.build(places.landing, catalog.DATES, options.products)
            console.print(f"landed {rows} in {places.landing}", markup=False, highlight=False)
            settings = places.settings(options.train_arguments, ui_url=MLFLOW_UI)
            with Airflow(places.airflow, ROOT, servers, settings) as airflow:
                airflow.start()
                summary = Journey(airflow, places, catalog.DATES, console).run()
    except DemoError as error:
        console.print(f"The demo failed: {error}\nLogs: {places.logs}, {places.airflow / 'logs'}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; everything that the demo started is stopped.")
        return 130
    measured = {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": round(memory.megabytes)}
    summary |= measured
    places.summary.write_text(json.dumps(summary, indent=2) + "\n")
    results.show(summary, places, console)
    return 0 if summary["backfill_identical"] else 1


@contextmanager
def _servers(places: Places) -> Iterator[Servers]:
    """A clean `var/demo` and servers that end with the block; what a killed demo has left running is stopped first."""
    servers = Servers(places.base / "pids", places.logs)
    servers.stop()
    shutil.rmtree(places.base, ignore_errors=True)
    try:
        yield servers
    finally:
        servers.stop()


def _name(task: dict[str, Any]) -> str:
    return f"{task['task_id']}[{task['map_index']}]" if task["map_index"] >= 0 else str(task["task_id"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="Completes a real grocery catalog through the DAGs.")
    parser.add_argument("--products", type=int, default=catalog.PRODUCTS, help="products in the catalog")
    parser.add_argument("--epochs", type=int, help="epochs of training, instead of attrgan's default")
    parser.add_argument("--var", type=Path, default=Places().base, help="folder of everything the demo writes")
    options = parser.parse_args()
    options.train_arguments = ["--epochs", str(options.epochs)] if options.epochs else []
    return options


if __name__ == "__main__":
    sys.exit(main())
