"""Repeat each protocol's best planner of `results/planning.json` as `plan/<protocol>/best` and `best_end`.

    python scripts/best_planners.py results/planning.json

Best is who reached most goals, then who was there at the end most often, among those that attempted at least 200 trials.
Choosing after the fact flatters the winner a little: the note says among how many.
"""

import json
import sys
from pathlib import Path
from typing import Any

from jepaflow.common.files import write_json

ENOUGH = 200


def main(path: Path) -> None:
    """Replace the best rows."""
    results = json.loads(path.read_text())
    rows = {row["name"]: row for row in results["rows"] if "/best" not in row["name"]}
    planners: dict[str, list[str]] = {}
    for name in rows:
        if f"{name}_end" in rows and rows[name]["n"] >= ENOUGH:
            planners.setdefault(name.rpartition("/")[0], []).append(name)
    for protocol, names in planners.items():
        best = max(names, key=lambda name: (rows[name]["value"], rows[f"{name}_end"]["value"]))
        for ending in ("", "_end"):
            row: dict[str, Any] = dict(rows[f"{best}{ending}"])
            note = f"{best.rpartition('/')[2]}, the best of {len(names)} planners; {row['note']}"
            rows[f"{protocol}/best{ending}"] = {**row, "name": f"{protocol}/best{ending}", "note": note}
    write_json(path, {**results, "rows": list(rows.values())})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
