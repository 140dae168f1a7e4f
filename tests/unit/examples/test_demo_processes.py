"""Starting and stopping the demo's servers: exactly those that it started, with all that they started."""

import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from examples.complete_journey.places import DemoError, Places, alone
from examples.complete_journey.processes import PeakMemory, Servers, clean_environment, free_port

PARENT = "import subprocess, sys, time; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); time.sleep(60)"


@pytest.fixture
def servers(tmp_path):
    servers = Servers(tmp_path / "pids", tmp_path / "logs")
    yield servers
    servers.stop()


def started(servers: Servers, tmp_path) -> psutil.Process:
    """A server with a child; returns the child."""
    servers.start("parent", [sys.executable, "-c", PARENT], dict(os.environ), tmp_path)
    end = time.monotonic() + 30
    while not (said := servers.log_tail("parent")) and time.monotonic() < end:
        time.sleep(0.05)
    return psutil.Process(int(said))


def test_stopping_takes_what_a_server_has_started_with_it(servers, tmp_path):
    child = started(servers, tmp_path)
    assert servers.stop() == ["parent"]
    assert not child.is_running()
    assert servers.alive() == {}


def test_whoever_has_the_pid_files_can_stop_them(servers, tmp_path):
    child = started(servers, tmp_path)
    assert Servers(tmp_path / "pids", tmp_path / "logs").stop() == ["parent"]
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_got_an_old_id_is_left_alone(servers, tmp_path):
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        servers.pids.mkdir()
        (servers.pids / "old.json").write_text(json.dumps({"pid": stranger.pid, "born": 1.0}))
        assert servers.stop() == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_ends_by_itself_is_noticed(servers, tmp_path):
    servers.start("brief", [sys.executable, "-c", "print('cannot go on')"], dict(os.environ), tmp_path)
    end = time.monotonic() + 30
    while not servers.dead() and time.monotonic() < end:
        time.sleep(0.05)
    assert servers.dead() == ["brief"]
    assert "cannot go on" in servers.log_tail("brief")


def test_peak_memory_counts_child_processes():
    hold = "x = bytearray(80_000_000); import time; time.sleep(1.5)"
    with PeakMemory(interval=0.1) as before:
        time.sleep(0.5)
    with PeakMemory(interval=0.1) as memory:
        subprocess.run([sys.executable, "-c", hold], check=True)
    assert memory.megabytes > before.megabytes + 70


def test_a_preferred_port_is_taken_only_when_it_is_free():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        assert free_port(taken) not in (0, taken)


def test_settings_of_another_airflow_are_not_inherited(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/elsewhere")
    monkeypatch.setenv("ATTRGAN__WAREHOUSE", "s3://production")
    environment = clean_environment(tmp_path, {"AIRFLOW_HOME": "here"})
    assert {k: v for k, v in environment.items() if k.startswith(("AIRFLOW", "ATTRGAN"))} == {"AIRFLOW_HOME": "here"}


def test_two_demos_in_one_place_are_refused(tmp_path):
    places = Places(tmp_path / "demo")
    with alone(places), pytest.raises(DemoError, match="another demo works in"), alone(places):
        pass
