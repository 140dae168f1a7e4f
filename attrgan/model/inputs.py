"""From cells and features to arrays, and from arrays to batches of tensors.

`Inputs` holds every row of a frame as indices into a vocabulary; `Batch` is a slice of it, padded. What is hidden is
decided per batch, not here: hiding a cell never changes an `Inputs`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from attrgan.features import sequence, text
from attrgan.lake.cells import members_of
from attrgan.model import matches
from attrgan.model.matches import Matches
from attrgan.model.neighbours import retrieval_vectors, values_of
from attrgan.model.spelling import Spelling
from attrgan.model.vocabulary import (
    FARTHEST,
    MAX_PHRASE,
    MOST_FLOAT,
    Values,
    Vocabulary,
    fitted_vectors,
    flat,
    item_vectors,
    offsets,
)


def tensor(array: np.ndarray) -> torch.Tensor:
    """An array on the device in force (`torch.set_default_device`)."""
    return torch.from_numpy(array).to(torch.get_default_device())


@dataclass
class Inputs:
    """N items as indices into a vocabulary.

    Attributes:
        codes: int64 (N, C): index of the value of each categorical or open attribute, then of each condition; −1
            unknown; from the vocabulary's size on: a value not in the vocabulary, an index into `strangers`. Of a
            `multi` attribute only whether it is known, 0.
        sets: `multi` attribute → (codes of the members of all items one after the other, member offsets (N + 1,)).
        numbers: float32 (N, M): numeric attributes, NaN unknown.
        bins: int64 (N, M): their atom or bin, −1 unknown.
        tokens: `word`, `column`, `start`, `end` (t,), `gram` (t, GRAMS), `look` (t, LOOKS) of all items one after the
            other.
        token_offsets: int64 (N + 1,).
        wide, wide_offsets: indices of the linear part's text features, int64.
        sequences: group → (numbers (s, n), hashes (s, h), step offsets (N + 1,), statistics (N, w) with NaN).
        vectors: pretrained level → (float32 (N, K), bool (N,) of the items that have one).
        word_vectors: float16 (t, P): a pretrained vector per token, or None.
        matches: known values in the text, each where it first stands.
        strangers: known cells' values that the vocabulary does not have.
        copies: of `spelled` attributes the cells whose own value is not in the vocabulary but stands in the text;
            `value` is its code.
        repeats: int64 (3, r), sorted by row: row, a span that spells what an earlier one of the row does, and the first
            that does; a span is its first token · MAX_PHRASE + its length − 1.
        retrieval: float32 (N, R), from `retrieval_vectors`.
        neighbours: positions in the index (N, K), −1 for none, their cosines (N, K), and its values (n, C); None
            before there is an index.
        said: float32 (N, M): what the text says of each number (`regression.py`), NaN without text or regression.
    """

    codes: np.ndarray
    sets: dict[str, tuple[np.ndarray, np.ndarray]]
    numbers: np.ndarray
    bins: np.ndarray
    tokens: dict[str, np.ndarray]
    token_offsets: np.ndarray
    wide: np.ndarray
    wide_offsets: np.ndarray
    sequences: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
    vectors: dict[str, tuple[np.ndarray, np.ndarray]]
    word_vectors: np.ndarray | None
    matches: Matches
    strangers: list[str]
    copies: Matches
    repeats: np.ndarray
    retrieval: np.ndarray
    said: np.ndarray
    neighbours: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.codes)


def build(
    frame: pd.DataFrame, features: pa.Table, vocabulary: Vocabulary, spelled: tuple[str, ...] = (),
    texts: tuple[str, ...] = (), hashed: dict[str, int] | None = None,
) -> Inputs:  # fmt: skip
    """Looks up every row of a frame and its features in the vocabulary.

    Args:
        spelled: the open attributes, whose values may be spans of the text.
        texts: the text columns; without them values are found where they stand word for word only.
        hashed: sequence group → how many of its columns are hashed, where it is not one.
    """
    strangers: dict[str, int] = {}
    codes, sets = [], {}
    for name, known in (vocabulary.values | vocabulary.conditions).items():
        if name in vocabulary.sets:
            members = [members_of(cell) if isinstance(cell, str) else [] for cell in frame[name]]
            flat_members = pd.Series([m for cell in members for m in cell], dtype=object)
            sets[name] = (_codes(flat_members, known, strangers), np.cumsum([0, *map(len, members)]))
            codes.append(np.where(frame[name].notna(), 0, -1))
        else:
            codes.append(_codes(frame[name], known, strangers))
    numbers = [frame[name].to_numpy(np.float64) for name in vocabulary.numbers]
    bins = [v.codes(n) for v, n in zip(vocabulary.numbers.values(), numbers, strict=True)]
    tokens = {
        "hash": flat(features["text.word"]),
        "word": vocabulary.words.index(flat(features["text.word"])),
        "gram": vocabulary.grams.index(flat(features["text.gram"])).reshape(-1, text.GRAMS),
        "column": flat(features["text.column"]).astype(np.int64),
        "start": flat(features["text.start"]),
        "end": flat(features["text.end"]),
        "look": flat(features["text.look"]).reshape(-1, text.LOOKS),
    }
    if not len(tokens["word"]):  # no item has text: one padding token, so that an index into the tokens exists
        tokens = {name: np.zeros((1, *t.shape[1:]), t.dtype) for name, t in tokens.items()}
    token_offsets = offsets(features["text.word"])
    wide = vocabulary.wide.index(flat(features["text.wide"]))
    rows = len(frame)
    phrases = matches.phrases(tokens, token_offsets)
    read = [frame[column].to_numpy(object) for column in texts]
    return Inputs(
        codes=np.stack(codes, 1) if codes else np.empty((rows, 0), np.int64),
        sets=sets,
        numbers=np.stack(numbers, 1).clip(-MOST_FLOAT, MOST_FLOAT) if numbers else np.empty((rows, 0)),
        bins=np.stack(bins, 1) if bins else np.empty((rows, 0), np.int64),
        tokens=tokens,
        token_offsets=token_offsets,
        wide=wide,
        wide_offsets=offsets(features["text.wide"]),
        sequences={
            name: _sequence(features, name, fitted, (hashed or {}).get(name, 1))
            for name, fitted in vocabulary.sequences.items()
        },
        vectors={name: fitted_vectors(features, name, fitted) for name, fitted in vocabulary.vectors.items()},
        word_vectors=_word_vectors(features, vocabulary.word_vector, token_offsets),
        matches=matches.find_values(phrases, tokens, token_offsets, vocabulary, read),
        strangers=list(strangers),
        copies=matches.copies(codes, list(strangers), phrases, token_offsets, vocabulary, spelled),
        repeats=matches.repeats(phrases if spelled else [], token_offsets),
        retrieval=retrieval_vectors(
            wide, offsets(features["text.wide"]), vocabulary.idf, *item_vectors(features, "language")
        ),
        said=np.full((rows, len(numbers)), np.nan, np.float32),
    )


def _codes(cells: pd.Series, known: Values, strangers: dict[str, int]) -> np.ndarray:
    """int64 (rows,): the code of each value, −1 where it is null; `strangers` grows by those that are not known."""
    codes = known.codes(cells)
    for row in np.flatnonzero((codes < 0) & cells.notna().to_numpy()):
        codes[row] = len(known.values) + strangers.setdefault(cells.iloc[row], len(strangers))
    return codes


def _word_vectors(features: pa.Table, size: int, token_offsets: np.ndarray) -> np.ndarray | None:
    """float16 (t, P): every token's pretrained vector, zeros where its item has none; None where P is 0."""
    if not size:
        return None
    counts = np.diff(token_offsets)
    has = np.diff(offsets(features["language.token"])) == counts * size
    found = np.zeros((max(int(token_offsets[-1]), 1), size), np.float16)
    found[: int(token_offsets[-1])][np.repeat(has, counts)] = flat(features["language.token"]).reshape(-1, size)
    return found


def _sequence(
    features: pa.Table, name: str, fitted: dict[str, np.ndarray], hashed_columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    width = fitted["edges"].shape[0]
    numeric = width // len(sequence.STATISTICS)
    steps = flat(features[f"sequence.{name}.number"]).reshape(-1, max(numeric, 1))
    steps = np.clip((np.arcsinh(steps) - fitted["centre"]) / fitted["scale"], -FARTHEST, FARTHEST)
    hashed = flat(features[f"sequence.{name}.hash"])
    known = fitted["hashed"]
    position = np.minimum(np.searchsorted(known, hashed), max(len(known) - 1, 0))
    codes = np.where(known[position] == hashed, position + 1, 0) if len(known) else np.zeros(len(hashed), np.int64)
    step_offsets = offsets(features[f"sequence.{name}.number"]) // max(numeric, 1)
    if not numeric:
        step_offsets = offsets(features[f"sequence.{name}.hash"]) // max(hashed_columns, 1)
    statistics = np.full((features.num_rows, width), np.nan, np.float32)
    present = np.diff(offsets(features[f"sequence.{name}.statistic"])) > 0
    statistics[present] = flat(features[f"sequence.{name}.statistic"]).reshape(-1, width) if width else 0
    columns = len(hashed) // max(int(step_offsets[-1]), 1)
    return steps.astype(np.float32), codes.reshape(-1, columns) if columns else codes, step_offsets, statistics


def place(
    texts: list[np.ndarray], inputs: Inputs, row: int, token: int, length: int, spelling: Spelling | None
) -> tuple[int, int, int]:
    """Text column number, start and end of a span, with the marks that belong to it; (0, 0, 0) where there is none.

    Args:
        texts: the text columns, object (N,) each.
    """
    first = int(inputs.token_offsets[row]) + int(token)
    last = first + int(length) - 1
    if last >= inputs.token_offsets[row + 1]:
        return 0, 0, 0
    tokens = inputs.tokens
    column, start, end = int(tokens["column"][first]), int(tokens["start"][first]), int(tokens["end"][last])
    return column, *(spelling or Spelling()).extend(str(texts[column][row]), start, end)


@dataclass
class Batch:
    """B items as tensors; T tokens, S steps, C categorical columns (conditions last), M numeric ones.

    Attributes:
        codes (B, C), numbers (B, M), bins (B, M), said (B, M): as in `Inputs`.
        sets: `multi` attribute → int64 (B, S): codes of the members, −1 where there are no more.
        word (B, T), gram (B, T, GRAMS), column (B, T), look (B, T, LOOKS): text tokens, `token_mask` (B, T) true where
            there is one.
        wide, wide_weight (w,), wide_offsets (B + 1,): text features of the linear part with their TF-IDF weights.
        vectors, vector_mask: pretrained level → float32 (B, K), bool (B,); word_vector: float32 (B, T, P) or None.
        neighbour_codes int64 (B, K, C), neighbour_cosines float32 (B, K): values of similar training items, −1 unknown.
        steps: group → (numbers (B, S, n), hashes (B, S, h), mask (B, S), statistics (B, w)).
        match_row, match_attribute, match_value, match_token, match_length, match_loose (m,): known values in the text.
        copy_row, copy_attribute, copy_span (c,): cells whose own value is not known but a span of their text.
        repeat_row, repeat_span, repeat_first (r,): as `repeats` in `Inputs`.
    """

    codes: torch.Tensor
    sets: dict[str, torch.Tensor]
    numbers: torch.Tensor
    bins: torch.Tensor
    said: torch.Tensor
    word: torch.Tensor
    gram: torch.Tensor
    column: torch.Tensor
    look: torch.Tensor
    hash: torch.Tensor
    token_mask: torch.Tensor
    wide: torch.Tensor
    wide_weight: torch.Tensor
    wide_offsets: torch.Tensor
    vectors: dict[str, torch.Tensor]
    vector_mask: dict[str, torch.Tensor]
    word_vector: torch.Tensor | None
    neighbour_codes: torch.Tensor
    neighbour_cosines: torch.Tensor
    steps: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]
    match_row: torch.Tensor
    match_attribute: torch.Tensor
    match_value: torch.Tensor
    match_token: torch.Tensor
    match_length: torch.Tensor
    match_loose: torch.Tensor
    copy_row: torch.Tensor
    copy_attribute: torch.Tensor
    copy_span: torch.Tensor
    repeat_row: torch.Tensor
    repeat_span: torch.Tensor
    repeat_first: torch.Tensor

    def __len__(self) -> int:
        return len(self.codes)


def batch(inputs: Inputs, rows: np.ndarray, vocabulary: Vocabulary) -> Batch:
    """The given rows, int64 (B,), as padded tensors."""
    at, mask = _padded(inputs.token_offsets, rows)
    wide_at, wide_counts = _ragged(inputs.wide_offsets, rows)
    wide = inputs.wide[wide_at]
    weight = np.where(wide > 0, vocabulary.idf[wide], 0)
    row_of = np.repeat(np.arange(len(rows)), wide_counts)
    norm = np.sqrt(np.bincount(row_of, weights=weight**2, minlength=len(rows)))[row_of]
    nothing = np.zeros((len(inputs), 0), np.int64)
    positions, cosines, values = inputs.neighbours or (nothing, nothing.astype(np.float32), inputs.codes[:0])
    places = inputs.matches
    match_row, match_at = matches.pairs(rows, places.row)
    copies = inputs.copies
    copy_row, copy_at = matches.pairs(rows, copies.row)
    repeat_row, repeat_at = matches.pairs(rows, inputs.repeats[0])
    return Batch(
        codes=tensor(inputs.codes[rows]),
        sets={name: tensor(_members(*members, rows)) for name, members in inputs.sets.items()},
        numbers=tensor(inputs.numbers[rows]).float(),
        bins=tensor(inputs.bins[rows]),
        said=tensor(inputs.said[rows]),
        word=tensor(inputs.tokens["word"][at] * mask),
        gram=tensor(inputs.tokens["gram"][at] * mask[..., None]),
        column=tensor(inputs.tokens["column"][at] * mask),
        look=tensor((inputs.tokens["look"][at] * mask[..., None]).astype(np.int64)),
        hash=tensor((inputs.tokens["hash"][at] * mask).astype(np.int64)),
        token_mask=tensor(mask),
        wide=tensor(wide),
        wide_weight=tensor((weight / np.maximum(norm, 1e-9)).astype(np.float32)),
        wide_offsets=tensor(np.concatenate([[0], np.cumsum(wide_counts)])),
        vectors={name: tensor(vectors[rows]) for name, (vectors, _) in inputs.vectors.items()},
        vector_mask={name: tensor(present[rows]) for name, (_, present) in inputs.vectors.items()},
        neighbour_codes=tensor(values_of(positions[rows], values)),
        neighbour_cosines=tensor(cosines[rows]),
        word_vector=None if inputs.word_vectors is None else tensor(inputs.word_vectors[at]).float(),
        steps={name: _steps(*group, rows) for name, group in inputs.sequences.items()},
        match_row=tensor(match_row),
        match_attribute=tensor(places.attribute[match_at]),
        match_value=tensor(places.value[match_at]),
        match_token=tensor(places.token[match_at]),
        match_length=tensor(places.length[match_at]),
        match_loose=tensor(places.loose[match_at] > 0),
        copy_row=tensor(copy_row),
        copy_attribute=tensor(copies.attribute[copy_at]),
        copy_span=tensor(copies.token[copy_at] * MAX_PHRASE + copies.length[copy_at] - 1),
        repeat_row=tensor(repeat_row),
        repeat_span=tensor(inputs.repeats[1][repeat_at]),
        repeat_first=tensor(inputs.repeats[2][repeat_at]),
    )


def _members(codes: np.ndarray, member_offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    at, mask = _padded(member_offsets, rows)
    return np.where(mask, codes[at], -1) if len(codes) else np.full(at.shape, -1)


def _steps(
    numbers: np.ndarray, hashes: np.ndarray, step_offsets: np.ndarray, statistics: np.ndarray, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    at, mask = _padded(step_offsets, rows)
    steps = numbers[at] if len(numbers) else np.zeros((*at.shape, numbers.shape[1]), np.float32)
    codes = hashes[at] if len(hashes) else np.zeros((*at.shape, 0), np.int64)
    return (
        tensor(steps), tensor(codes.reshape(*at.shape, -1).astype(np.int64)),
        tensor(mask), tensor(statistics[rows]),
    )  # fmt: skip


def _ragged(row_offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all elements of the rows, one row after the other, and how many each row has."""
    counts = (row_offsets[rows + 1] - row_offsets[rows]).astype(np.int64)
    starts = np.repeat(row_offsets[rows] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return starts + np.arange(counts.sum()), counts


def _padded(row_offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (B, L) of the rows' elements, L the longest row (at least 1), and the mask of real ones."""
    counts = row_offsets[rows + 1] - row_offsets[rows]
    steps = np.arange(max(int(counts.max(initial=0)), 1))
    mask = steps[None] < counts[:, None]
    return np.where(mask, row_offsets[rows][:, None] + steps, 0), mask
