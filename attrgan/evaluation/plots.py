"""Pictures of a model: losses, reliability, coverage against precision, generated against real values and pairs."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from attrgan.schema import Schema

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
MOST_NUMBERED = 20
"""Attributes up to which the cells of a heat map say their figure."""
FALLBACK = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC",
            "Microsoft YaHei")  # fmt: skip
"""Fonts for what matplotlib's own has not, those that are installed; letters that none of them has are boxes."""
INK, ACCENT, MUTED = "#1f2933", "#2563eb", "#9aa5b1"


@contextmanager
def _fonts() -> Iterator[None]:
    """The installed fonts; nothing is said of those without a regular weight, nor of every letter that none has."""
    from matplotlib import font_manager, rc_context

    installed = {font.name for font in font_manager.fontManager.ttflist}
    log = logging.getLogger(font_manager.__name__)
    level = log.level
    with (
        rc_context({"font.family": ["sans-serif", *(name for name in FALLBACK if name in installed)]}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


@_fonts()
def training_curves(log: Path, out: Path) -> None:
    """The losses of `training_log.jsonl` over the steps; no picture where no step was noted before the time was up."""
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = pd.DataFrame([r for r in records if "step" in r])
    if steps.empty:
        return
    figure, axes = _figure(1, 3, (13, 3.6))
    length = steps.groupby("epoch")["steps"].first()  # the second training has longer epochs
    at = steps["epoch"].map(length.cumsum() - length) + steps["step"]
    axes[0].plot(at, steps["loss_d"], color=ACCENT, label="Loss_D")
    axes[0].plot(at, steps["loss_g"], color="#d97706", label="Loss_G")
    axes[0].axhline(2 * np.log(2), color=MUTED, linestyle=":", label="2 ln 2")
    axes[1].plot(at, steps["supervised"], color=ACCENT, label="training, hidden cells")
    validation = pd.DataFrame([r for r in records if "validation_loss" in r])
    if len(validation):
        axes[1].plot(validation["epoch"].map(length.cumsum()), validation["validation_loss"], "o-", color="#d97706",
                     markersize=3, label="validation")  # fmt: skip
    axes[2].plot(at, steps["d_accuracy"], color=ACCENT, label="discriminator")
    axes[2].axhline(0.5, color=MUTED, linestyle=":", label="cannot tell")
    for axis, title in zip(axes, ("Adversarial losses", "Supervised loss", "Cells D judges rightly"), strict=True):
        axis.set(title=title, xlabel="step")
        axis.legend(frameon=False, fontsize=8)
    _save(figure, out)


@_fonts()
def reliability(answers: dict[str, pd.DataFrame], out: Path) -> None:
    """Share of right answers against confidence, in ten bins of equally many cells per attribute."""

    def draw(axis: "Axes", cells: pd.DataFrame) -> None:
        order = np.argsort(cells["confidence"].to_numpy(), kind="stable")
        parts = [p for p in np.array_split(order, 10) if len(p)]
        confidence, right = cells["confidence"].to_numpy(float), cells["right"].to_numpy(float)
        axis.plot([0, 1], [0, 1], color=MUTED, linestyle=":")
        axis.plot(
            [confidence[p].mean() for p in parts], [right[p].mean() for p in parts], "o-", color=ACCENT, markersize=3
        )
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="right")

    _grid(answers, draw, out)


@_fonts()
def coverage_precision(answers: dict[str, pd.DataFrame], targets: dict[str, float], out: Path) -> None:
    """Precision of the most confident answers against the share of cells they cover."""

    def draw(axis: "Axes", cells: pd.DataFrame) -> None:
        order = np.argsort(-cells["confidence"].to_numpy(float), kind="stable")
        covered = np.arange(1, len(order) + 1)
        axis.plot(covered / len(order), np.cumsum(cells["right"].to_numpy(float)[order]) / covered, color=ACCENT)
        axis.axhline(targets[str(cells.attrs["attribute"])], color=MUTED, linestyle=":")
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="coverage", ylabel="precision")

    _grid(answers, draw, out)


@_fonts()
def distributions(answers: dict[str, pd.DataFrame], schema: Schema, out: Path) -> None:
    """Generated against real values of the hidden cells, attribute by attribute.

    Samples rather than best answers: the most probable value of every cell has another distribution than the values.
    Shares of numbers, so that cells that were sampled several times count once.
    """

    def draw(axis: "Axes", cells: pd.DataFrame) -> None:
        if schema.attributes[str(cells.attrs["attribute"])].kind == "numeric":
            truth, value = cells["truth"].to_numpy(float), cells["number"].to_numpy(float)
            low, high = np.quantile(truth, [0.01, 0.99])
            edges = np.linspace(low, max(high, low + 1e-9), 25).tolist()
            share = np.full(len(truth), 1 / len(truth))
            axis.hist(truth, edges, weights=share, color=MUTED, alpha=0.6, label="real")
            axis.hist(value, edges, weights=share, histtype="step", color=ACCENT, label="generated")
        else:
            real, made = cells["truth"].value_counts(normalize=True)[:12], cells["value"].value_counts(normalize=True)
            at = np.arange(len(real))
            axis.barh(at - 0.2, real, 0.4, color=MUTED, label="real")
            axis.barh(at + 0.2, made.reindex(real.index, fill_value=0), 0.4, color=ACCENT, label="generated")
            axis.set_yticks(at, [_short(str(v)) for v in real.index], fontsize=6)
            axis.invert_yaxis()
        axis.legend(frameon=False, fontsize=7)

    _grid(answers, draw, out)


@_fonts()
def pair_consistency(pairs: pd.DataFrame, names: list[str], out: Path) -> None:
    """Per pair of attributes, the share of value pairs that occur in real rows: generated below the diagonal.

    Args:
        pairs: from `joint.consistency`; names: the attributes in their order.
    """
    shares = np.full((len(names), len(names)), np.nan)
    for (a, b), made, real in zip(pairs["attributes"], pairs["made"], pairs["real"], strict=True):
        shares[b, a], shares[a, b] = made, real
    side = min(3.2 + 0.45 * len(names), 16)
    figure, (axis,) = _figure(1, 1, (side + 1, side))
    image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, ax=axis, shrink=0.8).ax.tick_params(labelsize=7)
    at = np.arange(len(names))
    axis.set_xticks(at, [_short(n) for n in names], rotation=60, ha="right", fontsize=7)
    axis.set_yticks(at, [_short(n) for n in names], fontsize=7)
    if len(names) <= MOST_NUMBERED:
        for row, column in zip(*np.nonzero(~np.isnan(shares)), strict=True):
            share = shares[row, column]
            colour = "white" if share > 0.6 else INK
            axis.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=6, color=colour)
    axis.set_title("Pairs that occur in real rows: generated below the diagonal, real above", fontsize=8)
    _save(figure, out)


def _short(text: str) -> str:
    return (text if len(text) <= 22 else text[:21] + "…").replace("$", r"\$")


def _grid(answers: dict[str, pd.DataFrame], draw: "object", out: Path) -> None:
    """One small picture per attribute."""
    shown = {name: cells for name, cells in answers.items() if len(cells)}
    rows = max(-(-len(shown) // COLUMNS), 1)
    figure, axes = _figure(rows, COLUMNS, (13, 3.1 * rows))
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, (name, cells) in zip(axes, shown.items(), strict=False):
        cells.attrs["attribute"] = name
        draw(axis, cells)  # type: ignore[operator]
        axis.set_title(f"{_short(name)} (n = {cells.attrs.get('n', len(cells))})", fontsize=9)
    _save(figure, out)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7, colors=INK)
        axis.title.set_color(INK)
    return figure, axes


def _save(figure: "Figure", out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
