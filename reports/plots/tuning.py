"""A picture of the settings that ``tune`` tried, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .drawing import Said, canvas, new_axes, svg, write
from .markup import document
from .palette import INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = tuple[str, int, int, bool]
"""Variant (empty: there is only one), streams, threads, spinning."""

AXIS = "sentences in a batch, at most (frame: best; dotted: usual; *: too late)"
BOLD, PLAIN = "bold", "normal"


def space_picture(result: Mapping[str, Any]) -> str:
    """Return a map of the results of ``tune`` (``Tuned.as_json()``).

    One row for each pair of streams and threads (of each variant, if there are several), one column
    for each batch limit; each field shows the score of the longest trial, darker is better.  A
    solid frame marks the best settings, a dotted one the usual ones; ``*`` marks trials that missed
    the latency objective.
    """
    several = len(result.get("variants", ())) > 1  # not written at first
    latest = {_place(trial, trial, several): trial for trial in result["trials"]}
    rows = sorted({row for row, _ in latest})
    columns = sorted({batch for _, batch in latest})
    named = ", ".join(result["variants"]) if several else result["variant"]
    title = f"{named}: requests/s within {result['slo']}"
    labels = [_name(row) for row in rows]
    side = 9.0 * max(len(label) for label in labels)
    wide, high = 68.0 * len(columns), 27.0 * len(rows)
    with canvas(max(side + wide + 20, 8.0 * len(AXIS)), high + 90) as figure:
        axes = new_axes(figure, side, 46, wide, high)
        write(figure, 6, high + 68, title, bold=True)
        write(figure, 6, 8, AXIS)
        _fields(axes, latest, rows, columns)
        for entry, style in ((result["best"], "-"), (result["usual"], ":")):
            _frame(axes, _place(entry["choice"], entry, several), rows, columns, style)
        axes.set_xticks(range(len(columns)), [str(batch) for batch in columns])
        axes.set_yticks(range(len(rows)), labels)
        axes.tick_params(length=0)
        return document(svg(figure, Said("space", title, title)), themed=False)


def _place(settings: Mapping[str, Any], entry: Mapping[str, Any], several: bool) -> tuple[Row, int]:
    variant = str(entry["variant"]) if several else ""
    return (
        (variant, settings["streams"], settings["threads"], settings["spin"]),
        settings["max_batch"],
    )


def _name(row: Row) -> str:
    variant, streams, threads, spin = row
    of = f"{variant}: " if variant else ""
    if not threads:
        return f"{of}{streams} × shared"
    return f"{of}{streams} × {threads} threads{', spin' if spin else ''}"


def _fields(
    axes: Axes,
    latest: Mapping[tuple[Row, int], Mapping[str, Any]],
    rows: Sequence[Row],
    columns: Sequence[int],
) -> None:
    best = max(trial["score"] for trial in latest.values()) or 1.0
    shades = [
        [latest[row, batch]["score"] / best if (row, batch) in latest else 0.0 for batch in columns]
        for row in rows
    ]
    axes.imshow(shades, cmap="Blues", vmin=0.0, vmax=1.25, aspect="auto")
    for (row, batch), trial in latest.items():
        late = "" if trial["held"] else "*"
        axes.text(
            columns.index(batch), rows.index(row), f"{trial['score']:.0f}{late}",
            ha="center", va="center", color=INK.light if trial["held"] else SOFT.light,
            fontweight=BOLD if trial["score"] == best else PLAIN,
        )  # fmt: skip


def _frame(
    axes: Axes, place: tuple[Row, int], rows: Sequence[Row], columns: Sequence[int], style: str
) -> None:
    row, batch = place
    if row not in rows or batch not in columns:
        return
    x, y = columns.index(batch) - 0.45, rows.index(row) - 0.45
    xs, ys = [x, x + 0.9, x + 0.9, x, x], [y, y, y + 0.9, y + 0.9, y]
    axes.plot(xs, ys, style, color=INK.light, linewidth=1.6)
