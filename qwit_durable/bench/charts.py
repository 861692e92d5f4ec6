"""What came out as one SVG picture: bars with their spreads, and curves for what may or may not grow.

Plain shapes and text, so that it is shown by every browser, by forges and by editors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape

import attrs

from qwit_durable.bench.measuring import Measured
from qwit_durable.bench.report import Report, number

__all__ = ["chart"]

_WIDTH, _LABELS, _NUMBERS = 960, 360, 110
_BAR, _GAP, _HEAD, _CURVE = 18, 8, 34, 180
_OURS, _OTHERS, _SPREAD, _INK, _FAINT = "#2563eb", "#94a3b8", "#0f172a", "#1f2937", "#cbd5e1"
#: So many fit on a line.
_CONDITIONS = 6
#: Between the names of others.
_LINE = 11
#: How the units of one panel may be written.
_A_SECOND = {"/s", "rows/s", "steps/s", "runs/s"}

_Points = Sequence[tuple[float, float]]


@attrs.frozen
class _Bar:
    """One figure: its median between the least and the greatest."""

    label: str
    median: float
    least: float
    greatest: float
    is_ours: bool


def chart(report: Report) -> str:
    """The picture, as the text of an SVG file."""
    parts: list[str] = []
    top = 12.0
    told = [f"{name} {value}" for name, value in report.conditions.items()]
    for first in range(0, len(told), _CONDITIONS):
        parts.append(_text(12, top + 8, ", ".join(told[first : first + _CONDITIONS]), size=10))
        top += 14
    top += 8
    for one in report.measured:
        for title, bars in _panels(one):
            parts.extend(_bars(top, title, bars))
            top += _HEAD + len(bars) * (_BAR + _GAP) + 10
        for curve in one.plan.curves:
            points = _found(one, curve.points)
            if points:
                others = [(name, found) for name, theirs in curve.others if (found := _found(one, theirs))]
                parts.extend(_lines(top, f"{one.scenario.name}: {curve.name}", curve.across, points, others))
                top += _HEAD + _CURVE + 40
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top:.0f}" '
        f'viewBox="0 0 {_WIDTH} {top:.0f}" font-family="system-ui, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _found(one: Measured, points: Iterable[tuple[float, str]]) -> _Points:
    return [(x, one.median(name)) for x, name in points if name in one.figures]


def _panels(one: Measured) -> Iterator[tuple[str, list[_Bar]]]:
    """Figures of one unit together; those of a curve are drawn there."""
    drawn = [points for curve in one.plan.curves for points in (curve.points, *dict(curve.others).values())]
    of_curves = {name for points in drawn for _, name in points}
    compared = {ratio.of for ratio in one.plan.ratios if ratio.by is not None}
    panels: dict[str, list[_Bar]] = {}
    for name, values in one.figures.items():
        if name in of_curves:
            continue
        label, _, unit = name.rpartition(", ")
        unit = "a second" if unit in _A_SECOND else unit
        bar = _Bar(label, one.median(name), min(values), max(values), name in compared)
        panels.setdefault(unit, []).append(bar)
    for unit, bars in panels.items():
        yield f"{one.scenario.name}: {unit}", bars


def _bars(top: float, title: str, bars: Sequence[_Bar]) -> Iterator[str]:
    yield _text(12, top + 18, title, size=14, weight="bold")
    room = _WIDTH - _LABELS - _NUMBERS
    most = max((bar.greatest for bar in bars), default=0) or 1.0
    for nth, bar in enumerate(bars):
        y = top + _HEAD + nth * (_BAR + _GAP)
        middle = y + _BAR / 2
        width, left, right = (max(v, 0) / most * room for v in (bar.median, bar.least, bar.greatest))
        yield _text(_LABELS - 10, middle + 4, bar.label, anchor="end")
        yield _rect(_LABELS, y, width, _BAR, _OURS if bar.is_ours else _OTHERS)
        yield _stroke([(_LABELS + left, middle), (_LABELS + right, middle)], _SPREAD, 1.5)
        for end in (left, right):
            yield _stroke([(_LABELS + end, middle - 4), (_LABELS + end, middle + 4)], _SPREAD, 1.5)
        yield _text(_LABELS + max(width, right) + 8, middle + 4, number(bar.median))


def _lines(
    top: float, title: str, across: str, points: _Points, others: Sequence[tuple[str, _Points]]
) -> Iterator[str]:
    """By powers of ten from left to right, and from nothing upwards; others in grey, named where they end."""
    yield _text(12, top + 18, title, size=14, weight="bold")
    left, right, high, low = _LABELS / 2, _WIDTH - 1.5 * _NUMBERS, top + _HEAD, top + _HEAD + _CURVE
    first, last = math.log10(points[0][0]), math.log10(points[-1][0])
    most = max(value for _, found in [("", points), *others] for _, value in found) or 1.0

    def places(found: _Points) -> _Points:
        return [
            (
                left + (math.log10(x) - first) / ((last - first) or 1) * (right - left),
                low - value / most * (_CURVE - 14),
            )
            for x, value in found
        ]

    yield _stroke([(left, low), (right, low)], _FAINT, 1)
    yield _stroke([(left, high), (left, low)], _FAINT, 1)
    floor = low + _LINE
    for name, found in sorted(others, key=lambda other: places(other[1])[-1][1], reverse=True):
        ends = places(found)
        yield _stroke(ends, _OTHERS, 1.5)
        for x, y in ends:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{_OTHERS}"/>'
        # One above the other, where several end at one place.
        floor = min(floor - _LINE, ends[-1][1] + 4)
        yield _text(ends[-1][0] + 8, floor, f"{name} {number(found[-1][1])}", size=10)
    own = places(points)
    yield _stroke(own, _OURS, 2)
    for (x, y), (size, value) in zip(own, points, strict=True):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{_OURS}"/>'
        yield _text(x, y - 8, number(value), anchor="middle", size=11)
        yield _text(x, low + 16, f"{size:,.0f}", anchor="middle", size=11)
    yield _text((left + right) / 2, low + 32, across, anchor="middle", size=11)


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{_INK}">{escape(text)}</text>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{colour}"/>'


def _stroke(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
