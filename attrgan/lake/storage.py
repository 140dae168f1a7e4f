"""Files on a disk or in an object store, through fsspec: the only module that knows the difference.

A *place* is a path or an fsspec URL (`s3://…`, `file://…`). What a verb writes is staged in a local folder and moved
to its place when it is whole, `manifest.json` last, so that a reader never meets half an output.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from attrgan.config import settings
from attrgan.lake import s3

MANIFEST = "manifest.json"


def filesystem(place: str | Path) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a place and the path within it."""
    if s3.is_s3(place):
        from attrgan.lake import s3_files

        fs = s3_files.filesystem(settings().s3.timeout_seconds)
        return fs, fs._strip_protocol(str(place))
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
    return list(details(place))


def details(place: str | Path) -> dict[str, dict[str, Any]]:
    """As `files`, each with what its file system knows of it; in an object store one request per thousand files."""
    fs, path = filesystem(place)
    if local_path(place) and not fs.exists(path):
        return {}
    found = fs.find(path, detail=True)
    inside = len(path.rstrip("/")) + 1
    return {
        name: found[name]
        for name in sorted(found)
        if not name.endswith("/") and not any(part.startswith((".", "_")) for part in name[inside:].split("/"))
    }


def written_at(folder: str | Path) -> float:
    """When the newest file below a folder was written, in seconds; 0 where it has none."""
    times = (info.get("mtime") or info.get("LastModified") or 0.0 for info in details(folder).values())
    return max((t.timestamp() if isinstance(t, datetime) else float(t) for t in times), default=0.0)


def read_bytes(place: str | Path) -> bytes | None:
    """The content of a small file; None where there is none."""
    fs, path = filesystem(place)
    try:
        with fs.open(path, "rb") as file:
            return bytes(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_json(place: str | Path) -> Any:
    """Reads a JSON file; raises FileNotFoundError where there is none."""
    content = read_bytes(place)
    if content is None:
        raise FileNotFoundError(f"no file at {place}")
    return json.loads(content)


def write_json(place: str | Path, data: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(place, json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text(place: str | Path, text: str) -> None:
    """Writes a text file in UTF-8: on a disk by rename, in an object store by one request; whole or not at all."""
    fs, path = filesystem(place)
    local = local_path(place)
    if local and local.exists() and not local.is_file():  # such as /dev/stdout
        local.write_text(text, encoding="utf-8")
    elif local:
        local.parent.mkdir(parents=True, exist_ok=True)
        part = local.with_name(f".{local.name}.{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(local)
    else:
        fs.pipe_file(path, text.encode())


def fetch(place: str | Path, folder: Path) -> None:
    """Copies the files at a place below a local folder; FileNotFoundError where one has gone or changed meanwhile."""
    fs, root = filesystem(place)
    for path in files(place):
        target = folder / path[len(root) :].strip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with fs.open(path, "rb") as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)


@contextmanager
def on_disk(place: str | Path) -> Iterator[Path]:
    """A local folder with the files at a place: the place itself, or a copy that goes when the block ends."""
    if local := local_path(place):
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="attrgan-") as folder:
        fetch(place, Path(folder))
        yield Path(folder)


@contextmanager
def staged(out: str | Path, earlier: Iterable[str] = ()) -> Iterator[Path]:
    """A local folder whose files move to `out` when the block ends well, and vanish when it does not.

    Args:
        earlier: files below `out` that these are instead of; those that are not made anew are removed.
    """
    fs, path = filesystem(out)
    target = beside = local_path(out)
    if target and not target.is_dir():  # one that is there may be a volume, into which nothing moves from beside it
        beside = target.parent
        beside.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".attrgan-", dir=beside))
    try:
        yield stage
        made = sorted((f for f in stage.rglob("*") if f.is_file()), key=lambda f: (f.name == MANIFEST, str(f)))
        if stage / MANIFEST in made:  # an earlier one says nothing about what is moved now
            _remove(fs, join(path, MANIFEST))
        for name in set(earlier) - {file.relative_to(stage).as_posix() for file in made}:
            if ".." not in name.split("/"):
                _remove(fs, join(path, name))
        for file in made:
            destination = join(path, file.relative_to(stage).as_posix())
            if target:
                Path(destination).parent.mkdir(parents=True, exist_ok=True)
                file.chmod(0o644)  # some libraries write for the owner alone; the next task may run as another user
                file.replace(destination)
            elif s3.is_s3(out):
                fs.upload(str(file), destination, file.stat().st_size)
            else:
                fs.makedirs(fs._parent(destination), exist_ok=True)
                fs.put_file(str(file), destination)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _remove(fs: fsspec.AbstractFileSystem, path: str) -> None:
    with suppress(FileNotFoundError):
        fs.rm_file(path)
