"""Real models for every test that needs one, trained once per session."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")
SMALLEST = Path(__file__).parent.parent / "examples" / "smallest"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the smallest example: two epochs, so it knows little, but it is a real one."""
    from attrgan import api

    folder = tmp_path_factory.mktemp("models") / "tiny"
    catalog, schema = str(SMALLEST / "catalog.csv"), str(SMALLEST / "schema.yaml")
    api.train(catalog, schema, str(folder), seed=1, epochs=2, say=lambda _: None)
    return folder


@pytest.fixture(autouse=True)
def fresh_settings() -> object:
    """Settings are read once per process; a test that sets variables gets its own."""
    from attrgan.config import settings

    settings.cache_clear()
    yield
    settings.cache_clear()
