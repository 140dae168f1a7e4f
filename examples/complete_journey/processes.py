"""Starts servers as child processes, remembers them by pid files, stops exactly these, and samples their memory.

A pid file holds the process id and its start time: an id that the system has given to another process since is left
alone. Stopping takes the process and everything it has started, the tasks of a scheduler included.
"""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

GRACE_SECONDS = 15


class Servers:
    """Processes that belong together: one folder holds their pid files, another their logs."""

    def __init__(self, pids: Path, logs: Path) -> None:
        self.pids, self.logs = pids, logs
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: list[str], env: dict[str, str], cwd: Path) -> None:
        """Starts a process in a session of its own, its output going to `<logs>/<name>.log`."""
        self.pids.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._children.append(child)
        born = psutil.Process(child.pid).create_time()
        (self.pids / f"{name}.json").write_text(json.dumps({"pid": child.pid, "born": born}))

    def alive(self) -> dict[str, psutil.Process]:
        """The processes of the pid files that still run."""
        return {file.stem: found for file in sorted(self.pids.glob("*.json")) if (found := _process(file))}

    def dead(self) -> list[str]:
        """The names of those that were started and have ended."""
        return sorted({file.stem for file in self.pids.glob("*.json")} - set(self.alive()))

    def stop(self) -> list[str]:
        """Stops them and all they have started; returns the names of those that ran."""
        running = self.alive()
        family = _families(running.values())
        for process in running.values():
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(list(running.values()), timeout=GRACE_SECONDS)
        family |= _families(family)  # what they have started since
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(list(family), timeout=GRACE_SECONDS)
        for child in self._children:
            child.poll()
        for file in self.pids.glob("*.json"):
            file.unlink()
        return list(running)

    def log_tail(self, name: str, lines: int = 20) -> str:
        """The last lines of a process's log."""
        log = self.logs / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


class PeakMemory:
    """The largest sum of memory over this process and all below it, sampled every few seconds.

    Proportional set sizes: a page that several processes share counts once, in parts. Use as a context manager.
    """

    def __init__(self, interval: float = 3.0) -> None:
        self.megabytes = 0.0
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        this = psutil.Process()
        while not self._stop.wait(self._interval):
            self.megabytes = max(self.megabytes, sum(_pss(p) for p in [this, *_children(this)]) / 1e6)


def free_port(preferred: int = 0) -> int:
    """The preferred port of this machine's loopback if it is free, else any that is."""
    for port in (preferred, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("this machine has no free port on 127.0.0.1: close some programs and try again")


def clean_environment(home: Path, extra: dict[str, str]) -> dict[str, str]:
    """This process's environment without settings of another Airflow or attrgan, plus `extra`, `.venv` first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "ATTRGAN", "MLFLOW"))}
    path = os.pathsep.join([str(home / ".venv" / "bin"), kept.get("PATH", os.defpath)])
    return kept | {"PATH": path, "PYTHONUNBUFFERED": "1"} | extra


def _process(pid_file: Path) -> psutil.Process | None:
    noted = json.loads(pid_file.read_text())
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(noted["pid"])
        same = abs(process.create_time() - noted["born"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    return None


def _families(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """The processes and all below them."""
    return {member for process in processes for member in [process, *_children(process)]}


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _pss(process: psutil.Process) -> int:
    with suppress(psutil.Error, OSError):
        return int(process.memory_full_info().pss)
    return 0
