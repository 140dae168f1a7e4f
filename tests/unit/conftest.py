"""A model of the made-up catalog that has learned something, trained once per session."""

import dataclasses
from pathlib import Path

import pytest
from small_catalog import OPTIONS, SCHEMA, catalog, in_float32, with_gaps

from attrgan.lake.catalog import to_frame
from attrgan.model import CompletionModel


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that learned 600 items of `small_catalog`."""
    from attrgan.training.train import train

    folder = tmp_path_factory.mktemp("models") / "small"
    folder.mkdir()
    frame = to_frame(with_gaps(catalog(600), share=0.05), SCHEMA)
    options = dataclasses.replace(OPTIONS, epochs=14, batch_size=32)
    train(SCHEMA, frame, in_float32(frame), options, folder, say=lambda _: None)
    return folder


@pytest.fixture(scope="session")
def small_model(small_folder: Path) -> CompletionModel:
    """That model, as loaded by those who use it."""
    return CompletionModel.load(small_folder)
