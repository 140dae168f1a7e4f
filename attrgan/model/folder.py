"""The model folder: how a model is written, read, and refused.

It holds `model.safetensors` (weights and arrays), `vocabulary.json` (strings), `config.json`, `schema.yaml` and
`calibration.json`; nothing in it is ever unpickled.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from attrgan.errors import ModelError
from attrgan.evaluation.recalibration import Recalibration
from attrgan.model import applicability
from attrgan.model.generator import Generator, Size
from attrgan.model.neighbours import Index
from attrgan.model.regression import TextRegression
from attrgan.model.vocabulary import Vocabulary
from attrgan.schema import Schema

if TYPE_CHECKING:
    from attrgan.model.completion_model import CompletionModel

FORMAT = 3
"""Of the model folder; raised when one of an older version cannot be loaded any more."""
FILES = ("model.safetensors", "vocabulary.json", "config.json", "schema.yaml", "calibration.json")


def write(model: "CompletionModel", folder: Path) -> None:
    """Writes the model folder and sets the version."""
    arrays = {f"vocabulary.{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in _plain_arrays(model).items()}
    weights = {f"generator.{k}": v.cpu().contiguous() for k, v in model.generator.state_dict().items()}
    index = model.index or Index.empty(len(model.vocabulary.values))
    found = {"index.vectors": torch.from_numpy(index.vectors), "index.codes": torch.from_numpy(index.codes)}
    said = model.regression or TextRegression.empty(len(model.vocabulary.numbers))
    found |= {f"regression.{name}": torch.from_numpy(array) for name, array in said.arrays().items()}
    save_file(arrays | weights | found, folder / "model.safetensors")
    learned = {"index": index.ids, "applicability": applicability.to_json(model.applicability)}
    _write(folder / "vocabulary.json", model.vocabulary.strings() | learned)
    model.schema.save(folder / "schema.yaml")
    _write(folder / "calibration.json", model.calibration)
    digest = hashlib.sha256()
    for name in ("model.safetensors", "vocabulary.json", "schema.yaml", "calibration.json"):
        digest.update((folder / name).read_bytes())
    model.config |= {
        "format": FORMAT,
        "model_version": digest.hexdigest()[:12],
        "schema_hash": model.schema.hash,
        "size": asdict(model.generator.size),
    }
    _write(folder / "config.json", model.config)


def read(folder: Path, kind: type["CompletionModel"]) -> "CompletionModel":
    """Reads a model folder; raises ModelError when it is not one."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder} is not a model folder (it lacks {', '.join(missing)}): expected what `attrgan train` wrote, "
            "or an MLflow URI such as models:/attrgan-product@champion"
        )
    try:
        schema = Schema.load(folder / "schema.yaml")
        config = json.loads((folder / "config.json").read_text())
        if config.get("format", 1) != FORMAT:
            raise ModelError(
                f"{folder} was written by another version of attrgan (its folders have format "
                f"{config.get('format', 1)}, this one reads {FORMAT}): train anew, or use that version; "
                "a champion that can no longer be compared gives way by `attrgan promote --version N`"
            )
        tensors = load_file(folder / "model.safetensors")
        arrays = {k.removeprefix("vocabulary."): v.numpy() for k, v in tensors.items() if k.startswith("vocabulary.")}
        for name in arrays:
            if name in ("words", "grams", "wide") or name.endswith(".hashed"):
                arrays[name] = arrays[name].astype(np.uint32)
        strings = json.loads((folder / "vocabulary.json").read_text())
        vocabulary = Vocabulary.restore(strings, arrays)
        index = Index(tensors["index.vectors"].numpy(), tensors["index.codes"].numpy(), strings["index"])
        said = {k.removeprefix("regression."): v.numpy() for k, v in tensors.items() if k.startswith("regression.")}
        generator = Generator(schema, vocabulary, Size(**config["size"]))
        weights = {k.removeprefix("generator."): v for k, v in tensors.items() if k.startswith("generator.")}
        generator.load_state_dict(weights)
        model = kind(schema, vocabulary, generator, index, config, TextRegression(**said))
        model.calibration = json.loads((folder / "calibration.json").read_text())
        model.temperature = {name: model.calibration[name]["temperature"] for name in schema.attributes}
        model.recalibration = {
            name: Recalibration(*model.calibration[name].get("recalibration", ())) for name in schema.attributes
        }
        model.estimate = {name: model.calibration[name]["estimate"] for name in vocabulary.numbers}
        model.applicability = applicability.from_json(strings.get("applicability", {}))
        if (folder / "metrics.json").is_file():
            model.metrics = dict(json.loads((folder / "metrics.json").read_text()))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder} is a damaged model folder ({reason}): train or fetch it again") from error
    return model


def _plain_arrays(model: "CompletionModel") -> dict[str, np.ndarray]:
    # safetensors has no uint32 in torch < 2.3 readers: hashes travel as int64
    return {k: v.astype(np.int64) if v.dtype == np.uint32 else v for k, v in model.vocabulary.arrays().items()}


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")
