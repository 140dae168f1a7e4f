"""The image level: what a pretrained vision model sees in an item's picture, and its colours.

Choices, measured by `benchmarks/encoders.py`:
- The whole picture, squeezed into a square: a crop would lose hems and necklines.
- A JPEG is decoded at a fraction of its size; pictures are read by a few threads, and run in small batches that fit the
  processor's cache, channels last, in bfloat16 where the CPU has it (three times as fast; the cosine to float32 is
  .999 on average and the nearest neighbour is of the same colour and category as often).
- Pictures come from strangers: only JPEG, PNG, WebP, GIF and BMP, refused before decoding above MAX_PIXELS (see
  `media.py` for where they may come from). One that cannot be read leaves the item without the level; why is counted
  and logged, once per reason as a warning.

The same picture gives the same vector up to the rounding of bfloat16: cosine at least .99 in any batch, on any machine.
"""

import hashlib
import io
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image, ImageOps

from attrgan.config import settings
from attrgan.errors import MediaError
from attrgan.features import media, pretrained, text
from attrgan.schema import Encoders, Schema

VERSION = 2
"""Raised whenever `encode` changes what it returns."""
PARTS = {"global": 1280, "centre": 1280, "colour": 112}
"""Parts of the default encoder's vector and their lengths: the last feature map's mean; the mean of its middle 3 × 3 of
7 × 7 places; the square root of the colour histogram of the middle half (4 greys, then 12 hues × 3 saturations × 3
values). Each has length 1, or colours would drown. Other encoders give their pooled output alone."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 50_000_000
THREADS = 8
GROUP = 64
"""Pictures held in memory at once."""
BATCH = 8

_LARGEST = 512
_log = logging.getLogger(__name__)
_said: set[str] = set()
Encoder = Callable[[list[Image.Image]], np.ndarray]
"""RGB pictures to float16 (B, w)."""


def columns(schema: Schema) -> list[str]:
    """The image columns, unless the schema switches the level off."""
    return schema.images if schema.encoders.image else []


def version(schema: Schema) -> str:
    """The version of `encode`, of the model and of the columns read."""
    if not columns(schema):
        return str(VERSION)
    read = (pretrained.source(str(schema.encoders.image)).identity, schema.images)
    return f"{VERSION}-{hashlib.sha256(repr(read).encode()).hexdigest()[:10]}"


def encode(frame: pd.DataFrame, schema: Schema) -> dict[str, pa.Array]:
    """Encodes the first picture of every item that can be read, in the order of the image columns.

    Returns:
        `image.vector` large_list<float16> of sum(PARTS.values()) values for the default encoder (another one: its
        pooled output); empty where there is no picture or it is not one; null where a path or URL gave nothing now.
    """
    seen: list[_Seen] = [_Seen()] * len(frame)
    if columns(schema) and len(frame):
        cells = list(zip(*(frame[c] for c in schema.images), strict=True))
        reader = media.Reader(settings().media_root, settings().media_hosts, THREADS)
        seen = _see(cells, reader, load(str(schema.encoders.image)))
        _report(Counter(reason for item in seen for reason in item.reasons), len(cells))
    lists = text.ragged([item.vector for item in seen], pa.float16())
    again = pa.array([item.again for item in seen], pa.bool_())
    return {"image.vector": pa.LargeListArray.from_arrays(lists.offsets, lists.values, mask=again)}


@dataclass
class _Seen:
    """What became of one item.

    Attributes:
        picture: the first that can be read, until it is encoded.
        vector: float16 (w,), or empty.
        reasons: why those before it cannot be read.
        again: whether one that is not there now may be there another time.
    """

    picture: Image.Image | None = None
    vector: np.ndarray = field(default_factory=lambda: np.empty(0, np.float16))
    reasons: list[str] = field(default_factory=list)
    again: bool = False


def _see(cells: list[tuple[Any, ...]], reader: media.Reader, encoder: Encoder) -> list[_Seen]:
    seen: list[_Seen] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(cells), GROUP):
            group = list(pool.map(lambda item: _picture(item, reader), cells[start : start + GROUP]))
            there = [item for item in group if item.picture]
            for i in range(0, len(there), BATCH):
                batch = there[i : i + BATCH]
                for item, vector in zip(batch, encoder([b.picture for b in batch if b.picture]), strict=True):
                    item.vector, item.picture = vector, None
            seen += group
    return seen


def _picture(cells: tuple[Any, ...], reader: media.Reader) -> _Seen:
    seen = _Seen()
    for cell in (cell for cell in cells if not _is_empty(cell)):
        try:
            content = reader.read(cell)
        except MediaError as error:
            seen.reasons.append(str(error))
            seen.again = True
            continue
        try:
            seen.picture, seen.again = decode(content), False
            break
        except MediaError as error:
            seen.reasons.append(str(error))
    return seen


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and np.isnan(cell)) or (hasattr(cell, "__len__") and not len(cell))


def decode(content: bytes) -> Image.Image:
    """A picture's first frame as RGB on white, upright, with sides of at most about 512 pixels.

    Raises:
        MediaError: it is no picture of FORMATS, is damaged, or has more than MAX_PIXELS pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise MediaError(f"more than {MAX_PIXELS // 10**6} million pixels")
            picture.draft("RGB", (_LARGEST // 2, _LARGEST // 2))
            picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BICUBIC, reducing_gap=2.0)
            return _on_white(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        raise MediaError(f"more than {MAX_PIXELS // 10**6} million pixels") from None
    except MediaError:
        raise
    except Exception as error:  # decoders of damaged files fail in every way
        raise MediaError(f"not a picture of {', '.join(FORMATS)}, or damaged ({type(error).__name__})") from None


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture.copy()
    if picture.mode.startswith("I"):  # 16 bits per pixel
        picture = picture.point(lambda value: value / 256).convert("L")
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _report(reasons: Counter[str], items: int) -> None:
    for reason, count in reasons.items():
        level = logging.INFO if reason in _said else logging.WARNING
        _said.add(reason)
        _log.log(level, "%d of the pictures of %d items cannot be read: %s", count, items, reason)


@lru_cache(maxsize=2)
def load(name: str) -> Encoder:
    """The vision model, by package, folder or Hugging Face name; raises SettingsError where it cannot be loaded."""
    if name == Encoders().image:
        return _load_package(name)
    return _load_by_name(name)


def _load_package(name: str) -> Encoder:
    import torch

    from attrgan.features.efficientnet import SIZE, EfficientNetLite0

    dtype = pretrained.precision()
    with pretrained.loading(name):
        network = EfficientNetLite0.load(pretrained.folder(name), dtype)  # type: ignore[arg-type]

    def encoder(pictures: list[Image.Image]) -> np.ndarray:
        squares = [picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC) for picture in pictures]
        pixels = torch.from_numpy(np.stack([np.asarray(square) for square in squares])).permute(0, 3, 1, 2)
        with torch.inference_mode():  # the permutation leaves the channels last
            maps = network(((pixels.float() - 127) / 128).to(dtype)).float()
        parts = [torch.nn.functional.normalize(part.mean((2, 3)), dim=1) for part in (maps, maps[:, :, 2:5, 2:5])]
        pooled = torch.cat(parts, 1).numpy()
        return np.concatenate([pooled, np.stack([colours(s) for s in squares])], 1).astype(np.float16)

    return encoder


def _load_by_name(name: str) -> Encoder:
    import torch
    from transformers import AutoImageProcessor, AutoModel

    prepare: Any = pretrained.load(name, AutoImageProcessor.from_pretrained)
    model: Any = pretrained.load(name, AutoModel.from_pretrained, use_safetensors=True).eval()

    def encoder(pictures: list[Image.Image]) -> np.ndarray:
        with torch.inference_mode():
            found = model(**prepare(images=pictures, return_tensors="pt"))
        pooled = found.pooler_output if found.get("pooler_output") is not None else found.last_hidden_state.mean(1)
        return pooled.flatten(1).numpy().astype(np.float16)

    return encoder


def colours(picture: Image.Image) -> np.ndarray:
    """float64 (112,), of length 1: the square roots of the shares of colours in the middle half of an RGB picture."""
    width, height = picture.size
    middle = picture.crop((width // 4, height // 4, width - width // 4, height - height // 4)).convert("HSV")
    hue, saturation, value = (np.asarray(band, np.int64).ravel() for band in middle.split())
    weak = (saturation < 32) | (value < 32)
    strength, light = (saturation - 32) * 3 // 224, (value - 32) * 3 // 224
    code = np.where(weak, value // 64, 4 + (hue * 12 // 256 * 3 + strength) * 3 + light)
    return np.sqrt(np.bincount(code, minlength=PARTS["colour"]) / len(code))
