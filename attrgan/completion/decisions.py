"""Keeps decisions: an item that has not changed is not asked about again while the model and its promises are the same.

Decisions lie beside the features, in a folder `decisions-<model version>-<deciders>` of Parquet parts, one line per
item, under a hash of all that the model sees of it and of the cells that are asked. The name covers what else decides:
thresholds, temperatures, encoders, the setting `review_confidence`, the program. So any shard, date or run finds them,
whatever the order of the rows, and a model that decides otherwise never does.

A run never finds what it decided itself: what its shards find must not depend on which of them was first, nor on where
a killed one had come to (an item decided beside others may differ in the last digits of a confidence).

Not kept: how a number is written (`1.299,00 €`), which is the form of tonight's column and done again; answers for an
item of which something, a picture say, could not be read this time. As with features, parts are only ever added, so
runs side by side do no harm; what is not there, or not whole, is decided again. When the first part of a model's folder
is written, all but the newest `keep` folders go: models that nobody completes with any more.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attrgan import __version__
from attrgan.completion import complete
from attrgan.features import cache
from attrgan.lake import storage
from attrgan.lake.numbers import Form

if TYPE_CHECKING:
    from attrgan.model import CompletionModel

FORMAT = 1
"""Raised when the same model comes to decide otherwise, or what is kept of a decision changes."""
CELLS = pa.list_(pa.struct(complete.ANSWER))
Counts = dict[str, int]


@dataclass(frozen=True)
class Decider:
    """What decides the cells of a catalog.

    Attributes:
        model: whose answers they are.
        review_confidence, whole_numbers, forms: as in `completions`.
        cache_place: the feature cache, with the decisions in it; None: nothing is looked up and nothing kept.
        keep: how many folders of decisions stay in it: the champion's, and those of backfills.
        run_id: the run, whose own decisions are not looked up; None: of no run.
        store: takes the decisions that are to be kept; None: they are added to the cache.
    """

    model: "CompletionModel"
    review_confidence: float = complete.REVIEW_CONFIDENCE
    whole_numbers: set[str] = field(default_factory=set)
    forms: dict[str, Form] = field(default_factory=dict)
    cache_place: str | None = None
    keep: int = 3
    run_id: str | None = None
    store: Callable[[pa.Table], None] | None = None

    @property
    def place(self) -> str:
        """The folder of the decisions."""
        model = self.model
        deciders = [FORMAT, str(CELLS), __version__, cache.encoder_version(model.schema), self.review_confidence]
        deciders += [model.calibration, model.temperature, model.estimate]
        digest = hashlib.sha256(json.dumps(deciders, sort_keys=True).encode()).hexdigest()[:10]
        return storage.join(self.cache_place or "", f"decisions-{model.version}-{digest}")

    @property
    def _writer(self) -> str:
        return "" if self.run_id is None else hashlib.sha256(self.run_id.encode()).hexdigest()[:16] + "-"

    def decide(self, frame: pd.DataFrame, leave: np.ndarray) -> tuple[pd.DataFrame, Counts]:
        """The decisions on the empty cells of a frame, as `completions` returns them.

        Args:
            frame: items, from `to_frame`.
            leave: bool (rows, A), cells that are not completed whatever they hold.

        Returns:
            The decisions, and the counts `decided` and `decisions_reused` (items, those of one content decided once)
            with their `decided_cells` and `decisions_reused_cells`.
        """
        wanted = complete.wanted_cells(frame, self.model.schema) & ~leave
        asked = np.flatnonzero(wanted.any(1))
        if self.cache_place is None:
            found, _ = self._ask(frame, leave, asked)
            return found, _counts(len(asked), len(found), 0, 0)
        hashes, cells = self._hashes(frame, wanted, asked), wanted[asked].sum(1)
        kept = _kept(self.place, hashes, cells, self._writer)
        seen = pd.Series(hashes)
        new = np.flatnonzero(~seen.isin(kept["content_hash"].to_pylist()) & ~seen.duplicated())
        if len(new):
            kept = pa.concat_tables([kept, self._decide_anew(frame, leave, asked[new], hashes[new])])
        at = pd.Index(kept["content_hash"].to_pylist(), dtype=object).get_indexer(hashes)
        found, anew = self._written(kept["cells"].take(pa.array(at)), frame, asked), int(cells[new].sum())
        return found, _counts(len(new), anew, len(asked) - len(new), len(found) - anew)

    def _hashes(self, frame: pd.DataFrame, wanted: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Of each of the rows, what the model sees and is asked: 32 hex digits, object (rows,)."""
        columns = [name for name, role in self.model.schema.columns.items() if role != "id"]
        return cache.content_hashes(frame.iloc[rows], columns, np.packbits(wanted[rows], axis=1))

    def _decide_anew(self, frame: pd.DataFrame, leave: np.ndarray, rows: np.ndarray, hashes: np.ndarray) -> pa.Table:
        """One line per row, content_hash and cells; keeps those of which everything could be read."""
        found, readable = self._ask(frame, leave, rows)
        lengths = found.groupby(self.model.schema.id, sort=False).size().to_numpy()
        columns = [pa.array(found[name].tolist(), kind, from_pandas=True) for name, kind in complete.ANSWER.items()]
        cells = pa.StructArray.from_arrays(columns, fields=list(CELLS.value_type))
        offsets = pa.array(np.concatenate([[0], lengths.cumsum()]), pa.int32())
        table = pa.table({
            "content_hash": pa.array(hashes.tolist(), pa.string()),
            "cells": pa.ListArray.from_arrays(offsets, cells, CELLS),
        })  # fmt: skip
        if readable.any():
            (self.store or self.add)(table.filter(pa.array(readable)))
        return table

    def add(self, decisions: pa.Table) -> None:
        """Adds decisions to the cache."""
        cache.add(decisions, self.place, self._writer)
        _forget(self.cache_place or "", self.place, self.keep)

    def _ask(self, frame: pd.DataFrame, leave: np.ndarray, rows: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        """The model's decisions on some of the rows, and bool (rows,): nothing of the item could not be read."""
        part = frame.iloc[rows].reset_index(drop=True)
        features = cache.find(part, self.model.schema, self.cache_place)
        found = complete.completions(
            self.model, part, cache.settled(features), whole_numbers=self.whole_numbers, forms=self.forms,
            review_confidence=self.review_confidence, leave=leave[rows],
        )  # fmt: skip
        return found, cache.readable(features)

    def _written(self, kept: pa.ChunkedArray, frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
        """Kept decisions on the rows as `completions` returns them, numbers in the form of tonight's column."""
        schema = self.model.schema
        cells = pa.Table.from_struct_array(pc.list_flatten(kept.combine_chunks())).to_pandas()
        for name, attribute in schema.attributes.items():
            if attribute.kind == "numeric":
                at = np.flatnonzero((cells["attribute"] == name) & cells["number"].notna())
                whole, form = name in self.whole_numbers, self.forms.get(name)
                texts = [complete.number_text(n, whole, form) for n in cells["number"].to_numpy()[at]]
                cells.loc[at, "value"] = texts
        items = np.repeat(frame[schema.id].to_numpy()[rows], pc.list_value_length(kept).to_numpy())
        cells.insert(0, schema.id, items)
        return cells


def _kept(place: str, hashes: np.ndarray, cells: np.ndarray, writer: str) -> pa.Table:
    """What others kept of these contents, each once and with as many cells as are asked, int (rows,)."""
    asked = dict(zip(hashes, cells, strict=True))
    tables = cache.parts(place, pa.array(list(asked), pa.string()), but=writer)
    if not tables:
        return pa.table({"content_hash": pa.array([], pa.string()), "cells": pa.array([], CELLS)})
    found = pa.concat_tables(tables)
    there = pd.Series(found["content_hash"].to_pylist(), dtype=object)
    whole = pc.list_value_length(found["cells"]).to_numpy() == there.map(asked).to_numpy()
    return found.filter(pa.array(whole & ~there.duplicated().to_numpy()))


def _forget(cache_place: str, place: str, keep: int) -> None:
    """Removes the folders of decisions that were written to least recently, once a folder has its first part."""
    if len(storage.files(place)) > 1:
        return
    fs, root = storage.filesystem(cache_place)
    names = [f.rstrip("/").rsplit("/", 1)[-1] for f in fs.ls(root, detail=False)]
    folders = [storage.join(cache_place, name) for name in names if name.startswith("decisions-")]
    for folder in sorted(folders, key=storage.written_at, reverse=True)[keep:]:
        fs.rm(storage.filesystem(folder)[1], recursive=True)


def _counts(decided: int, decided_cells: int, reused: int, reused_cells: int) -> Counts:
    return {
        "decided": decided, "decisions_reused": reused, "decided_cells": decided_cells,
        "decisions_reused_cells": reused_cells,
    }  # fmt: skip
