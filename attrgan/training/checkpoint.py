"""Checkpoints: everything that decides the rest of a training, as safetensors, on a disk or in an object store.

Choices:
- One file is one checkpoint, and its name carries the digest of its content: what was cut short or has rotted is known
  by its name and passed over. On a disk it appears by a rename, in an object store by a put, so whole or not at all.
- Random numbers are drawn from generators seeded per epoch: at the end of an epoch weights, averages and optimizer
  states are enough. Within one, the states of the generators lie beside them, as numbers; nothing is pickled.
- The last two are kept, so that a broken one has one before it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors

from attrgan.lake import storage

KEEP = 2
States = dict[str, dict[str, Any]]
"""Part (`generator`, an optimizer …) → name → tensor."""


def save(place: str | Path, epoch: int, step: int, states: States, notes: dict[str, Any]) -> str:
    """Writes the states after a step of an epoch; keeps the last two; returns where it lies.

    Raises:
        OSError, or what the object store's client raises: nothing was written.
    """
    data = pack(states, notes)
    target = storage.join(place, f"epoch-{epoch:05d}-step-{step:08d}-{_digest(data)}.safetensors")
    fs, path = storage.filesystem(target)
    if local := storage.local_path(target):
        local.parent.mkdir(parents=True, exist_ok=True)
        hidden = local.with_name(f".{local.name}.{os.getpid()}")
        hidden.write_bytes(data)
        hidden.replace(local)
    else:
        fs.pipe_file(path, data)
    for old in _all(place)[:-KEEP]:
        with suppress(FileNotFoundError):
            fs.rm_file(old)
    return target


def load(place: str | Path, say: Callable[[str], None] = print) -> tuple[States, dict[str, Any]] | None:
    """The newest checkpoint that is whole, and its notes; None where there is none. Says which are passed over."""
    fs, _ = storage.filesystem(place)
    for path in reversed(_all(place)):
        try:
            data = fs.cat_file(path)
            if _digest(data) == path.rsplit("-", 1)[-1].removesuffix(".safetensors"):
                return unpack(data)
            reason = "its content does not have the digest in its name"
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        say(f"The checkpoint {path} is damaged ({reason}): the one before it is taken, or none.")
    return None


def clear(place: str | Path) -> None:
    """Removes the checkpoints and their folder."""
    fs, path = storage.filesystem(place)
    with suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


def pack(states: States, notes: dict[str, Any]) -> bytes:
    """A checkpoint as bytes: safetensors, the notes as JSON in its header."""
    flat = {f"{part}/{k}": v.detach().cpu().contiguous() for part, s in states.items() for k, v in _flat(s).items()}
    apart = {name: tensor.clone() if tensor.numel() else tensor for name, tensor in flat.items()}  # none shares memory
    return safetensors.save(apart, {"notes": json.dumps(notes)})


def unpack(data: bytes) -> tuple[States, dict[str, Any]]:
    """The inverse of `pack`: part → flat name → tensor on the CPU, and the notes."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    states: States = {}
    with torch.device("cpu"):
        for name, tensor in safetensors.load(data).items():
            part, key = name.split("/", 1)
            states.setdefault(part, {})[key] = tensor
    return states, json.loads(header["__metadata__"]["notes"])


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, torch.Tensor]) -> None:
    """Puts a flat optimizer state back."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in flat.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _all(place: str | Path) -> list[str]:
    """The checkpoints at a place, oldest first."""
    found: Iterable[str] = storage.files(place)
    return [path for path in found if path.endswith(".safetensors")]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _flat(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A module's state as it is, an optimizer's as `parameter number.name`."""
    if "param_groups" not in state:
        return state
    return {
        f"{number}.{key}": torch.as_tensor(value)
        for number, values in state["state"].items()
        for key, value in values.items()
    }
