"""Checkpoints: everything that decides the rest of a training, as safetensors, written whole or not at all.

Random numbers are drawn from generators seeded per epoch, so weights, averages and optimizer states at the end of an
epoch are enough to go on exactly as if nothing had happened.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

KEEP = 2


def save(folder: Path, epoch: int, states: dict[str, dict[str, Any]], notes: dict[str, Any]) -> None:
    """Writes the states after an epoch; keeps the last two, so that a broken one has one before it."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{part}/{k}": v.contiguous().clone() for part, s in states.items() for k, v in _flat(s).items()}
    hidden = folder / f".epoch-{epoch:05d}"
    save_file(tensors, hidden, metadata={"notes": json.dumps(notes)})
    hidden.replace(folder / f"epoch-{epoch:05d}.safetensors")
    for old in sorted(folder.glob("epoch-*.safetensors"))[:-KEEP]:
        old.unlink()


def load(folder: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]] | None:
    """The newest readable checkpoint: part → flat name → tensor, and its notes; None where there is none."""
    for path in sorted(folder.glob("epoch-*.safetensors"), reverse=True):
        try:
            with safe_open(path, "pt") as file:
                notes = json.loads(file.metadata()["notes"])
            states: dict[str, dict[str, torch.Tensor]] = {}
            for name, tensor in load_file(path).items():
                part, key = name.split("/", 1)
                states.setdefault(part, {})[key] = tensor
        except (SafetensorError, OSError, ValueError, KeyError):
            continue
        return states, notes
    return None


def _flat(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A module's state as it is, an optimizer's as `parameter number.name`."""
    if "param_groups" not in state:
        return state
    return {
        f"{number}.{key}": torch.as_tensor(value)
        for number, values in state["state"].items()
        for key, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, torch.Tensor]) -> None:
    """Puts a flat optimizer state back."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in flat.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
