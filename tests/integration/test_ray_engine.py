"""`complete --engine ray` on a real cluster: a head and two nodes, each with processes of its own on this machine."""

import os
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import s3_server

from attrgan import api
from attrgan.completion import engines, on_ray
from attrgan.errors import SettingsError
from attrgan.lake import storage

SMALLEST = Path(__file__).parents[2] / "examples" / "smallest"
CHUNK = 8
NODE = {"num_cpus": 1, "memory": 4_000_000_000, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("catalog") / "validated"
    api.validate(str(SMALLEST / "catalog.csv"), str(SMALLEST / "schema.yaml"), str(out))
    return str(out / "valid.parquet")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head that works on nothing and two nodes; all of their processes are gone afterwards."""
    variables = pytest.MonkeyPatch()
    variables.setenv("PYTHONPATH", os.pathsep.join([str(SMALLEST.parents[1]), *filter(None, sys.path)]))
    variables.setenv("RAY_USAGE_STATS_ENABLED", "0")
    for name, value in s3_server.CREDENTIALS.items():
        variables.setenv(name, value)
    from ray.cluster_utils import Cluster

    before = set(psutil.Process().children(recursive=True))
    try:
        found = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
        found.workers = [found.add_node(wait=False, **NODE) for _ in range(2)]
        found.wait_for_nodes(timeout=300)
        variables.setenv("RAY_ADDRESS", found.address)
        yield found
        started = set(psutil.Process().children(recursive=True)) - before
        found.shutdown()
        assert not psutil.wait_procs(started, timeout=30)[1], "no process of the cluster is left"
    finally:
        for process in set(psutil.Process().children(recursive=True)) - before:
            process.kill()
        variables.undo()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(engines, "CHUNK_ROWS", CHUNK)
    monkeypatch.setattr(on_ray, "CHUNK_ROWS", CHUNK)


def rows(out: Path, name: str):
    """A file without what differs between two runs of one id."""
    table = pq.read_table(out / f"{name}.parquet")
    return table.drop_columns([c for c in ("completed_at",) if c in table.column_names])


@pytest.mark.slow
def test_the_rows_of_two_nodes_are_those_of_one_machine_to_the_last_digit(
    cluster, catalog, tiny_model, bucket, tmp_path
):
    """Where the object store is, nodes learn from the settings of the run; they have credentials of their own."""
    fs, place = storage.filesystem(bucket)
    fs.put_file(catalog, f"{place}/valid.parquet")
    options = {"samples": 2, "run_id": "r1"}
    local = api.complete(catalog, str(tiny_model), str(tmp_path / "local"), features=str(tmp_path / "a"), **options)
    nodes: set[str] = set()

    def both_are_at_work(done: int, of: int) -> None:
        end = time.monotonic() + 60
        while len(nodes) < 2 and time.monotonic() < end:
            nodes.update(with_a_model())
            time.sleep(0.1)

    there = api.complete(
        f"{bucket}/valid.parquet", str(tiny_model), f"{bucket}/ray", features=str(tmp_path / "b"), engine="ray",
        progress=both_are_at_work, **options,
    )  # fmt: skip
    assert nodes == {node.node_id for node in cluster.workers}, "both nodes held the model"
    assert there["counts"] == local["counts"]
    assert there["outputs"] == local["outputs"], "nothing of the parts is left"
    fs.get(f"{place}/ray", str(tmp_path / "ray"), recursive=True)
    for name in ("completed", "completions", "samples"):
        assert rows(tmp_path / "ray", name).equals(rows(tmp_path / "local", name)), name
    assert kept(tmp_path / "b") == kept(tmp_path / "a"), "the same decisions are kept"


def kept(cache: Path) -> list[dict]:
    """The decisions in a cache, in the order of their hashes."""
    parts = [path for path in storage.files(cache) if "decisions-" in path]
    found = [line for path in parts for line in pq.read_table(path).to_pylist()]
    assert found
    return sorted(found, key=lambda line: line["content_hash"])


@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle_changes_no_row(cluster, catalog, tiny_model, tmp_path):
    api.complete(catalog, str(tiny_model), str(tmp_path / "local"), run_id="r1")
    lost = []

    def lose_a_node(done: int, of: int) -> None:
        """Kills the processes of a node on which an actor holds the model, while rows are left to complete."""
        if lost or done == of:
            return
        lost.extend([node for node in cluster.workers if node.node_id in with_a_model()][:1])
        for node in lost:
            cluster.remove_node(node, allow_graceful=False)

    api.complete(catalog, str(tiny_model), str(tmp_path / "ray"), run_id="r1", engine="ray", progress=lose_a_node)
    assert lost, "a node was lost while rows were left"
    for name in ("completed", "completions"):
        assert rows(tmp_path / "ray", name).equals(rows(tmp_path / "local", name)), name


def with_a_model() -> set[str]:
    """The nodes on which an actor holds the model now."""
    import ray

    actors = [a for a in ray._private.state.actors().values() if "Worker" in a["ActorClassName"]]
    return {a["Address"]["NodeID"] for a in actors if a["State"] == "ALIVE"}


def test_without_ray_the_sentence_says_what_to_install(catalog, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'attrgan\[ray\]'"):
        api.complete(catalog, str(tiny_model), str(tmp_path / "out"), engine="ray")
    assert not (tmp_path / "out").exists()
