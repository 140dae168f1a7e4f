"""The manifest: what a step read and wrote, and the proof that it finished.

A verb runs inside `step`. A finished manifest of the same run and the same fingerprint (verb, arguments, hashes of what
is read) makes it a no-op, which is what makes every task safe to run again.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrgan import __version__, telemetry
from attrgan.errors import GateError
from attrgan.lake import storage

Manifest = dict[str, Any]


@dataclass
class Result:
    """What a verb did: figures for the manifest, and what a gate said."""

    counts: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None
    """Why a gate said no; the outputs are written all the same."""


def content_hash(place: str | Path) -> str:
    """First 16 hex digits of a hash of a file or folder: of the bytes on a disk, of the ETags in an object store."""
    digest, root = hashlib.sha256(), storage.filesystem(place)[1]
    local = storage.local_path(place) is not None
    for path, info in storage.details(place).items():
        digest.update(path[len(root) :].encode())
        if local:
            with Path(path).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        else:
            digest.update(str(info.get("ETag") or (info.get("size"), info.get("LastModified"))).encode())
    return digest.hexdigest()[:16]


def read(out: str | Path) -> dict[str, Any] | None:
    """The manifest of an output folder, or None."""
    content = storage.read_bytes(storage.join(out, storage.MANIFEST))
    return None if content is None else json.loads(content)


def step(
    verb: str,
    out: str | Path,
    work: Callable[[Path], Result],
    *,
    inputs: Mapping[str, str | Path],
    arguments: dict[str, Any] | None = None,
    run_id: str | None = None,
) -> dict[str, Any]:
    """Runs `work(stage)` and writes what it left in `stage` to `out`, its manifest last. Returns the manifest.

    Args:
        verb: name of the verb, as on the command line.
        out: folder (path or URL) of the outputs; those of an earlier step of the verb there are replaced, all of them.
        work: does the work; what it writes into the folder it is given becomes the output.
        inputs: name → place of everything that is read; hashed into the manifest.
        arguments: what else decides the result (options, settings, versions), as plain data.
        run_id: the run this step belongs to; None means a run of its own.

    Raises:
        GateError: the gate of the verb said no; outputs and manifest are there all the same.
    """
    read_from = {name: {"place": str(place), "hash": content_hash(place)} for name, place in inputs.items()}
    decides = {"verb": verb, "arguments": arguments or {}, "hashes": {n: i["hash"] for n, i in read_from.items()}}
    config_hash = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:16]
    run_id = run_id or str(uuid.uuid4())
    before = read(out)
    if before and before["status"] == "finished" and (before["run_id"], before["config_hash"]) == (run_id, config_hash):
        telemetry.skipped(verb, before)
        return before | {"skipped": True}

    telemetry.begins(verb, run_id, arguments or {}, str(out))
    started = time.perf_counter()
    earlier = before["outputs"] if before and before["verb"] == verb else ()
    with storage.staged(out, earlier) as stage:
        result = work(stage)
        manifest = {
            "verb": verb,
            "status": "refused" if result.refused else "finished",
            "run_id": run_id,
            "attrgan": __version__,
            "config_hash": config_hash,
            "arguments": arguments or {},
            "inputs": read_from,
            "outputs": sorted(f.relative_to(stage).as_posix() for f in stage.rglob("*") if f.is_file()),
            "counts": result.counts,
            **result.details,
            "refused": result.refused,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 2),
        }
        storage.write_json(stage / storage.MANIFEST, manifest)
    telemetry.finished(manifest)
    if result.refused:
        raise GateError(result.refused)
    return manifest
