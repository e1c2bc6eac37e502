"""Regret over full runs as one SVG: small pictures side by side, every line with its name at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ayar.reports.scales import Scale

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#a6761d", "#000000", "#7f3c8d", "#666666")
"""Those of Okabe and Ito (2008), which most colour-blind people tell apart, and some more."""

DASHES = ("", "6 3", "2 2", "8 3 2 3")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 450, 270, 46, 150, 34, 38
COLUMNS = 2
LINE = 12.5  # from one name to the next

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""Of each arm: full runs and regret."""


def draw(title: str, panels: Mapping[str, Curves]) -> str:
    """The picture; each panel has a vertical scale of its own, beginning at 0."""
    rows = -(-len(panels) // COLUMNS)
    wide, high = COLUMNS * WIDTH, rows * HEIGHT + 34
    font = 'font-family="system-ui, sans-serif" font-size="11"'
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" {font}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    for number, (name, curves) in enumerate(panels.items()):
        x, y = WIDTH * (number % COLUMNS), 34 + HEIGHT * (number // COLUMNS)
        body.append(f'<g transform="translate({x} {y})">{_panel(name, curves)}</g>')
    return "\n".join([*body, "</svg>"]) + "\n"


def _panel(name: str, curves: Curves) -> str:
    points = [point for curve in curves.values() for point in curve]
    x = Scale(min(p[0] for p in points), max(p[0] for p in points), log=True)
    y = Scale(0.0, max(p[1] for p in points) * 1.05 or 1.0)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        across, up = x.at(point[0]), y.at(point[1])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="18" font-weight="600">{escape(name)}</text>']
    for tick in y.ticks(5):
        _, py = at((x.low, tick))
        parts.append(f'<path d="M{LEFT},{py:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end" fill="#444">{tick:g}</text>')
    for tick in (1, 2, 5, 10, 20, 50, 100):
        if x.low <= tick <= x.high:
            px, py = at((tick, 0))
            parts.append(f'<text x="{px:.1f}" y="{py + 15:.1f}" text-anchor="middle" fill="#444">{tick}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end" fill="#444">full runs</text>')
    ends = {arm: at(curve[-1]) for arm, curve in curves.items() if curve}
    heights = _apart({arm: place[1] for arm, place in ends.items()})
    for number, (arm, curve) in enumerate(curves.items()):
        if not curve:
            continue
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        path = "L".join(f"{px:.1f},{py:.1f}" for px, py in map(at, curve))
        thick = 2.4 if number == 0 else 1.5
        stroke = (
            f'stroke="{colour}" stroke-width="{thick}" stroke-dasharray="{dash}"'
            if dash
            else (f'stroke="{colour}" stroke-width="{thick}"')
        )
        parts.append(f'<path d="M{path}" fill="none" {stroke}/>')
        (px, py), label = ends[arm], heights[arm]
        parts.append(f'<path d="M{px:.1f},{py:.1f}L{WIDTH - RIGHT + 8},{label:.1f}" stroke="{colour}" opacity="0.4"/>')
        weight = ' font-weight="600"' if number == 0 else ""
        parts.append(f'<text x="{WIDTH - RIGHT + 11}" y="{label + 4:.1f}" fill="{colour}"{weight}>{escape(arm)}</text>')
    return "".join(parts)


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Where the names stand: in the order of the ends, none over another, all inside."""
    order = sorted(heights, key=heights.__getitem__)
    placed: list[float] = []
    for arm in order:
        placed.append(max(heights[arm], placed[-1] + LINE if placed else TOP))
    lowest = HEIGHT - 14.0
    for number in reversed(range(len(placed))):
        placed[number] = min(placed[number], lowest)
        lowest = placed[number] - LINE
    return dict(zip(order, placed, strict=True))
