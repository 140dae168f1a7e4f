"""Results as files: one JSON file per set, model and seed, named by them and by a hash of what else decides the result.

A file appears whole or not at all, so a run that is killed loses only what it was computing.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """What decides a result.

    Attributes:
        set: name of the set; model: name of the model, with its variant after a colon; seed: of split, holes and model.
        decides: everything else, as plain data: versions, options, hashes of data and sources.
    """

    set: str
    model: str
    seed: int
    decides: dict[str, Any]

    def path(self, folder: Path) -> Path:
        digest = hashlib.sha256(json.dumps(self.decides, sort_keys=True).encode()).hexdigest()[:12]
        name = f"{self.set}--{self.model}--seed{self.seed}--{digest}.json"
        return folder / name.replace("/", "_").replace(":", "_").replace("%", "pc")


def cached(key: Key, folder: Path, compute: Callable[[], Record]) -> tuple[Record, bool]:
    """The result, and whether it was there before; computed and written where it was not."""
    path = key.path(folder)
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8")), True
    record = {"set": key.set, "model": key.model, "seed": key.seed, "decides": key.decides} | compute()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(path)
    return record, False


def file_hash(path: Path) -> str:
    """16 hex digits over a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
