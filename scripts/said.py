"""The demo's page of sentences: what was said, what the robot planned, did and believes, and what the simulator says of it.

    python scripts/said.py demo/said

Reads what `jepaflow command` wrote into the folder's sub-folders, one for each sentence, and writes ``said.html`` beside them.
"""

import html
import sys
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.files import atomic_path, read_json

STYLE = """
body{font:17px/1.55 system-ui,sans-serif;max-width:960px;margin:2.5rem auto;padding:0 1rem;color:#1c2330;background:#fbfaf7}
h2{font-size:1.25rem;margin:2.6rem 0 .3rem}video,img{width:100%;border-radius:6px;margin:.5rem 0;background:#fff}
.tag{font-size:.85rem;padding:.15rem .55rem;border-radius:1rem;color:#fff;white-space:nowrap}
.yes{background:#0a6b2f}.no{background:#a03010}.plain{background:#555}p{margin:.4rem 0}
"""


def main(folder: Path) -> None:
    """Write the page, and print the table."""
    stories = [(path.parent, read_json(path)) for path in sorted(folder.glob("*/story.json"))]
    table = Table("sentence", "what the robot believes", "what is true", box=SIMPLE_HEAD)
    parts = []
    for where, story in stories:
        believes, true, good = verdict(story)
        table.add_row(story["sentence"], believes, true)
        parts.append(section(where, story, f"robot: {believes} · simulator: {true}", good))
    console.print(table)
    body = "".join(parts)
    with atomic_path(folder / "said.html") as temporary:
        temporary.write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>What was said, and done</title>'
            f"<style>{STYLE}</style><h1>What was said, and done</h1>{body}</html>"
        )
    console.print(f"[bold]Films and plans:[/bold] {folder / 'said.html'}")


def verdict(story: dict[str, Any]) -> tuple[str, str, bool | None]:
    """Return what the robot believes, what is true, and whether it was done; None where nothing was to be done."""
    if story["refused"]:
        return "refused, nothing done", "not asked", None
    believes = "it succeeded" if story["believes_success"] else "it did not succeed"
    return believes, "it did" if story["true_success"] else "it did not", bool(story["true_success"])


def section(where: Path, story: dict[str, Any], said: str, good: bool | None) -> str:
    """Return one sentence's part of the page."""
    tag = {True: "yes", False: "no", None: "plain"}[good]
    text = [f"<h2>“{html.escape(story['sentence'])}”</h2><p><span class='tag {tag}'>{html.escape(said)}</span></p>"]
    text.append(f"<p>{html.escape(story.get('words') or story['refused'])}</p>")
    if (where / "film.mp4").is_file():
        text.append(f"<video controls muted loop src='{where.name}/film.mp4'></video>")
    if (where / "subgoals.png").is_file():
        text.append(f"<img alt='the plan: one picture for each sub-goal' src='{where.name}/subgoals.png'>")
    return "".join(text)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(
            "Say which folder: python scripts/said.py demo/said, with what `jepaflow command --output demo/said/1` wrote."
        )
    main(Path(sys.argv[1]))
