"""What a column looks like: the facts that `attrgan.quality.inference` guesses its role from.

Choices: counts of distinct values are exact; everything that looks at single cells does so on at most `SAMPLE` rows,
evenly spaced, so that a large catalog takes no longer than a small one; a column of numbers written as text, by a
program (`1299.0`) or for people (`1.299,00 €`), is a column of numbers, unless leading zeros show that it holds codes.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attrgan.evaluation.splits import evenly_spread
from attrgan.lake.numbers import Form, learn, parse, parse_numbers

SAMPLE = 20_000
READABLE = 0.99
"""Share of the cells from which on a column of text is one of numbers; the rows of the others are quarantined."""
Shape = Literal["empty", "number", "boolean", "time", "text", "list", "bytes", "other"]

EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
PHONE = re.compile(r"(?=.*[+\-() .])\+?[\d\-(). /]{9,20}|1[3-9]\d{9}")
ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?|\d{4}/\d{1,2}/\d{1,2}.*")
URL = re.compile(r"(https?|s3|gs)://\S+", re.IGNORECASE)
IMAGE_FILE = re.compile(r"\S.*\.(jpe?g|png|gif|webp|bmp|tiff?)(\?\S*)?", re.IGNORECASE)
AUDIO_FILE = re.compile(r"\S.*\.(wav|flac|mp3|ogg)(\?\S*)?", re.IGNORECASE)
CODE = re.compile(r"0\d+")
_WIDE = re.compile(r"[぀-ヿ㐀-鿿가-힣]")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Profile:
    """Facts about one column.

    Attributes:
        name: its name.
        shape: what its cells are.
        rows, known: rows, and those with a value.
        distinct: distinct values (of lists: 0).
        cells: sampled cells, None where unknown, as Python values; text that is a JSON list (CSV) as a list.
        numbers: float64 of the sampled cells, for numbers; NaN where there is none.
        form: how they are written, for numbers that are text which no program would read.
    """

    name: str
    shape: Shape
    rows: int
    known: int
    distinct: int
    cells: list[Any]
    numbers: np.ndarray
    form: Form | None = None

    @property
    def values(self) -> list[Any]:
        """The sampled cells that are known."""
        return [cell for cell in self.cells if cell is not None]

    @property
    def nulls(self) -> np.ndarray:
        """bool: which sampled cells are unknown."""
        return np.array([cell is None for cell in self.cells], dtype=bool)

    @property
    def distinctness(self) -> float:
        """Share of distinct values among the known ones."""
        return self.distinct / self.known if self.known else 0.0

    def matching(self, pattern: re.Pattern[str]) -> float:
        """Share of the known cells that match as a whole."""
        values = self.values
        return sum(bool(pattern.fullmatch(str(v).strip())) for v in values) / len(values) if values else 0.0

    def words(self) -> float:
        """Mean number of words; two characters of Chinese, Japanese or Korean count as one."""
        values = [str(v) for v in self.values]
        return sum(word_count(v) for v in values) / len(values) if values else 0.0


def word_count(text: str) -> float:
    """Number of words of a text in any language."""
    wide = len(_WIDE.findall(text))
    return wide / 2 + len(_WORD.findall(_WIDE.sub(" ", text)))


def profiles(table: pa.Table) -> dict[str, Profile]:
    """The profile of every column."""
    rows = pa.array(evenly_spread(table.num_rows, SAMPLE))
    return {name: _profile(name, table[name], rows) for name in table.column_names}


def _profile(name: str, whole: pa.ChunkedArray, rows: pa.Array) -> Profile:
    known = len(whole) - whole.null_count
    if pa.types.is_binary(whole.type) or pa.types.is_large_binary(whole.type):  # pictures: a few heads are enough
        heads = [cell[:16] for cell in whole.drop_null().slice(0, 100).to_pylist()]
        return Profile(name, "bytes" if heads else "empty", len(whole), known, 0, heads, np.array([]))
    sample = whole.take(rows).combine_chunks()
    shape, cells, numbers, form = _cells(sample)
    if known and shape == "empty":  # the few values of a nearly empty column may all lie outside the sample
        sample = whole.drop_null().slice(0, SAMPLE).combine_chunks()
        shape, cells, numbers, form = _cells(sample)
    nested = pa.types.is_nested(whole.type) or pa.types.is_null(whole.type)
    distinct = 0 if nested or shape == "list" else int(pc.count_distinct(whole, mode="only_valid").as_py())
    return Profile(name, shape, len(whole), known, distinct, cells, numbers, form)


_Cells = tuple[Shape, list[Any], np.ndarray, Form | None]


def _cells(column: pa.Array) -> _Cells:
    kind, none = column.type, np.array([], dtype=float)
    if column.null_count == len(column):
        return "empty", [None] * len(column), none, None
    if pa.types.is_boolean(kind):
        return "boolean", column.to_pylist(), none, None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = parse_numbers(column)
        cells = [None if np.isnan(n) else c for n, c in zip(numbers, column.to_pylist(), strict=True)]
        return "number", cells, numbers, None
    if pa.types.is_temporal(kind):
        return "time", column.to_pylist(), none, None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "list", column.to_pylist(), none, None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text_cells(column.to_pylist(), parse_numbers(column))
    return "other", column.to_pylist(), none, None


def _text_cells(cells: list[str | None], numbers: np.ndarray) -> _Cells:
    known = [cell.strip() for cell in cells if cell is not None]
    none = np.array([], dtype=float)
    if np.isfinite(numbers).sum() == len(known) and not any(CODE.fullmatch(cell) for cell in known):
        return "number", list(cells), numbers, None
    if all(cell.startswith("[") for cell in known) and (lists := _lists(cells)):
        return "list", lists, none, None
    if {cell.lower() for cell in known} <= {"true", "false"}:
        return "boolean", list(cells), none, None
    if all(ISO_TIME.fullmatch(cell) for cell in known):
        return "time", list(cells), none, None
    if all(cell.startswith("{") for cell in known):
        return "other", list(cells), none, None
    if form := _written_form(known):
        numbers = np.array([form.read(cell) for cell in cells])
        return "number", list(cells), numbers, form
    return "text", list(cells), none, None


def _written_form(known: list[str]) -> Form | None:
    """The form of cells that are numbers as people write them; None where they are something else."""
    some = known[:: max(len(known) // 200, 1)]
    if sum(parse(cell) is not None for cell in some) < 0.9 * len(some):
        return None
    if any(CODE.match(cell) for cell in known) or sum(bool(PHONE.fullmatch(c)) for c in known) >= 0.5 * len(known):
        return None
    form = learn(known)
    return form if np.isfinite([form.read(c) for c in known]).mean() >= READABLE else None


def _lists(cells: list[str | None]) -> list[Any] | None:
    try:
        lists = [None if cell is None else json.loads(cell) for cell in cells]
    except ValueError:
        return None
    return lists if all(v is None or isinstance(v, list) for v in lists) else None
