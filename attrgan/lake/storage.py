"""Files on a disk or in an object store, through fsspec: the only module that knows the difference.

A *place* is a path or an fsspec URL (`s3://…`, `file://…`). What a verb writes is staged in a local folder and moved
to its place when it is whole, `manifest.json` last, so that a reader never meets half an output.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

MANIFEST = "manifest.json"


def filesystem(place: str | Path) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a place and the path within it."""
    return fsspec.url_to_fs(str(place))


def join(place: str | Path, *parts: str) -> str:
    """A place below another."""
    return "/".join([str(place).rstrip("/"), *parts])


def exists(place: str | Path) -> bool:
    """Whether there is a file or folder at the place."""
    fs, path = filesystem(place)
    return bool(fs.exists(path))


def is_file(place: str | Path) -> bool:
    """Whether there is a file, not a folder, at the place."""
    fs, path = filesystem(place)
    return bool(fs.isfile(path))


def local_path(place: str | Path) -> Path | None:
    """The path of a place on this machine's disk, or None for one in an object store."""
    fs, path = filesystem(place)
    return Path(path) if isinstance(fs, LocalFileSystem) else None


def files(place: str | Path) -> list[str]:
    """The files at a place, sorted: itself, or all below the folder except hidden ones and those starting with `_`."""
    fs, path = filesystem(place)
    if not fs.exists(path):
        return []
    if fs.isfile(path):
        return [path]
    found = sorted(fs.find(path))
    inside = len(path.rstrip("/")) + 1
    return [f for f in found if not any(part.startswith((".", "_")) for part in f[inside:].split("/"))]


def read_json(place: str | Path) -> Any:
    """Reads a JSON file."""
    with fsspec.open(str(place), "r", encoding="utf-8") as file:
        return json.load(file)


def write_json(place: str | Path, data: Any) -> None:
    """Writes a JSON file; on a disk by rename, so that it is whole or absent."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n"
    fs, path = filesystem(place)
    fs.makedirs(fs._parent(path), exist_ok=True)
    if local := local_path(place):
        part = local.with_name(f".{local.name}.{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(local)
    else:
        fs.pipe_file(path, text.encode())


@contextmanager
def staged(out: str | Path) -> Iterator[Path]:
    """A local folder whose files move to `out` when the block ends well, and vanish when it does not."""
    fs, path = filesystem(out)
    if target := local_path(out):
        target.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".attrgan-", dir=target.parent if target else None))
    try:
        yield stage
        made = sorted((f for f in stage.rglob("*") if f.is_file()), key=lambda f: (f.name == MANIFEST, str(f)))
        for file in made:
            destination = join(path, file.relative_to(stage).as_posix())
            fs.makedirs(fs._parent(destination), exist_ok=True)
            if target:
                file.chmod(0o644)  # some libraries write for the owner alone; the next task may run as another user
                file.replace(destination)
            else:
                fs.put_file(str(file), destination)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
