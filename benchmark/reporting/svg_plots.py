"""Plots as SVG text, drawn without a library: lines and grouped bars that work inline and as files.

Colors are attributes, so that no style is needed; texts take the color of the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

PALETTE = (
    *("#757b85",),  # the reference
    *("#4f6fe0", "#d9661f", "#2a8c5a", "#c93a9b", "#9a7a10", "#8a5bd6"),
    *("#1f8fae", "#d84343", "#6f9a1c", "#dd6f9c", "#9c6a4a", "#2fa39a"),
)
"""Colors with a contrast of 3 to white and to a dark page. Those of the last line are dashed, next to similar ones."""

DASHES = ("", ' stroke-dasharray="7 3"', ' stroke-dasharray="2 3"')
WIDTH, HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 12, 44
_ROW, _COLUMN = 18, 36
"""Height of a legend's row; longest label, in characters, of one in two columns."""


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
        """The place of its color in `PALETTE`."""
        return 1 + (self.color - 1) % (len(PALETTE) - 1) if self.color else 0

    @property
    def dash(self) -> str:
        """The attribute of its line."""
        return DASHES[(self.color - 1) // 6 % len(DASHES)] if self.color else ""


@dataclass(frozen=True)
class Plot:
    """A plot: lines over numbers `x`, or bars over labels `x`.

    Attributes:
        name: for its file.
        title: above it.
        x: numbers for lines, texts for bars.
        series: one value for each `x`; a line may be shorter.
        x_label: what `x` is.
        y_label: what the values are.
        bars: bars instead of lines.
        log: a logarithmic `x`.
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


def svg(plot: Plot, standalone: bool = False) -> str:
    """Draw a plot. A standalone one has a white ground and a legend."""
    height = HEIGHT + (_ROW * -(-len(plot.series) // _columns(plot)) if standalone else 0)
    values = [v + side * s for each in plot.series for v, s in _spreads(each) for side in (-1, 1)]
    low, high, step = _axis([*values, 0.0] if plot.bars else values)

    def y(value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    x_label = plot.x_label
    if any(each.spread for each in plot.series):
        x_label += " (bands: standard deviation over seeds)"
    marks = _bars(plot, y) if plot.bars else _lines(plot, y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{_safe(plot.title)}" font-family="system-ui, sans-serif" font-size="11" '
        f'fill="{"#1d1f23" if standalone else "currentColor"}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>' if standalone else "",
        *_grid(low, high, step, y),
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{_safe(x_label)}</text>',
        f'<text transform="translate(12 {(_TOP + HEIGHT - _BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{_safe(plot.y_label)}</text>',
        *marks,
        *(_legend(plot) if standalone else ()),
        "</svg>",
    ]
    return "\n".join(filter(None, parts))


def _lines(plot: Plot, y: Callable[[float], float]) -> Iterable[str]:
    numbers = [float(value) for value in plot.x]
    place = math.log if plot.log else float
    first, last = place(numbers[0]), place(numbers[-1])

    def x(value: float) -> float:
        span = (place(value) - first) / (last - first) if last > first else 0.5
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * span

    shown = _ticks(numbers, plot)
    for value in shown:
        text = _safe(plot.names.get(value, f"{value:g}"))
        yield f'<text x="{x(value):.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{text}</text>'
    for number, each in enumerate(plot.series):
        edge = [
            (x(a), y(value + side * spread))
            for side in (1, -1)
            for a, (value, spread) in [*zip(each.x or numbers, _spreads(each), strict=False)][
                ::side
            ]
        ]
        if each.spread:
            yield (
                f'<polygon data-of="{number}" points="{_path(edge)}" fill="{PALETTE[each.shade]}" '
                f'fill-opacity="0.13"/>'
            )
    for number, each in enumerate(plot.series):
        color = PALETTE[each.shade]
        places = [*zip(each.x or numbers, each.values, strict=False)]
        path = _path([(x(at), y(value)) for at, value in places])
        line = f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{each.dash}'
        yield _with_tip(line, number, f"{each.label}: {each.values[-1]:.2f} at the end", "polyline")
        radius = 3 if len(places) <= 20 else 1.5
        for (at, value), (_, spread) in zip(places, _spreads(each), strict=False):
            tip = f"{each.label}: {value:.2f}" + (f" ± {spread:.2f}" if each.spread else "")
            mark = f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="{radius}" fill="{color}"'
            if each.marks:
                name = plot.names.get(at, f"{at:g}")
                yield _with_tip(mark, number, f"{tip} at {name}", "circle")


def _spreads(series: Series) -> list[tuple[float, float]]:
    """Return the values with half the height of their bands."""
    return [*zip(series.values, series.spread or [0.0] * len(series.values), strict=True)]


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _bars(plot: Plot, y: Callable[[float], float]) -> Iterable[str]:
    room = (WIDTH - _LEFT - _RIGHT) / max(1, len(plot.x))
    width = room * 0.8 / max(1, len(plot.series))
    for place, label in enumerate(plot.x):
        left = _LEFT + room * place
        text = str(label) if len(str(label)) < 12 else f"{str(label)[:11]}…"
        middle = left + room / 2
        turn = (
            f' transform="rotate(-28 {middle:.1f} {HEIGHT - _BOTTOM + 12})"'
            if len(plot.x) > 8
            else ""
        )
        anchor = "end" if turn else "middle"
        yield f'<text x="{middle:.1f}" y="{HEIGHT - _BOTTOM + 14}" text-anchor="{anchor}"{turn}>{_safe(text)}</text>'
        for number, each in enumerate(plot.series):
            value = each.values[place]
            top, base = sorted((y(value), y(0)))
            box = (
                f'<rect x="{left + room * 0.1 + width * number:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{base - top:.1f}" fill="{PALETTE[each.shade]}"'
            )
            yield _with_tip(box, number, f"{each.label}, {label}: {value:.1f}", "rect")


def _with_tip(opening: str, number: int, tip: str, tag: str) -> str:
    return (
        f'{opening} data-of="{number}" data-tip="{_safe(tip)}"><title>{_safe(tip)}</title></{tag}>'
    )


def _grid(low: float, high: float, step: float, y: Callable[[float], float]) -> Iterable[str]:
    value = low
    digits = len(f"{step:.6f}".rstrip("0").partition(".")[2])
    while value <= high + step / 2:
        yield f'<path d="M{_LEFT} {y(value):.1f}H{WIDTH - _RIGHT}" stroke="#888" stroke-opacity="0.3"/>'
        yield f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.{digits}f}</text>'
        value += step


def _legend(plot: Plot) -> Iterable[str]:
    columns = _columns(plot)
    rows = -(-len(plot.series) // columns)
    for number, each in enumerate(plot.series):
        left = _LEFT + (WIDTH - _LEFT) // columns * (number // rows)
        top = HEIGHT + _ROW * (number % rows)
        paint = f'stroke="{PALETTE[each.shade]}" stroke-width="{9 if plot.bars else 2.5}"'
        dash = "" if plot.bars else each.dash
        yield f'<path d="M{left} {top + 6}h24" {paint}{dash}/>'
        text = each.label if len(each.label) <= 90 else f"{each.label[:89]}…"
        yield f'<text x="{left + 30}" y="{top + 10}">{_safe(text)}</text>'


def _columns(plot: Plot) -> int:
    """Return the number of columns of the legend."""
    return 1 + all(len(each.label) <= _COLUMN for each in plot.series)


def _axis(values: Sequence[float]) -> tuple[float, float, float]:
    """Return ends and step of an axis with round numbers.

    >>> _axis([3.0, 97.0])
    (0.0, 100.0, 20.0)
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if span / (factor * power) <= 6)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return low, high if high > low else low + step, step


def _ticks(numbers: Sequence[float], plot: Plot) -> list[float]:
    if not plot.log:
        low, high, step = _axis(numbers)
        ticks = [low + step * place for place in range(round((high - low) / step) + 1)]
        return [tick for tick in ticks if numbers[0] <= tick <= numbers[-1]]
    return [n for n in numbers if len(numbers) <= 8 or n in (1, 2, 5, 10, 20, 50, 100)]


def _safe(text: str) -> str:
    """Escape a text, without the control characters that XML forbids."""
    return escape("".join(c if c.isprintable() else " " for c in text))
