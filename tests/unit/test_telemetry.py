"""StatsD: what a real server on loopback receives of steps and commands, and that none is needed."""

import json
import socket

import pytest

from attrgan import telemetry
from attrgan.errors import GateError
from attrgan.lake.manifest import Result, step


class Server:
    """A UDP socket, as a StatsD server has one."""

    def __init__(self, monkeypatch):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ATTRGAN__STATSD__HOST", "127.0.0.1")
        monkeypatch.setenv("ATTRGAN__STATSD__PORT", str(self._socket.getsockname()[1]))

    def received(self) -> dict[str, str]:
        """Name → value and type of all that has arrived; on loopback a datagram is there when it has been sent."""
        self._socket.setblocking(False)
        datagrams = []
        while True:
            try:
                datagrams.append(self._socket.recv(65_536).decode("ascii"))
            except BlockingIOError:
                break
        return dict(line.split(":", 1) for datagram in datagrams for line in datagram.split("\n"))

    def close(self):
        self._socket.close()


@pytest.fixture
def server(monkeypatch):
    started = Server(monkeypatch)
    yield started
    started.close()


COUNTS = {"rows": 10, "filled": 4, "review": 3, "abstained": 2, "not_applicable": 1, "attributes": {"brand": {}}}


def completing(out, run_id="r", **result):
    return step("complete", out, lambda _: Result(dict(COUNTS), **result), inputs={}, run_id=run_id)


def test_a_step_sends_its_duration_and_its_whole_counts(server, tmp_path):
    done = completing(tmp_path / "out")
    got = server.received()
    value, kind = got.pop("attrgan.duration.complete").split("|")
    assert kind == "ms"
    assert float(value) == pytest.approx(done["seconds"] * 1000)
    assert got == {f"attrgan.counts.complete.{name}": f"{n}|c" for name, n in COUNTS.items() if name != "attributes"}


def test_a_step_that_was_finished_before_is_counted_as_skipped_only(server, tmp_path):
    completing(tmp_path / "out")
    server.received()
    completing(tmp_path / "out")
    assert server.received() == {"attrgan.skipped.complete": "1|c"}


def test_counts_of_a_refused_step_are_sent_too(server, tmp_path):
    with pytest.raises(GateError):
        completing(tmp_path / "out", refused="no")
    assert server.received()["attrgan.counts.complete.filled"] == "4|c"


def test_the_prefix_is_a_setting_and_names_hold_no_signs_of_the_protocol(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ATTRGAN__STATSD__PREFIX", "shop.attrgan")
    step("x", tmp_path, lambda _: Result({"a.b:c|d é": 1}), inputs={}, run_id="r")
    assert server.received()["shop.attrgan.counts.x.a_b_c_d__"] == "1|c"


def test_a_training_sends_what_it_ended_with(server, tmp_path):
    from attrgan.api.models import _ended_with

    log = tmp_path / "training_log.jsonl"
    records = [{"step": 1, "loss_d": 1.5, "loss_g": 0.7}, {"step": 2, "loss_d": 1.25, "loss_g": 0.75}, {"epoch": 1}]
    log.write_text("\n".join(map(json.dumps, records)))
    training = _ended_with(log, {"validation_loss": 2.5, "epochs": 9, "stopped": "all epochs done"})
    step("train", tmp_path / "out", lambda _: Result({}, {"training": training}), inputs={}, run_id="r")
    got = server.received()
    assert got["attrgan.training.loss_d"] == "1.25|g"
    assert got["attrgan.training.validation_loss"] == "2.5|g"
    assert got["attrgan.training.epochs"] == "9|g"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["config", "show"], "attrgan.exits.config.0"),
        (["landing", "var", "--dt", "2026-01-01"], "attrgan.exits.landing.3"),
        (["landing", "var", "--dt", "yesterday"], "attrgan.exits.landing.2"),
    ],
)
def test_a_command_is_counted_by_its_exit_code(server, attrgan, words, expected):
    code, _, _ = attrgan(*words)
    assert expected.endswith(str(code))
    assert server.received() == {expected: "1|c"}


def test_the_freshness_check_sends_the_age(server):
    telemetry.age(93_600.0)
    assert server.received() == {"attrgan.freshness.age_seconds": "93600.0|g"}


def test_nothing_is_sent_unless_a_host_is_named(server, tmp_path, monkeypatch):
    monkeypatch.delenv("ATTRGAN__STATSD__HOST")
    completing(tmp_path / "out")
    assert server.received() == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_away_or_cannot_be_found_fails_no_step(server, tmp_path, monkeypatch, host):
    server.close()
    monkeypatch.setenv("ATTRGAN__STATSD__HOST", host)
    assert completing(tmp_path / "out")["status"] == "finished"
    assert completing(tmp_path / "out")["skipped"]
