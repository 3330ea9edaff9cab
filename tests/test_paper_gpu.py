"""The script for a machine with a GPU: all its stages run, once; what was done is skipped, and other options are refused."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def call(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "scripts/paper_gpu.py", "--smoke", "--worlds", "two_room", "--output-dir", str(folder)]
    return subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)


def test_every_stage_runs_once(tmp_path: Path) -> None:
    first = call(tmp_path)
    assert first.returncode == 0, first.stderr
    ran = [line.split()[2] for line in first.stdout.splitlines() if line.startswith("$ jepaflow ")]
    assert ran == ["collect", "convert", "train", "train", "heads", "evaluate"]
    results = tmp_path / "paper_two_room.json"
    rows = {row["name"]: row for row in json.loads(results.read_text())["rows"]}
    judged, speed, wait = (
        rows[f"paper/two_room/{name}"] for name in ("inverse", "train/frames_per_s", "train/waiting_for_data")
    )
    assert judged["n"] == 2 and "random" in judged["floors"]
    assert speed["value"] > 0 and 0 <= wait["value"] < 1
    assert any(name.startswith("paper/two_room/inverse/") for name in rows)  # the heads' own figures

    (tmp_path / "two_room/done/record.json").unlink()  # as if it had been killed before its last act
    again = call(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "$ jepaflow" not in again.stdout and again.stdout.count(" is done.") == 5
    assert {row["name"] for row in json.loads(results.read_text())["rows"]} == set(rows)

    other = call(tmp_path, "--seed", "1")
    assert other.returncode == 1 and "collect.json was made with other options" in other.stderr
