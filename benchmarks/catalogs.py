"""attrgan and its peers on public catalogs: the same rows, the same hidden cells, one table.

    python -m benchmarks.catalogs --data DIR [--sets livostyle jd_laptops] [--models mode linear attrgan] [--seeds 0 1]

Every result is a file in `--out` and is used again, so the table costs only what is not there yet, and a run that was
killed goes on where it stopped. A model may carry a variant: `linear:rows-5%` learns from 5 % of the rows,
`attrgan:weight-0` switches the adversarial part off (see `benchmarks/ours.py`), `attrgan:weight-0:rows-5%` both. The
sets are described in `benchmarks/sets.py`, the splits in `benchmarks/tasks.py`, the figures in `benchmarks/scoring.py`.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from attrgan.errors import AttrGANError, InputError
from benchmarks import autogluon_peer, imputers, ours, peers, scoring, tables, tasks
from benchmarks.results import Key, Record, cached, file_hash
from benchmarks.sets import SETS, choose
from benchmarks.tasks import Task

DATA = "ATTRGAN_BENCHMARK_DATA"
CATALOGS = ("hidden", "published", "labels")


@dataclass(frozen=True)
class Peer:
    """A model to compare with: how it learns, the protocols it can be asked by, the version of its results."""

    learn: Callable[[Task], peers.Answer]
    protocols: tuple[str, ...]
    version: int = 1


PEERS = {
    "mode": Peer(peers.mode, CATALOGS),
    "linear": Peer(peers.linear, (*CATALOGS, "extraction")),
    "boosting": Peer(peers.boosting, CATALOGS),
    "autogluon": Peer(autogluon_peer.learn, CATALOGS),
    "mean": Peer(imputers.mean, ("mcar",)),
    "iterative-ridge": Peer(imputers.iterative_ridge, ("mcar",)),
    "iterative-extratrees": Peer(imputers.iterative_extratrees, ("mcar",)),
    "missforest": Peer(imputers.missforest, ("mcar",)),
    "gain": Peer(imputers.gain, ("mcar",)),
}
USUAL = [*(name for name in PEERS if name != "autogluon"), "attrgan"]
"""The models without `--models`: those that need nothing but this environment."""
ROWS = re.compile(r"rows-(\d+(?:\.\d+)?)%")


def parse_model(name: str) -> tuple[str, str | None, float | None]:
    """Model, variant of attrgan, per cent of the rows; raises InputError for a name that is none."""
    model, *parts = name.split(":")
    percents = [float(rows[1]) for part in parts if (rows := ROWS.fullmatch(part))]
    variants = [part for part in parts if not ROWS.fullmatch(part)]
    some_rows = len(percents) <= 1 and all(0 < percent <= 100 for percent in percents)
    ours_alone = model == "attrgan" and len(variants) == 1 and variants[0] in ours.variants()
    if some_rows and (ours_alone or (not variants and (model in PEERS or model == "attrgan"))):
        return model, next(iter(variants), None), next(iter(percents), None)
    raise InputError(
        f"--models {name} is not a model: expected one of attrgan, {', '.join(PEERS)}, "
        f"attrgan with :{', :'.join(ours.variants())}, and any of them with :rows-N%"
    )


def asks(model: str, set_name: str) -> bool:
    """Whether a model can be asked by the set's protocol."""
    return model == "attrgan" or SETS[set_name].protocol in PEERS[model].protocols


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes, and how attrgan and AutoGluon are run."""

    data: Path
    out: Path
    options: dict[str, Any]
    autogluon_python: str | None = None


def key_of(set_name: str, model: str, seed: int, places: Places) -> Key:
    """What decides the result of a model on a set."""
    files = [f for f in (SETS[set_name].file, SETS[set_name].asked) if f]
    decides: dict[str, Any] = {"version": tasks.VERSION, "set": {k: v for k, v in vars(SETS[set_name]).items() if v}}
    decides["data"] = [file_hash(tasks.path_of(places.data, file)) for file in files]
    if model.partition(":")[0] == "attrgan":
        decides |= {"options": places.options, "source": ours.source_hash()}
    else:
        decides["peer"] = PEERS[model.partition(":")[0]].version
    return Key(set_name, model, seed, decides)


def compute(set_name: str, model: str, seed: int, places: Places) -> Record:
    """Learns, answers and scores."""
    name, variant, percent = parse_model(model)
    task = tasks.load(set_name, places.data, seed)
    if percent is not None:
        task = tasks.subsample(task, percent)
    if name == "attrgan":
        answered = ours.run(task, variant, places.options, places.out / "features" / set_name)
    else:
        learn = PEERS[name].learn
        if name == "autogluon":
            learn = partial(learn, python=places.autogluon_python)
        answered = _timed(task, learn)
    rows = {"train": len(task.train), "test": len(task.test)}
    seconds = {part: round(s, 3) for part, s in answered.seconds.items()}
    return scoring.score(task, answered.answers) | {"rows": rows, "seconds": seconds, "details": answered.details}


def _timed(task: Task, learn: Callable[[Task], peers.Answer]) -> ours.Answered:
    started = time.perf_counter()
    answer = learn(task)
    learned = time.perf_counter()
    answers = answer()
    return ours.Answered(answers, {"train": learned - started, "complete": time.perf_counter() - learned}, {})


def jobs(given: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Every set, model and seed that was asked for; a model is left out where the set cannot ask it."""
    for seed in given.seeds:
        if seed < 0:
            raise InputError(f"--seeds {seed} is not a seed: expected whole numbers from 0 on")
    models = {model: parse_model(model)[0] for model in given.models or USUAL}
    chosen = [(s, model) for s in choose(given.sets) for model, name in models.items() if asks(name, s)]
    return [(set_name, model, seed) for set_name, model in chosen for seed in given.seeds]


def collect(given: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[Record], list[str]]:
    """Every result that was asked for, and a sentence for each that could not be had."""
    options = ours.parse_options(given.attrgan)
    places = Places(data_folder(given.data), Path(given.out), options, given.autogluon_python)
    records, failures = [], []
    for set_name, model, seed in jobs(given):
        name, started = f"{set_name}, {model}, seed {seed}", time.perf_counter()
        try:
            key = key_of(set_name, model, seed, places)
            record, was_there = cached(key, places.out, partial(compute, set_name, model, seed, places))
        except AttrGANError as error:
            failures.append(f"{name}: {error}")
            say(failures[-1])
            continue
        records.append(record)
        say(f"{name}: " + ("from before" if was_there else f"{time.perf_counter() - started:.0f} s"))
    return records, failures


def data_folder(given: str | None) -> Path:
    """The folder of the Parquet files; raises InputError where none was named or it is not there."""
    place = given or os.environ.get(DATA)
    if not place or not Path(place).is_dir():
        raise InputError(
            f"{f'{place} is not a folder' if place else 'no data'}: "
            f"name the folder with the benchmark's Parquet files with --data or in {DATA}"
        )
    return Path(place)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.catalogs", description=__doc__.splitlines()[0])
    parser.add_argument("--data", help=f"folder with the Parquet files; default: the variable {DATA}")
    parser.add_argument("--sets", nargs="+", help=f"default: all of {', '.join(SETS)}")
    parser.add_argument("--models", nargs="+", help=f"default: {', '.join(USUAL)}; variants after a colon")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", default="var/benchmarks", help="where the results are kept; default: %(default)s")
    parser.add_argument("--attrgan", nargs="+", default=[], metavar="KEY=VALUE", help="options of attrgan's training")
    parser.add_argument("--autogluon-python", metavar="PATH", help="Python of the environment that has AutoGluon")
    parser.add_argument(
        "--attributes", action="store_true", help="attribute by attribute, with the difference to linear"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns the exit code: 0, or 2 where something could not be used."""
    given = arguments(argv)
    try:
        records, failures = collect(given, lambda line: print(line, file=sys.stderr, flush=True))
    except AttrGANError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    console = Console(width=None if sys.stdout.isatty() else 250)
    tables.show(records, console)
    if given.attributes:
        tables.show_attributes(records, console)
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
