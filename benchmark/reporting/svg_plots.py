"""Plots as SVG text, drawn without a library: lines and grouped bars that work inline and as files.

Colors are attributes, so that no style is needed; texts take the color of the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

PALETTE = ("#4f5bd5", "#d0662b", "#2a8c74", "#b13c7a", "#8a7a1c", "#2f7fb8", "#7c57c9", "#6b7280")
WIDTH, HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 44


@dataclass(frozen=True)
class Series:
    """One line or one set of bars."""

    label: str
    values: Sequence[float]
    color: int
    """place in `PALETTE`, the same for a method in all plots"""
    x: Sequence[float] = ()
    """x of the values of a line, if not the first `x` of the plot"""


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
    legend = 18 * len(plot.series) if standalone else 0
    height = HEIGHT + legend
    low, high, step = _axis([value for each in plot.series for value in each.values])

    def y(value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    marks = _bars(plot, y) if plot.bars else _lines(plot, y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{_safe(plot.title)}" font-family="system-ui, sans-serif" font-size="11" '
        f'fill="{"#1d1f23" if standalone else "currentColor"}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>' if standalone else "",
        *_grid(low, high, step, y),
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{_safe(plot.x_label)}</text>',
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

    shown = _ticks(numbers, plot.log)
    for value in shown:
        text = _safe(plot.names.get(value, f"{value:g}"))
        yield f'<text x="{x(value):.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{text}</text>'
    for number, each in enumerate(plot.series):
        color = PALETTE[each.color % len(PALETTE)]
        points = [(x(a), y(b), a, b) for a, b in zip(each.x or numbers, each.values, strict=False)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b, *_ in points)
        dashes = ' stroke-dasharray="6 3"' if each.color // len(PALETTE) % 2 else ""
        yield f'<polyline data-of="{number}" points="{path}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>'
        for a, b, at, value in points:
            tip = f"{each.label}: {value:.4g} at {at:g}"
            yield _with_tip(
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"', number, tip, "circle"
            )


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
                f'height="{base - top:.1f}" fill="{PALETTE[each.color % len(PALETTE)]}"'
            )
            yield _with_tip(box, number, f"{each.label}, {label}: {value:.4g}", "rect")


def _with_tip(opening: str, number: int, tip: str, tag: str) -> str:
    return (
        f'{opening} data-of="{number}" data-tip="{_safe(tip)}"><title>{_safe(tip)}</title></{tag}>'
    )


def _grid(low: float, high: float, step: float, y: Callable[[float], float]) -> Iterable[str]:
    value = low
    while value <= high + step / 2:
        yield f'<path d="M{_LEFT} {y(value):.1f}H{WIDTH - _RIGHT}" stroke="#8884" stroke-width="1"/>'
        yield f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{round(value, 6):g}</text>'
        value += step


def _legend(plot: Plot) -> Iterable[str]:
    for number, each in enumerate(plot.series):
        top = HEIGHT + 18 * number
        yield f'<rect x="{_LEFT}" y="{top}" width="11" height="11" rx="2" fill="{PALETTE[each.color % len(PALETTE)]}"/>'
        yield f'<text x="{_LEFT + 17}" y="{top + 10}">{_safe(each.label)}</text>'


def _axis(values: Sequence[float]) -> tuple[float, float, float]:
    """Return ends and step of an axis with round numbers that begins at 0 unless the values lie far from it.

    >>> _axis([3.0, 97.0])
    (0.0, 100.0, 20.0)
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0 and low < high * 0.6:
        low = 0.0
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if span / (factor * power) <= 6)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return low, high if high > low else low + step, step


def _ticks(numbers: Sequence[float], log: bool) -> list[float]:
    if log and len(numbers) > 8:
        return [n for n in numbers if n in (1, 2, 5, 10, 20, 50, 100)]
    every = max(1, math.ceil(len(numbers) / 10))
    return list(numbers[::every])


def _safe(text: str) -> str:
    """Escape a text, without the control characters that XML forbids."""
    return escape("".join(c if c.isprintable() else " " for c in text))
