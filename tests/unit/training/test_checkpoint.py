"""Checkpoints: whole or passed over, the same from a folder and from an object store."""

import copy

import pytest
import torch

from attrgan.lake import storage
from attrgan.training import checkpoint

STATES = {"generator": {"a.weight": torch.arange(6.0).reshape(2, 3)}, "random": {"own": torch.ones(1, 4).byte()}}


@pytest.fixture(params=["folder", "object store"])
def place(request, tmp_path):
    root = str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}"
    yield f"{root}/.checkpoints"
    checkpoint.clear(f"{root}/.checkpoints")


def silent(line: str) -> None:
    raise AssertionError(line)


def test_a_checkpoint_comes_back_as_it_was(place):
    checkpoint.save(place, 2, 7, STATES, {"epoch": 2, "step": 7, "numpy": {"state": 2**127 + 1}})
    states, notes = checkpoint.load(place, silent)
    assert notes == {"epoch": 2, "step": 7, "numpy": {"state": 2**127 + 1}}
    assert torch.equal(states["generator"]["a.weight"], STATES["generator"]["a.weight"])
    assert states["random"]["own"].dtype == torch.uint8


def test_the_last_two_are_kept_until_they_are_cleared(place):
    for epoch, step in ((1, 90), (1, 100), (2, 10), (10, 1)):
        checkpoint.save(place, epoch, step, STATES, {"at": [epoch, step]})
    assert len(storage.files(place)) == checkpoint.KEEP == 2
    assert checkpoint.load(place, silent)[1] == {"at": [10, 1]}
    checkpoint.clear(place)
    assert checkpoint.load(place, silent) is None
    checkpoint.clear(place)


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[:-1] + bytes([d[-1] ^ 1]), lambda d: b""])
def test_a_damaged_one_is_said_once_and_the_one_before_is_taken(place, damage):
    for step in (1, 2):
        checkpoint.save(place, 1, step, copy.deepcopy(STATES), {"step": step})
    newest = storage.files(place)[-1]
    fs, _ = storage.filesystem(place)
    fs.pipe_file(newest, damage(fs.cat_file(newest)))
    said: list[str] = []
    assert checkpoint.load(place, said.append)[1] == {"step": 1}
    assert len(said) == 1
    assert "is damaged" in said[0]


def test_tensors_that_share_memory_are_kept_apart():
    weight = torch.ones(3)
    states, _ = checkpoint.unpack(checkpoint.pack({"a": {"w": weight}, "b": {"w": weight}}, {}))
    assert states["a"]["w"].tolist() == states["b"]["w"].tolist() == [1.0, 1.0, 1.0]
