"""What Airflow adds to a verb that runs as a pod, beside the same verb as a local process.

    python -m benchmarks.pods [--rounds 3]

One nightly run and one training per round, around a stand-in for the command that does nothing, so that nearly all of
a task's time is overhead. The cluster is the API server of the tests on loopback: a pod is scheduled and started at
once, no image is pulled. What a real cluster adds to that is not in these figures; what
the operator's polling adds is.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import airflow_runs  # noqa: E402
from kubernetes_server import KubernetesServer  # noqa: E402

FAKE = [sys.executable, str(airflow_runs.HERE / "fake_attrgan.py")]
SCHEMA = "entity: product\nid: i\ntext: [t]\nattributes: {c: {kind: categorical}}\n"
IMAGE = "attrgan-worker"


def seconds_of(runner: str, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Task → its seconds in every round; of pods also those of the command alone."""
    with tempfile.TemporaryDirectory() as name, KubernetesServer({IMAGE: {"attrgan": FAKE}}) as cluster:
        folder = Path(name)
        (folder / "schema.yaml").write_text(SCHEMA)
        calls = str(folder / "calls")
        settings = {"image": IMAGE, "in_cluster": False, "env": {"FAKE_CALLS": calls}}
        runs = [{"dag_id": dag, "conf": {"dt": "2017-03-01"}} for dag in ("nightly_completion", "train_model")]
        answers, log = airflow_runs.run_dags(
            runs * rounds,
            command=FAKE,
            FAKE_CALLS=calls,
            KUBECONFIG=str(cluster.kubeconfig(folder / "kubeconfig")),
            ATTRGAN__RUNNER=runner,
            ATTRGAN__KUBERNETES=json.dumps(settings),
            ATTRGAN__CATALOG_SCHEMA=str(folder / "schema.yaml"),
            **{f"ATTRGAN__{place}": str(folder / place) for place in ("RUNS", "LANDING", "WAREHOUSE")},
        )
        assert {answer["state"] for answer in answers} == {"success"}, log[-3000:]
        tasks: dict[str, list[float]] = {}
        for answer in answers:
            for task, found in answer["tasks"].items():
                tasks.setdefault(task.split("[")[0], []).append(found["seconds"])
        alone: dict[str, list[float]] = {}
        for pod in cluster.created:
            alone.setdefault(pod.labels["app.kubernetes.io/component"], []).append(pod.ended - pod.started)
        return tasks, alone


def main() -> None:
    """Prints the medians by task."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.pods", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    local, _ = seconds_of("local", rounds)
    pods, alone = seconds_of("kubernetes", rounds)
    print("| task | as a process, s | as a pod, s | of it the command | added by the pod |\n|---|---|---|---|---|")
    for task in alone:
        here, there, command = (statistics.median(found[task]) for found in (local, pods, alone))
        print(f"| {task} | {here:.1f} | {there:.1f} | {command:.1f} | {there - command:.1f} |")


if __name__ == "__main__":
    main()
