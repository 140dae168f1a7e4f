"""A model of the made-up catalog that has learned something, trained once per session."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_catalog import OPTIONS, SCHEMA, catalog, float32, with_gaps

from attrgan.features import cache
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel


@pytest.fixture(scope="module", autouse=True)
def _alike_on_every_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is tested is not how a processor rounds, but for the encoders' own tests."""
    if request.path.parent.name == "features":
        yield
        return
    with float32():
        yield


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that learned 600 items of `small_catalog`."""
    from attrgan.training.train import train

    folder = tmp_path_factory.mktemp("models") / "small"
    folder.mkdir()
    frame = to_frame(with_gaps(catalog(600), share=0.05), SCHEMA)
    options = dataclasses.replace(OPTIONS, epochs=14, batch_size=32)
    with float32():
        train(SCHEMA, frame, cache.encode(frame, SCHEMA), options, folder, say=lambda _: None)
    return folder


@pytest.fixture(scope="session")
def small_model(small_folder: Path) -> CompletionModel:
    """That model, as loaded by those who use it."""
    return CompletionModel.load(small_folder)
