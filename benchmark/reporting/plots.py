"""Plots by matplotlib: lines and grouped bars for pages and as files.

matplotlib is imported by the first plot, and is the extra `report`.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape, unescape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
            low, high = (
                [b + sign * s for (_, b), s in zip(points, each.spread, strict=True)]
                for sign in (-1, 1)
            )
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
        for bar, label, value in zip(drawn, plot.x, each.values, strict=True):
            bar.set_gid(_tip(index, f"{each.label}, {label}: {value:.1f}"))
        handles.append(drawn)
    labels = [_safe(str(label)) for label in plot.x]
    labels = [label if len(label) < 12 else f"{label[:11]}…" for label in labels]
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
    text = re.sub(
        r'<g id="[^"]*">', "<g>", text
    )  # the ids that are left are digests of their content
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
