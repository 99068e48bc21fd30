"""Draw what `speed/scale.py` printed: seconds and memory of a build against its number of pairs, as SVG.

python speed/scale.py RAW... > scale.txt; python speed/scale_chart.py scale.txt docs/images/scale.svg

Both axes of both plots start at 0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 220, 56, 36, 28
ROW = re.compile(r" *([\d,]+) +\d+ +([\d.]+)s +[\d.]+ +[\d.]+s +(\d+)MiB")

Points = Sequence[tuple[float, float]]


def main() -> None:
    """Read the table and write the chart."""
    table, chart = map(Path, sys.argv[1:3])
    rows = [found.groups() for line in table.read_text().splitlines() if (found := ROW.match(line))]
    pairs = [float(count.replace(",", "")) / 1000 for count, _, _ in rows]
    seconds = list(zip(pairs, (float(value) for _, value, _ in rows), strict=True))
    memory = list(zip(pairs, (float(value) for _, _, value in rows), strict=True))
    chart.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        f"{panel(sorted(seconds), 'Build time (s)', 0)}{panel(sorted(memory), 'Peak memory (MiB, PSS)', WIDTH)}"
        "</svg>\n"
    )


def panel(points: Points, title: str, left: int) -> str:
    """Return one plot; x is in thousands of pairs."""
    most_x, most_y = (1.1 * max(values) for values in zip(*points, strict=True))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + LEFT + x / most_x * (WIDTH - LEFT - 16),
            HEIGHT - BOTTOM - y / most_y * (HEIGHT - BOTTOM - TOP),
        )

    (x0, y0), (x1, y1) = place(0, 0), place(most_x, most_y)
    parts = [
        f'<text x="{x0}" y="16" font-weight="bold">{title}</text>',
        f'<path d="M{x0} {y1}V{y0}H{x1:.0f}" fill="none" stroke="#888"/>',
        f'<text x="{(x0 + x1) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">thousand pairs</text>',
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    parts.append(f'<polyline points="{line}" fill="none" stroke="#2463a8" stroke-width="2"/>')
    for x, y in points:
        at_x, at_y = place(x, y)
        parts += [
            f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="3" fill="#2463a8"/>',
            f'<text x="{at_x:.1f}" y="{at_y - 7:.1f}" text-anchor="middle">{y:,.0f}</text>',
            f'<text x="{at_x:.1f}" y="{y0 + 14}" text-anchor="middle">{x:,.0f}</text>',
        ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
