"""What was promised and what came true, on real catalogs, over several splits; and how much of the catalog it fills.

    python -m benchmarks.promise --data DIR --sets livostyle complete_journey home_improvement --seeds 0 1 2 3 4

Rows, hidden cells and their truth are those of `benchmarks/catalogs.py`; every model is trained once per set, split and
pattern, and its answers to the test cells are put beside `calibration.json`. A promise is counted as *refuted* where so
many of the accepted test cells are wrong that a precision at the target would show it in less than 5 % of the cases:
with few test cells even a broken promise is often not refuted, so the number of cells stands beside it. `--missing mar`
hides cells in training and test rows by a pattern, and shows the promise for cells missing at random and that for what
is really missing on the same test cells. `--linear` adds the linear peer's coverage at 95 % precision, in hindsight as
cov95 is. Results are files in `--out`; a run that was killed goes on where it stopped.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from attrgan.errors import AttrGANError, InputError
from attrgan.evaluation.hiding import Missing
from attrgan.evaluation.metrics import calibration_noise, coverage_at, expected_calibration_error
from attrgan.evaluation.promise import MISSING
from benchmarks import catalogs, ours, scoring, tasks
from benchmarks.results import Key, Record, cached, file_hash
from benchmarks.sets import SETS, choose
from benchmarks.tables import spread
from benchmarks.tasks import ID, Task

VERSION = 1
ALPHA = 0.05


def compute(set_name: str, seed: int, missing: Missing, places: catalogs.Places) -> Record:
    """Trains on a split and scores every promise on its test cells."""
    task = tasks.load(set_name, places.data, seed, missing)
    answered = ours.run(task, None, places.options, places.out / "features" / set_name)
    cells = answers_of(task, answered.answers)
    calibration = answered.details.pop("calibration")
    attributes = {str(n): figures(part, calibration[str(n)]) for n, part in cells.groupby("attribute")}
    confidence, right = cells["confidence"].to_numpy(float), cells["right"].to_numpy(bool)
    summary = {"ece": expected_calibration_error(confidence, right), "ece_expected": calibration_noise(confidence)}
    return {"attributes": attributes, "summary": summary, "seconds": answered.seconds, "details": answered.details}


def answers_of(task: Task, answers: pd.DataFrame) -> pd.DataFrame:
    """The test cells: attribute, confidence and right."""
    cells = task.truth.merge(answers, on=[ID, "attribute"], suffixes=("", "_answered"))
    cells = cells.rename(columns={"value_answered": "answer"})
    parts = [part.assign(right=scoring.is_right(task, str(name), part)[0]) for name, part in cells.groupby("attribute")]
    return pd.concat(parts, ignore_index=True)[["attribute", "confidence", "right"]]


def figures(cells: pd.DataFrame, promise: dict[str, Any]) -> dict[str, Any]:
    """An attribute: how sure and how right it is, and of each promise what came true."""
    confidence, right = cells["confidence"].to_numpy(float), cells["right"].to_numpy(bool)
    found: dict[str, Any] = {"n": len(cells), "accuracy": float(right.mean())}
    found |= {"ece": expected_calibration_error(confidence, right), "ece_expected": calibration_noise(confidence)}
    found |= {"cov95": coverage_at(confidence, right), "pool": promise["pool"]}
    for kind in MISSING:
        made = promise["under"][kind]
        threshold = made["threshold"]
        accepted = confidence >= threshold if threshold is not None else np.zeros(len(cells), bool)
        kept, n = int(right[accepted].sum()), int(accepted.sum())
        found[kind] = {key: made[key] for key in ("promised_precision", "cells", "accepted", "errors", "reason")}
        found[kind] |= {"coverage": float(accepted.mean()), "right": kept, "realised_n": n}
        target = made["promised_precision"]
        found[kind]["refuted"] = bool(n) and target is not None and bool(stats.binom.cdf(kept, n, target) < ALPHA)
    return found


def linear_coverage(set_name: str, seed: int, places: catalogs.Places) -> float:
    """cov95 of the linear peer on the same cells, from the results of `benchmarks.catalogs` or computed into them."""
    key = catalogs.key_of(set_name, "linear", seed, places)
    record, _ = cached(key, places.out, partial(catalogs.compute, set_name, "linear", seed, places))
    return float(record["summary"]["cov95"])


def key_of(set_name: str, seed: int, missing: str, places: catalogs.Places) -> Key:
    """What decides a result."""
    decides = {"version": [tasks.VERSION, VERSION], "set": {k: v for k, v in vars(SETS[set_name]).items() if v}}
    decides |= {"data": file_hash(tasks.path_of(places.data, SETS[set_name].file)), "missing": missing}
    return Key(
        set_name, f"promise-{missing}", seed, decides | {"options": places.options, "source": ours.source_hash()}
    )


# --- tables --------------------------------------------------------------------------------------------------------


def show(records: list[Record], linear: dict[tuple[str, int], float], console: Console) -> None:
    """One table of attributes and one of sets."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["set"], record["model"].removeprefix("promise-")), []).append(record)
    headings = ("set", "missing", "attribute", "splits", "promise", "promised in", "calibration cells", "coverage",
                "realised precision", "of cells", "refuted", "cov95 in hindsight")  # fmt: skip
    table = Table(*headings, box=box.MARKDOWN)
    headings = ("set", "missing", "splits", "promise", "coverage", "realised precision", "refuted of promised",
                "cov95 in hindsight", "linear: cov95", "ECE", "by chance", "ECE of all cells", "by chance")  # fmt: skip
    sums = Table(*headings, box=box.MARKDOWN)
    for (name, missing), group in groups.items():
        peer = [linear[name, r["seed"]] for r in group if (name, r["seed"]) in linear]
        for kind in MISSING:
            for attribute in group[0]["attributes"]:
                table.add_row(name, missing, attribute, str(len(group)), kind, *_line(group, attribute, kind))
            sums.add_row(name, missing, str(len(group)), kind, *_sums(group, kind, peer))
    console.print(table)
    console.print(sums)


def _line(group: list[Record], attribute: str, kind: str) -> list[str]:
    each = [r["attributes"][attribute] for r in group if attribute in r["attributes"]]
    made = [e[kind] for e in each]
    promised, n = sum(m["promised_precision"] is not None for m in made), sum(m["realised_n"] for m in made)
    realised = f"{sum(m['right'] for m in made) / n:.3f}" if n else "–"
    cells = [spread([m["cells"] for m in made], 0), spread([m["coverage"] for m in made])]
    refuted = str(sum(m["refuted"] for m in made))
    return [f"{promised} of {len(made)}", *cells, realised, str(n), refuted, spread([e["cov95"] for e in each])]


def _sums(group: list[Record], kind: str, peer: list[float]) -> list[str]:
    made = [[a[kind] for a in r["attributes"].values()] for r in group]
    every = [m for of in made for m in of]
    n, promised = sum(m["realised_n"] for m in every), sum(m["promised_precision"] is not None for m in every)
    means = [
        spread([float(np.mean([a[f] for a in r["attributes"].values()])) for r in group])
        for f in ("cov95", "ece", "ece_expected")
    ]
    return [
        spread([float(np.mean([m["coverage"] for m in of])) for of in made]),
        f"{sum(m['right'] for m in every) / n:.3f} of {n}" if n else "–",
        f"{sum(m['refuted'] for m in every)} of {promised}", means[0], spread(peer) if peer else "–", *means[1:],
        *(spread([r["summary"][f] for r in group]) for f in ("ece", "ece_expected")),
    ]  # fmt: skip


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.promise", description=__doc__.splitlines()[0])
    parser.add_argument("--data", help=f"folder with the Parquet files; default: the variable {catalogs.DATA}")
    parser.add_argument("--sets", nargs="+", default=["livostyle", "complete_journey", "home_improvement"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--missing", nargs="+", choices=get_args(Missing), default=["mcar"])
    parser.add_argument(
        "--linear", action="store_true", help="the linear peer's coverage too, on cells hidden at random"
    )
    parser.add_argument("--out", default="var/benchmarks", help="where the results are kept; default: %(default)s")
    parser.add_argument("--attrgan", nargs="+", default=[], metavar="KEY=VALUE", help="options of attrgan's training")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns the exit code: 0, or 2 where something could not be used."""
    given = arguments(argv)
    records, linear = [], {}
    try:
        places = catalogs.Places(
            catalogs.data_folder(given.data), Path(given.out), ours.parse_options(given.attrgan), None
        )
        for name in choose(given.sets):
            if SETS[name].protocol not in ("hidden", "published"):
                raise InputError(f"--sets {name} has no hidden cells with one answer each: expected another set")
            for seed, missing in ((s, m) for s in given.seeds for m in given.missing):
                key = key_of(name, seed, missing, places)
                record, before = cached(key, places.out, partial(compute, name, seed, missing, places))
                records.append(record)
                print(
                    f"{name}, seed {seed}, {missing}: {'from before' if before else 'done'}",
                    file=sys.stderr,
                    flush=True,
                )
                if given.linear:
                    linear[name, seed] = linear_coverage(name, seed, places)
    except AttrGANError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    show(records, linear, Console(width=None if sys.stdout.isatty() else 250))
    return 0


if __name__ == "__main__":
    sys.exit(main())
