"""The plots of results: recall curves, the distribution of ranks, the curves of training runs, and MRR by shots.

MRR is in percent, as in the tables. Bands show the standard deviation over seeds. matplotlib draws them, for pages and
as files. It is imported by the first plot, and is the extra `report`.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape, unescape
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmark.rank_metrics import DIRECTIONS
from benchmark.registry import role_of
from benchmark.reporting.comparison import Comparison, Row, group_results, label
from benchmark.result import BenchResult, FitLog
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


PALETTE = (
    *("#757b85",),  # the reference
    *("#4f6fe0", "#d9661f", "#2a8c5a", "#c93a9b", "#9a7a10", "#8a5bd6"),
    *("#1f8fae", "#d84343", "#6f9a1c", "#dd6f9c", "#9c6a4a", "#2fa39a"),
)
"""Colors with a contrast of 3 to white and to a dark page. Those of the last line are dashed, next to similar ones."""

DASHES = ("-", (0, (7, 3)), (0, (2, 3)))
Form = Literal["svg", "pdf", "png"]
FORMATS: tuple[Form, ...] = ("svg", "pdf", "png")
MISSING = "plots need matplotlib; run `pip install 'fdrd[report]'`"

_INK = "#010203"
"""The color of texts and axes, which becomes that of the page."""
_LONGEST = 90  # characters of a label
_DRAWING = threading.Lock()  # the parameters of matplotlib are global


@dataclass(frozen=True)
class Series:
    """One line or one set of bars."""

    label: str
    values: Sequence[float]
    color: int
    """0 for the reference; the same for a method in all plots"""
    x: Sequence[float] = ()
    """x of the values of a line, if not the first `x` of the plot"""
    spread: Sequence[float] = ()
    """half the height of a band around each value of a line"""
    marks: bool = True
    """whether the values of a line have marks"""

    @property
    def shade(self) -> int:
        """The index of its color in `PALETTE`."""
        return 1 + (self.color - 1) % (len(PALETTE) - 1) if self.color else 0

    @property
    def dash(self) -> Any:
        """The style of its line."""
        return DASHES[(self.color - 1) // 6 % len(DASHES)] if self.color else "-"


@dataclass(frozen=True)
class Plot:
    """A plot: lines over numbers `x`, or bars over labels `x`.

    Attributes:
        name: stem of its file name.
        title: sentence above it.
        x: numbers for lines, texts for bars.
        series: one value for each `x`; a line may be shorter.
        x_label: label of the horizontal axis.
        y_label: label of the vertical axis.
        bars: bars instead of lines.
        log: logarithmic `x`.
        names: texts for some numbers of `x`.
    """

    name: str
    title: str
    x: Sequence[float] | Sequence[str]
    series: Sequence[Series]
    x_label: str
    y_label: str
    bars: bool = False
    log: bool = False
    names: Mapping[float, str] = field(default_factory=dict)


def can_plot() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def figure(plot: Plot, legend: bool = True) -> Figure:
    """Return a plot as a figure of matplotlib.

    Raises:
        FdrdError: matplotlib is not installed.
    """
    if not can_plot():
        raise FdrdError(MISSING)
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    rows = -(-len(plot.series) // 2) if legend else 0
    drawn = Figure(figsize=(5.6, 3.4 + 0.2 * rows), layout="constrained")
    axes = drawn.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=8, left=False)
    axes.grid(axis="y", color="#888888", alpha=0.3)
    axes.set_axisbelow(True)
    bands = " (bands: standard deviation over seeds)" if any(s.spread for s in plot.series) else ""
    axes.set_xlabel(_safe(plot.x_label) + bands, color=_INK, fontsize=9)
    axes.set_ylabel(_safe(plot.y_label), color=_INK, fontsize=9)
    handles = _bars(plot, axes) if plot.bars else _lines(plot, axes)
    if legend:
        labels = [_safe(each.label) for each in plot.series]
        short = all(len(label) <= 36 for label in labels)
        look: Any = {"frameon": False, "labelcolor": _INK, "fontsize": 8, "ncols": 1 + short}
        drawn.legend(handles, labels, loc="outside lower left", **look)
    for text in drawn.findobj(Text):
        text.set_parse_math(False)
    return drawn


def _lines(plot: Plot, axes: Axes) -> list[Any]:
    numbers, handles = [float(value) for value in plot.x], []
    if plot.log:
        axes.set_xscale("log")
        shown = [n for n in numbers if len(numbers) <= 8 or n in (1, 2, 5, 10, 20, 50, 100)]
        axes.set_xticks(shown, [_safe(plot.names.get(n, f"{n:g}")) for n in shown])
        axes.minorticks_off()
    for index, each in enumerate(plot.series):
        points = [*zip(each.x or numbers, each.values, strict=False)]
        color, x, y = PALETTE[each.shade], [a for a, _ in points], [b for _, b in points]
        if each.spread:
            low, high = np.add(y, np.outer((-1, 1), each.spread))
            band = axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
            band.set_gid(_tip(index, ""))
        tip = _tip(index, f"{each.label}: {y[-1]:.2f} at the end")
        handles += axes.plot(x, y, color=color, linestyle=each.dash, linewidth=2, gid=tip)
        spreads = each.spread or [0.0] * len(points)
        for (a, b), spread in zip(points, spreads, strict=True) if each.marks else ():
            text = f"{each.label}: {b:.2f}" + (f" ± {spread:.2f}" if spread else "")
            tip = _tip(index, f"{text} at {plot.names.get(a, f'{a:g}')}")
            size = 5 if len(points) <= 20 else 2.5
            axes.plot([a], [b], "o", color=color, markersize=size, gid=tip)
    return handles


def _bars(plot: Plot, axes: Axes) -> list[Any]:
    width, handles = 0.8 / max(1, len(plot.series)), []
    for index, each in enumerate(plot.series):
        left = [n - 0.4 + width * index for n in range(len(plot.x))]
        drawn = axes.bar(left, each.values, width, align="edge", color=PALETTE[each.shade])
        for bar, name, value in zip(drawn, plot.x, each.values, strict=True):
            bar.set_gid(_tip(index, f"{each.label}, {name}: {value:.1f}"))
        handles.append(drawn)
    names = [_safe(str(name)) for name in plot.x]
    labels = [name if len(name) < 12 else f"{name[:11]}…" for name in names]
    axes.set_xticks(range(len(labels)), labels, rotation=28 if len(labels) > 8 else 0)
    return handles


def write_plots(plots: Mapping[str, Plot], folder: Path) -> list[Path]:
    """Write plots with their legends on white, each as SVG, PDF and PNG, and return the paths."""
    paths = []
    for name, plot in plots.items():
        for form in FORMATS:
            paths.append(folder / f"{name}.{form}")
            with atomic_write(paths[-1]) as file:
                file.write(plot_bytes(plot, form))
    return paths


def plot_bytes(plot: Plot, form: Form) -> bytes:
    """Return a plot with its legend on white as the content of a file."""
    if form == "svg":
        return _svg(figure(plot), plot).replace("currentColor", "#1d1f23").encode()
    return _saved(figure(plot), form)


def inline_svg(plot: Plot, legend: bool = True) -> str:
    """Return a plot as SVG for a page, in the color of its text, on its ground.

    No style is needed, so that a content policy may forbid them.
    """
    return _svg(figure(plot, legend), plot, transparent=True)


def _svg(drawn: Figure, plot: Plot, transparent: bool = False) -> str:
    text = _saved(drawn, "svg", transparent=transparent).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r'(?<=[\w"]) style="([^"]*)"(?=[^<>]*>)', _attributes, text)
    text = re.sub(r'<g id="tip-(\d+)-([0-9a-f]*)">', _marked, text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # these are digests of their content
    label = escape(_safe(plot.title))
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return text.replace(_INK, "currentColor")


def _saved(drawn: Figure, form: str, **options: Any) -> bytes:
    import matplotlib

    file = io.BytesIO()
    date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
    parameters: Any = {"svg.fonttype": "none", "svg.hashsalt": "fdrd", "pdf.fonttype": 42}
    with _DRAWING, warnings.catch_warnings(), matplotlib.rc_context(parameters):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has others
        drawn.savefig(file, format=form, dpi=200, metadata=date, **options)
    return file.getvalue()


def _attributes(style: re.Match[str]) -> str:
    """Return CSS declarations as attributes of SVG."""
    found = []
    for declaration in filter(None, unescape(style[1]).split(";")):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":  # no attribute stands for it
            size = re.search(r"[\d.]+px", value)
            found += [("font-size", size[0] if size else "9px"), ("font-family", "sans-serif")]
        else:
            found.append((name, "sans-serif" if name == "font-family" else value))
    return "".join(f' {name}="{escape(value)}"' for name, value in found)


def _tip(index: int, text: str) -> str:
    """Return the id of a mark: the index of its series, and its text in hexadecimal digits."""
    return f"tip-{index}-{_safe(text).encode().hex()}"


def _marked(mark: re.Match[str]) -> str:
    """Return the group of a mark, which names its series and shows its text on hover."""
    text = escape(bytes.fromhex(mark[2]).decode())
    tip = f' data-tip="{text}"><title>{text}</title>' if text else ">"
    return f'<g data-of="{mark[1]}"{tip}'


def _safe(text: str) -> str:
    """Return a text without control characters, which XML forbids, and not longer than a line."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def named_plots(results: Sequence[BenchResult]) -> dict[str, Plot]:
    """Return all plots of results by the stem of their files."""
    return {
        f"{index}-{plot.name}": plot
        for index, comparison in enumerate(group_results(results), 1)
        for plot in plots_of(comparison)
    }


def plots_of(comparison: Comparison) -> list[Plot]:
    """Return all plots of a comparison, most of them for each number of shots."""
    first = 0 if role_of(comparison.rows[0].method) == "reference" else 1
    colors = {n: i for i, n in enumerate(dict.fromkeys(map(_name, comparison.rows)), first)}
    trained = {row.results[0].settings.shots for row in comparison.rows if _is_trained(row)}
    groups = sorted(trained or {None}, key=lambda shots: shots or np.inf)
    found = []
    for shots in groups:  # rows without training are in all of them
        rows = [
            row
            for row in comparison.rows
            if not _is_trained(row) or row.results[0].settings.shots == shots
        ]
        images = f"{shots} training images per category" if shots else "all training images"
        suffix = f"-{shots or 'all'}-shots" if len(groups) > 1 else ""
        more = f", {images}" if shots or len(groups) > 1 else ""
        plots = [plot for each in DIRECTIONS for plot in _rank_plots(each, rows, colors)]
        for plot in plots + _training(rows, colors):
            found.append(replace(plot, name=plot.name + suffix, title=plot.title + more))
    return found + _by_shots(comparison.rows, colors)


def _name(row: Row) -> str:
    """Return the label of a row without its number of shots."""
    settings = row.results[0].settings
    return label(replace(settings, shots=None)) + row.label.removeprefix(label(settings))


def _is_trained(row: Row) -> bool:
    return row.results[0].settings.train is not None


def _rank_plots(direction: str, rows: Sequence[Row], colors: dict[str, int]) -> list[Plot]:
    """Return recall at each K, and how many queries have which rank, as means over seeds."""
    ranks = {_name(row): row.ranks(direction) for row in rows}
    most = max(len(seed) for seeds in ranks.values() for seed in seeds)
    ks = [k for k in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100) if k <= most] or [1]
    edges = [1, 2, 3, 6, 11, 21, 51, 101, np.inf]
    labels = [
        f"{a}" if b == a + 1 else f"{a}-{b - 1:.0f}" if b < np.inf else f"over {a - 1}"
        for a, b in pairwise(edges)
    ]
    recall, bars = [], []
    for name, seeds in ranks.items():
        recalls = [[100 * float(np.mean(seed <= k)) for k in ks] for seed in seeds]
        recall.append(_with_spread(name, recalls, colors[name], ks))
        counts = np.mean([np.histogram(seed, bins=edges)[0] for seed in seeds], axis=0)
        bars.append(Series(name, (100 * counts / len(seeds[0])).tolist(), colors[name]))
    way = direction.replace("_", " ")
    title, spread = f"Recall at K, {way}", f"Distribution of ranks, {way}"
    share = "percent of queries"
    return [
        Plot(f"recall-{direction}", title, ks, recall, "K", "recall in percent", log=True),
        Plot(f"ranks-{direction}", spread, labels, bars, "rank", share, bars=True),
    ]


def _training(rows: Sequence[Row], colors: dict[str, int]) -> list[Plot]:
    """Return the training curves by optimizer step, means over seeds that were evaluated at the same steps."""
    mrr, loss = [], []
    frozen: dict[int | None, float] = {}
    for row in rows:
        for result in row.results:
            if result.fit and result.fit.zero_shot_mrr is not None:
                frozen[result.settings.seed] = 100 * result.fit.zero_shot_mrr
        fits = [result.fit for result in row.results if result.fit and result.fit.epochs]
        if fits:
            name, steps = _name(row), _steps(fits[0])
            fits = [fit for fit in fits if _steps(fit) == steps]
            courses = [[100 * epoch.validation_mrr for epoch in fit.epochs] for fit in fits]
            untrained = [100 * f.untrained_mrr for f in fits if f.untrained_mrr is not None]
            if len(untrained) == len(fits):
                courses = [[at, *course] for at, course in zip(untrained, courses, strict=True)]
            at = [0] * (len(courses[0]) - len(steps)) + steps
            losses = [[epoch.loss for epoch in fit.epochs] for fit in fits]
            mrr.append(_with_spread(name, courses, colors[name], at))
            loss.append(_with_spread(name, losses, colors[name], steps))
    if not mrr:
        return []
    x = sorted({step for each in mrr for step in each.x})
    if frozen:
        mrr.insert(0, _horizontal("zero-shot", fmean(frozen.values()), x, 0))
    title, axis = "Validation MRR while training", "optimizer steps"
    return [
        Plot("training-mrr", title, x, mrr, axis, "validation MRR in percent"),
        Plot("training-loss", "Training loss", x, loss, axis, "loss"),
    ]


def _steps(fit: FitLog) -> list[float]:
    return [epoch.step for epoch in fit.epochs]


def _with_spread(
    name: str, courses: Sequence[Sequence[float]], color: int, x: Sequence[float]
) -> Series:
    """Return the mean of courses of several seeds, with the standard deviation."""
    columns = [*zip(*courses, strict=True)]
    spread = [stdev(column) for column in columns] if len(courses) > 1 else []
    return Series(name, [fmean(column) for column in columns], color, x, spread)


def _horizontal(name: str, value: float, x: Sequence[float], color: int) -> Series:
    return Series(name, [value, value], color, [x[0], x[-1]], marks=False)


def _by_shots(rows: Sequence[Row], colors: dict[str, int]) -> list[Plot]:
    """Return the MRR by training images per category, if there are several numbers of them."""
    found: dict[str, dict[int | None, list[float]]] = defaultdict(dict)
    for row in rows:
        found[_name(row)][row.results[0].settings.shots] = [100 * each.mrr for each in row.results]
    few = sorted({shots for values in found.values() for shots in values if shots is not None})
    untrained = {_name(row) for row in rows if not _is_trained(row)}
    everything = any(None in values for name, values in found.items() if name not in untrained)
    x = few + ([2 * few[-1]] if few and everything else [])
    if len(x) < 2:
        return []
    series = []
    for name, values in found.items():
        if name in untrained and set(values) == {None}:
            series.append(_horizontal(name, fmean(values[None]), x, colors[name]))
            continue
        at = {x[-1] if shots is None else shots: mrr for shots, mrr in values.items()}
        points = sorted(at)
        several = min(map(len, at.values())) > 1
        spread = [stdev(at[point]) for point in points] if several else []
        series.append(Series(name, [fmean(at[p]) for p in points], colors[name], points, spread))
    names = {float(x[-1]): "all"} if everything else {}
    title = "MRR by shots, mean of both directions"
    axes = ("training images per category", "MRR in percent")
    return [Plot("shots", title, x, series, *axes, log=True, names=names)]
