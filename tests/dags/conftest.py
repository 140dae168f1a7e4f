"""The DAGs parsed in this process; Airflow's home is set before anything imports it."""

import os

import airflow_runs
import pytest

os.environ.setdefault("AIRFLOW_HOME", str(airflow_runs.home()))
os.environ.setdefault("AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "300")  # the provider's first import, on a busy machine

SCHEMA = """
entity: product
id: product_id
text: [title]
attributes: {colour: {kind: categorical}}
"""


@pytest.fixture
def schema(tmp_path):
    file = tmp_path / "schema.yaml"
    file.write_text(SCHEMA)
    return file


@pytest.fixture
def parse(monkeypatch, schema):
    """Parses all DAGs under the given settings."""
    from attrgan.config import settings

    def parsed(**variables):
        monkeypatch.setenv("ATTRGAN__CATALOG_SCHEMA", str(schema))
        for name, value in variables.items():
            monkeypatch.setenv(f"ATTRGAN__{name}", value)
        settings.cache_clear()
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(airflow_runs.ROOT / "dags"))
        assert bag.import_errors == {}
        return bag.dags

    yield parsed
    settings.cache_clear()
