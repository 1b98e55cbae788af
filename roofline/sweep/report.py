"""What a sweep has done, as text."""

from __future__ import annotations

from roofline.sweep.command import Finished
from roofline.tables import Format, render, to_json

MOST_REASONS = 10


def sweep_report(finished: Finished, form: Format) -> str:
    """How many points are where, and what could not be predicted."""
    skipped = sorted(finished.skipped.items(), key=lambda item: -item[1])
    rows = [{"points": points, "reason": reason} for reason, points in skipped]
    if form == "json":
        return to_json(
            {
                "schema": "roofline.sweep/1",
                "file": str(finished.path),
                "points": finished.rows,
                "resumed_points": finished.resumed,
                "skipped": rows,
            }
        )
    if form == "csv":
        return render(rows, ("points", "reason"), "csv")
    before = f", {finished.resumed:,} of them from before" if finished.resumed else ""
    points = "1 point" if finished.rows == 1 else f"{finished.rows:,} points"
    lines = [f"{finished.path}: {points}{before}.\n"]
    if rows:
        more = f"; {len(rows) - MOST_REASONS} more reasons" if len(rows) > MOST_REASONS else ""
        lines.append(f"Left out, since they cannot be predicted{more}:\n\n")
        lines.append(render(rows[:MOST_REASONS], ("points", "reason"), form))
    return "".join(lines)
