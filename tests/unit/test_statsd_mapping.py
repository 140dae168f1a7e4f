"""The mapping for Prometheus: each name that attrgan and Airflow send finds its rule, as the exporter's globs work."""

import re
from pathlib import Path

import pytest
import yaml

MAPPING = yaml.safe_load((Path(__file__).parents[2] / "docker" / "statsd_mapping.yaml").read_text())["mappings"]


def mapped(sent: str) -> tuple[str, dict[str, str]]:
    """Name and labels of the first rule that fits: a `*` is one part between dots, `$n` what the n-th stands for."""
    for rule in MAPPING:
        parts = [r"([^.]*)" if part == "*" else re.escape(part) for part in rule["match"].split(".")]
        if match := re.fullmatch(r"\.".join(parts), sent):
            labels = {k: re.sub(r"\$(\d+)", lambda n: match[int(n[1])], v) for k, v in rule.get("labels", {}).items()}
            return rule["name"], labels
    raise AssertionError(f"no rule for {sent}")


@pytest.mark.parametrize(
    ("sent", "name", "labels"),
    [
        ("attrgan.duration.complete", "attrgan_step_duration_seconds", {"verb": "complete"}),
        ("attrgan.counts.complete.filled", "attrgan_step_count_total", {"verb": "complete", "count": "filled"}),
        ("attrgan.skipped.publish", "attrgan_steps_skipped_total", {"verb": "publish"}),
        ("attrgan.exits.infer-schema.2", "attrgan_commands_total", {"verb": "infer-schema", "exit_code": "2"}),
        ("attrgan.training.loss_d", "attrgan_training", {"figure": "loss_d"}),
        ("attrgan.freshness.age_seconds", "attrgan_freshness_age_seconds", {}),
        (
            "airflow.ti.finish.nightly_completion.complete.failed",
            "airflow_task_finished_total",
            {"dag_id": "nightly_completion", "task_id": "complete", "state": "failed"},
        ),
        ("airflow.dag.train_model.train.duration", "airflow_task_duration_seconds",
         {"dag_id": "train_model", "task_id": "train"}),
        ("airflow.pool.running_slots.gpu", "airflow_pool_slots", {"pool": "gpu", "state": "running"}),
    ],
)  # fmt: skip
def test_a_name_becomes_a_metric_with_labels(sent, name, labels):
    assert mapped(sent) == (name, labels)


def test_one_metric_has_the_same_labels_in_every_rule():
    by_name: dict[str, set[frozenset[str]]] = {}
    for rule in MAPPING:
        by_name.setdefault(rule["name"], set()).add(frozenset(rule.get("labels", {})))
    assert {name: labels for name, labels in by_name.items() if len(labels) > 1} == {}


def test_rules_are_in_the_form_that_the_exporter_reads():
    known = {"match", "name", "labels", "observer_type", "histogram_options", "ttl"}
    for rule in MAPPING:
        assert rule.keys() <= known
        assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", rule["name"])
        assert re.fullmatch(r"([a-zA-Z_][a-zA-Z0-9_-]*|\*)(\.([a-zA-Z_][a-zA-Z0-9_-]*|\*))*", rule["match"])
        stars = rule["match"].count("*")
        assert all(int(n) <= stars for v in rule.get("labels", {}).values() for n in re.findall(r"\$(\d+)", v))
