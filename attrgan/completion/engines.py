"""What completes a whole catalog: chunk by chunk on this machine, or on the nodes of a Ray cluster (`on_ray`).

An engine takes typed rows and a job, and leaves `completed.parquet` and `completions.parquet` (with samples
`samples.parquet`) in a folder. Both engines cut the rows in the same places and give every chunk to a `Completer`:
the items that are decided together move the last digits of a confidence, so other chunks would be other rows.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from attrgan.completion import complete
from attrgan.lake.cells import to_frame
from attrgan.lake.numbers import form_of, is_text
from attrgan.lake.rows import CHUNK_ROWS, Files, Rows

if TYPE_CHECKING:
    from attrgan.model import CompletionModel

ENGINES = ("local", "ray")
Counts = dict[str, Any]
Progress = Callable[[int, int], None]
"""Gets (rows done, rows)."""


@dataclass(frozen=True)
class Job:
    """What is asked for, in plain data.

    Attributes:
        run_id, completed_at: stand in every row of the completions.
        cache_place: the feature cache, with the decisions of former runs; None encodes and decides every item now.
        review_confidence: as in `complete.completions`.
        keep_decisions: of how many models decisions stay in the cache.
        samples: joint completions of each item to draw, with `seed`; None: none.
        suspended: attributes that are not filled, and why.
    """

    run_id: str
    completed_at: str
    cache_place: str | None = None
    review_confidence: float = complete.REVIEW_CONFIDENCE
    keep_decisions: int = 3
    samples: int | None = None
    seed: int = 0
    suspended: dict[str, str] = field(default_factory=dict)


class Completer:
    """Completes chunks of rows of one catalog: a model, a job, and how the catalog's columns are written.

    Args:
        model: the model.
        job: what is asked for.
        columns: the typed columns of the whole catalog.
        store: takes decisions that are to be kept; None: they are added to the cache.
    """

    def __init__(
        self, model: "CompletionModel", job: Job, columns: pa.Schema, store: Callable[[pa.Table], None] | None = None
    ):
        from attrgan.completion.decisions import Decider

        self.model, self.job = model, job
        attributes = model.schema.attributes
        whole = {name for name in attributes if pa.types.is_integer(columns.field(name).type)}
        written = {name: columns.field(name) for name, a in attributes.items() if a.kind == "numeric"}
        forms = {n: form_of(f, pa.array([], f.type), attributes[n]) for n, f in written.items() if is_text(f.type)}
        self.decider = Decider(
            model, job.review_confidence, whole, forms, job.cache_place, job.keep_decisions, job.run_id, store
        )

    def complete(self, chunk: pa.Table, write: Callable[[str, pa.Table], None]) -> Counts:
        """Hands what becomes of a chunk to `write`, name of the file and rows; returns the counts."""
        job, schema = self.job, self.model.schema
        stamps = {"model_version": self.model.version, "run_id": job.run_id, "completed_at": job.completed_at}
        frame, leave = to_frame(chunk, schema), complete.left_alone(chunk, schema)
        decided, anew = self.decider.decide(frame, leave)
        decided, held = complete.suspend(decided, job.suspended, schema)
        decided = complete.hold_back(decided, chunk)
        write("completed", complete.fill(chunk, decided, schema))
        write("completions", complete.to_table(decided, schema, chunk[schema.id], stamps))
        if job.samples is not None:
            from attrgan.completion import sample
            from attrgan.features import cache

            run = {name: stamps[name] for name in ("model_version", "run_id")}
            features = cache.lookup(frame, schema, job.cache_place)
            for part in sample.tables(
                self.model, frame, features, complete.wanted_cells(frame, schema) & ~leave, chunk[schema.id],
                samples=job.samples, seed=job.seed, run=run, whole_numbers=self.decider.whole_numbers,
                forms=self.decider.forms,
            ):  # fmt: skip
                write("samples", part)
        return complete.counts(frame, decided, schema, held) | anew


def local(
    model: "CompletionModel", rows: Rows, first: int, last: int, job: Job, stage: Path, progress: Progress | None = None
) -> Counts:
    """Completes the rows first … last one chunk after the other in this process; returns the counts."""
    completer, done = Completer(model, job, rows.schema), 0
    total: Counts = {}
    with frozen(), Files(stage) as files:
        for chunk in rows.chunks(first, last, CHUNK_ROWS):
            total = complete.add(total, completer.complete(chunk, files.write))
            done += chunk.num_rows
            if progress:
                progress(done, last - first)
    return total


@contextmanager
def frozen() -> Iterator[None]:
    """Keeps the garbage collector from looking, again and again, through what is there before: a sixth of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
