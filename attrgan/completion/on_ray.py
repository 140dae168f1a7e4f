"""The Ray engine: Ray Data gives the chunks of a catalog to actors on many nodes, one committer gathers their parts.

Choices (`docs/adr/0015-ray.md` says why):
- What travels through Ray is small: the numbers of a chunk's rows out, its counts back. Actors read the rows from the
  lake and write part files to a place that every node reaches, each part whole or not at all. Parts are written under
  the number of their chunk, so a chunk that is done twice (its node was lost) is there once.
- Chunks are those of the local engine, and so are their rows to the last digit.
- The model travels as the bytes of its folder: a node needs attrgan and its encoders, neither the folder nor MLflow.
- Only the committer writes to the cache: actors leave the decisions that are to be kept beside their parts.
- `RAY_ADDRESS` names the cluster. Without it one is started on this machine for the run, and ended with it.
"""

import json
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from attrgan.completion import complete
from attrgan.completion.engines import Completer, Counts, Job, Progress, frozen
from attrgan.config import settings
from attrgan.errors import AttrGANError, InputError, SettingsError
from attrgan.lake import storage
from attrgan.lake.rows import CHUNK_ROWS, Files, ParquetRows, Rows, open_parquet

if TYPE_CHECKING:
    from attrgan.model import CompletionModel

ACTOR_MEMORY = 2_000_000_000
"""Bytes that an actor is given of its node's: a model, its libraries and a chunk."""
_DECISIONS = "decisions"


@dataclass(frozen=True)
class Work:
    """What every actor is told; `environment`: the settings that lead to pictures and the object store."""

    rows: ParquetRows
    job: Job
    parts: str
    environment: dict[str, str]


class Worker:
    """Holds a model and completes chunks of rows into part files."""

    def __init__(self, model: Any, work: Work):
        import ray

        self.work = work
        os.environ.update(work.environment)
        settings.cache_clear()
        self.model = _load(ray.get(model))

    def __call__(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Completes the rows `first` … `last`; returns their counts, or the sentence that says what is wrong."""
        try:
            counts = self._complete(chunk["first"], chunk["last"])
        except (AttrGANError, FileNotFoundError) as error:
            return {**chunk, "counts": "{}", "refused": f"{error} (on {socket.gethostname()})"}
        return {**chunk, "counts": json.dumps(counts), "refused": ""}

    def _complete(self, first: int, last: int) -> Counts:
        work = self.work
        with storage.staged(part_of(work.parts, first)) as stage, frozen(), Files(stage) as files:
            completer = Completer(self.model, work.job, work.rows.schema, lambda kept: files.write(_DECISIONS, kept))
            rows = next(work.rows.chunks(first, last, CHUNK_ROWS))
            return completer.complete(rows, files.write)


def on_ray(
    model: "CompletionModel", folder: Path, rows: Rows, first: int, last: int, job: Job, stage: Path, out: str,
    progress: Progress | None = None,
) -> Counts:  # fmt: skip
    """Completes the rows first … last on a Ray cluster; returns the counts.

    Args:
        model, folder: the model, and where it was read from.
        rows: of a catalog that every node reaches.
        first, last: which of them.
        job: what is asked for.
        stage: folder of the files.
        out: where they go in the end; parts are written beside them, or into `stage` where that is on a disk.
        progress: gets (rows done, rows).

    Raises:
        InputError: Ray is not installed, there is no such cluster, or a node cannot reach the catalog or the parts.
    """
    ray = _ray()
    parts = _place_of_parts(stage, out)
    try:
        readable = rows if isinstance(rows, ParquetRows) else _as_parquet(rows, parts, model)
        if job.cache_place and (cache := storage.local_path(job.cache_place)):
            job = replace(job, cache_place=str(cache.resolve()))
        work = Work(readable, job, parts, _environment())
        starts = range(first, max(last, first + 1), CHUNK_ROWS)
        chunks = [{"first": start, "last": min(start + CHUNK_ROWS, last)} for start in starts]
        with _cluster(ray):
            found = _complete(ray, folder, work, chunks, progress)
        _gather(parts, starts, stage, Completer(model, job, rows.schema))
    finally:
        _remove(parts)
    total: Counts = {}
    for start in starts:
        total = complete.add(total, found[start])
    return total


def _environment() -> dict[str, str]:
    """The settings of this run that an actor needs, as variables; credentials are those of its node."""
    of = settings()
    found = {"ATTRGAN__MEDIA_ROOT": str(Path(of.media_root).resolve()),
             "ATTRGAN__MEDIA_HOSTS": json.dumps(list(of.media_hosts))}  # fmt: skip
    store = of.s3.model_dump(exclude={"airflow_conn_id"}, exclude_none=True)
    return found | {f"ATTRGAN__S3__{name.upper()}": str(value) for name, value in store.items()}


def part_of(parts: str, first: int) -> str:
    """Where the part goes that begins with a row."""
    return storage.join(parts, f"{first:012d}")


def _complete(
    ray: Any, folder: Path, work: Work, chunks: list[dict[str, int]], progress: Progress | None
) -> dict[int, Counts]:
    """First row of each chunk → its counts, once all parts are there."""
    model = ray.put({f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()})
    actors = _actors(ray, len(chunks))
    pool = ray.data.ActorPoolStrategy(
        min_size=1, initial_size=actors, max_size=actors, max_tasks_in_flight_per_actor=1
    )  # fmt: skip
    done = ray.data.from_items(chunks, override_num_blocks=len(chunks)).map(
        Worker, fn_constructor_args=(model, work), num_cpus=1, memory=ACTOR_MEMORY, compute=pool
    )
    found: dict[int, Counts] = {}
    rows, of = 0, sum(chunk["last"] - chunk["first"] for chunk in chunks)
    try:
        for chunk in done.iter_rows():
            if chunk["refused"]:
                raise InputError(
                    f"{chunk['refused']}: with --engine ray the catalog, -o and --features must lie where every node "
                    "reaches them, on a shared disk or s3://"
                )
            found[chunk["first"]] = json.loads(chunk["counts"])
            rows += chunk["last"] - chunk["first"]
            if progress:
                progress(rows, of)
    except ray.exceptions.RayError as error:
        raise AttrGANError(f"Ray could not complete the catalog ({_reason(error)})") from error
    return found


def _reason(error: Exception) -> str:
    """The line of a Ray error that names the exception of the worker; its last lines are advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b.*: ", line)]
    return (named or lines or [type(error).__name__])[-1]


def _actors(ray: Any, chunks: int) -> int:
    """How many actors the cluster has room for, and chunks for."""
    there = ray.cluster_resources()
    room = min(there.get("CPU", 1), there.get("memory", ACTOR_MEMORY) // ACTOR_MEMORY)
    return int(max(min(room, chunks), 1))


def _gather(parts: str, starts: range, stage: Path, completer: Completer) -> None:
    """Writes the parts into whole files in the order of the rows, a row group at a time; keeps the decisions."""
    with Files(stage) as files:
        for start in starts:
            place = part_of(parts, start)
            fs, _ = storage.filesystem(place)
            found = storage.files(place)
            if not found:
                raise InputError(
                    f"{place} is not to be seen here, though a node wrote it: with --engine ray -o must lie where "
                    "every node reaches it, on a shared disk or s3://"
                )
            for path in found:
                name = path.rsplit("/", 1)[-1].removesuffix(".parquet")
                with fs.open(path, "rb") as file:
                    part = pq.ParquetFile(file)
                    for group in range(part.num_row_groups):
                        rows = part.read_row_group(group)
                        if name == _DECISIONS:
                            completer.decider.add(rows)
                        else:
                            files.write(name, rows)
                    if not part.num_row_groups:
                        files.write(name, part.schema_arrow.empty_table())


def _place_of_parts(stage: Path, out: str) -> str:
    """A place for parts: in the stage, which is beside `out` on its disk, or below `out` in an object store."""
    if storage.local_path(out):
        return str((stage / "_parts").resolve())
    return storage.join(out, f"_parts-{stage.name.removeprefix('.attrgan-')}")


def _as_parquet(rows: Rows, parts: str, model: "CompletionModel") -> ParquetRows:
    """The rows of a catalog that is not Parquet, written where the nodes can read them chunk by chunk."""
    place = storage.join(parts, "rows")
    with storage.staged(place) as stage, Files(stage) as files:
        for chunk in rows.chunks(0, rows.num_rows, CHUNK_ROWS):
            files.write("rows", chunk)
    found = open_parquet(storage.join(place, "rows.parquet"), model.schema)
    assert found is not None
    return found


def _load(files: dict[str, bytes]) -> "CompletionModel":
    from attrgan.model import CompletionModel

    with tempfile.TemporaryDirectory(prefix="attrgan-model-") as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return CompletionModel.load(Path(folder))


def _remove(parts: str) -> None:
    fs, path = storage.filesystem(parts)
    if local := storage.local_path(parts):
        shutil.rmtree(local, ignore_errors=True)
    elif fs.exists(path):
        fs.rm(path, recursive=True)


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise SettingsError("--engine ray needs Ray, which is not installed: pip install 'attrgan[ray]'") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Connects to the cluster of `RAY_ADDRESS`, or to one on this machine that ends with the block."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            address=address or "local", include_dashboard=None if address else False, log_to_driver=False,
            logging_level=logging.ERROR,
        )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SettingsError(
            f"no Ray cluster at RAY_ADDRESS={address} ({reason}): expected host:port of one with the same versions of "
            "Python and Ray; without RAY_ADDRESS one is started on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
