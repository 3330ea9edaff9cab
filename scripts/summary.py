"""The demo's last words: verdict, success beside the floors, and where the report lies. Reads what the commands wrote."""

import sys
from pathlib import Path

from jepaflow.common.console import console
from jepaflow.common.files import read_json

folder = Path(sys.argv[1])
verdict = read_json(folder / "report" / "metrics.json")["verdict"]["sentence"]
console.print(f"\n[bold]Verdict:[/bold] {verdict}")
for row in read_json(folder / "success.json")["rows"]:
    floors = ", ".join(f"{name} {100 * value:.0f} %" for name, value in row["floors"].items())
    interval = f"{100 * row['low']:.0f} – {100 * row['high']:.0f} %"
    console.print(
        f"[bold]{row['name']}:[/bold] {100 * row['value']:.0f} % ({interval}, n = {row['n']}); floors: {floors}"
    )
console.print(f"[bold]Report:[/bold] {folder / 'report' / 'report.html'}   [bold]Plans:[/bold] {folder / 'plans.png'}")
