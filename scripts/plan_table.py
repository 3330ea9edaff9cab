"""Print `results/planning.json` as a Markdown table: ever and at the end, with intervals, beside floors and ceiling."""

import json
import sys
from pathlib import Path


def main(path: Path) -> None:
    """One line for each planner and protocol."""
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    print("| protocol / planner | reached, % | at the end, % | n | floors: reached, % |\n| --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        if f"{name}_end" not in rows:
            continue
        cells = [
            f"{100 * r['value']:.1f} ({100 * r['low']:.1f} – {100 * r['high']:.1f})" for r in (row, rows[f"{name}_end"])
        ]
        floors = ", ".join(f"{key} {100 * value:.0f}" for key, value in row["floors"].items())
        print(f"| {name.removeprefix('plan/')} | {cells[0]} | {cells[1]} | {row['n']} | {floors} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
