"""The tables: means over seeds ± standard deviation, and the ratio to the linear peer on the same rows and cells."""

from statistics import fmean, stdev

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.results import Record
from benchmarks.sets import SETS

FIGURES = {
    "cells": {"accuracy": "accuracy", "rare": "of rare values", "within5": "within 5 %", "cov95": "cov95", "ece": "ECE",
              "ece_expected": "ECE by chance", "skill": "skill"},
    "extraction": {
        "f1_row": "F1 row", "f1_strict": "F1 strict", "f1_row_decided": "F1 row, decided for F1",
        "f1_strict_decided": "F1 strict, decided for F1", "recall_unseen": "recall of new values",
        "na_f1": "NA-F1",
    },
    "mcar": {"rmse": "RMSE"},  # answers are means of distributions there, of which nothing else can be asked
}  # fmt: skip
"""Kind of protocol → figure → its heading; the first is the one whose ratio to the linear peer is shown."""
TITLES = {
    "cells": "Hidden cells of catalogs (accuracy: mean over the attributes that are not numbers)",
    "extraction": "Extraction from titles (micro-F1)",
    "mcar": "Numeric tables, 20 % missing (RMSE on [0, 1], lower is better)",
}
LINEAR = {"cells": "linear", "extraction": "linear", "mcar": "iterative-ridge"}
"""The linear peer of each kind."""


def kind_of(name: str) -> str:
    """The kind of table a set belongs to."""
    protocol = SETS[name].protocol
    return protocol if protocol in ("extraction", "mcar") else "cells"


def show(records: list[Record], console: Console) -> None:
    """One table per kind of set that there are results of."""
    for kind, figures in FIGURES.items():
        of_kind = [r for r in records if kind_of(r["set"]) == kind]
        if not of_kind:
            continue
        headings = [*figures.values(), "train s", "rows/s", f"/ {LINEAR[kind]}"]
        table = Table("set", "model", "seeds", *headings, title=TITLES[kind], box=box.MARKDOWN, title_justify="left")
        for (name, model), group in _grouped(of_kind).items():
            cells = [spread([r["summary"].get(f) for r in group]) for f in figures]
            cells += [spread([r["seconds"]["train"] for r in group], 0), spread([_speed(r) for r in group], 0)]
            main = next(f for f in figures if any(r["summary"].get(f) is not None for r in group))
            table.add_row(name, model, str(len(group)), *cells, _ratio(group, of_kind, main, LINEAR[kind]))
        console.print(table)


def _grouped(records: list[Record]) -> dict[tuple[str, str], list[Record]]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["set"], record["model"]), []).append(record)
    return groups


def _speed(record: Record) -> float | None:
    seconds = record["seconds"]["complete"]
    return record["rows"]["test"] / seconds if seconds else None


def spread(values: list[float | None], digits: int = 3) -> str:
    """`mean ± standard deviation` of what is there; one value alone has no spread."""
    there = [v for v in values if v is not None]
    if not there:
        return "–"
    mean = f"{fmean(there):,.{digits}f}"
    return f"{mean} ± {stdev(there):,.{digits}f}" if len(there) > 1 else mean


def linear_of(model: str, linear: str) -> str:
    """The linear peer of a model: with as many rows to learn from as it had."""
    return ":".join([linear, *(part for part in model.split(":")[1:] if part.startswith("rows-"))])


def _ratio(group: list[Record], records: list[Record], figure: str, linear: str) -> str:
    """Mean ratio to the linear peer over the seeds that both have."""
    peer = linear_of(group[0]["model"], linear)
    theirs = {r["seed"]: r["summary"][figure] for r in records if (r["set"], r["model"]) == (group[0]["set"], peer)}
    ratios = [r["summary"][figure] / theirs[r["seed"]] for r in group if theirs.get(r["seed"])]
    return f"{fmean(ratios):.3f}" if ratios else "–"


def show_attributes(records: list[Record], console: Console) -> None:
    """Per set: attribute by attribute the share right (extraction: F1), and the difference to the linear peer."""
    for name in dict.fromkeys(r["set"] for r in records):
        groups = {model: group for (of, model), group in _grouped(records).items() if of == name}
        table = Table("attribute", "cells", *groups, title=name, box=box.MARKDOWN, title_justify="left")
        first = next(iter(groups.values()))[0]
        for attribute, figures in first["attributes"].items():
            cells = [_with_difference(model, attribute, groups, LINEAR[kind_of(name)]) for model in groups]
            table.add_row(attribute, str(figures["n"]), *cells)
        console.print(table)


def right_share(figures: dict[str, float | None]) -> float | None:
    """The main figure of one attribute."""
    return next((figures[k] for k in ("accuracy", "within5", "f1") if figures.get(k) is not None), None)


def _with_difference(model: str, attribute: str, groups: dict[str, list[Record]], linear: str) -> str:
    ours = {r["seed"]: right_share(r["attributes"].get(attribute, {})) for r in groups[model]}
    text = spread(list(ours.values()))
    peer = linear_of(model, linear)
    if model == peer or peer not in groups:
        return text
    theirs = {r["seed"]: right_share(r["attributes"].get(attribute, {})) for r in groups[peer]}
    differences = [ours[s] - theirs[s] for s in ours if ours[s] is not None and theirs.get(s) is not None]
    return f"{text} ({fmean(differences):+.3f})" if differences else text
