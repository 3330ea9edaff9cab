"""LeRobot itself loads what our writer wrote: frames, rows and tasks come out as they went in.

LeRobot pins older libraries than ours, so it lives in an interpreter of its own, named by ``JEPAFLOW_LEROBOT_PYTHON``
(a virtual environment with ``lerobot==0.4.4``); without it the test is skipped.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from jepaflow.data.writer import DatasetWriter, stage_episode
from tests.data.builders import FPS, TOP, clip, event_features, event_rows, rows

SIDE = "observation.images.side"
_SCRIPT = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
dataset = LeRobotDataset("local/made", root=sys.argv[1], video_backend="pyav")
items = [dataset[i] for i in range(len(dataset))]
print(json.dumps({
    "episodes": dataset.num_episodes,
    "tasks": [item["task"] for item in items],
    "action": [item["action"].tolist() for item in items],
    "episode": [int(item["episode_index"]) for item in items],
    "event": [int(item["event"]) for item in items],
    "event_name": [item["event_name"] for item in items],
    "done": [bool(item["next.done"]) for item in items],
    "levels": {key: [float(255 * item[key][:, -1].mean()) for item in items] for key in dataset.meta.camera_keys},
    "stats": sorted(dataset.meta.stats),
}))
"""


@pytest.mark.parametrize("kind", ["video", "image"])
def test_lerobot_loads_it(tmp_path: Path, kind: str) -> None:
    python = os.environ.get("JEPAFLOW_LEROBOT_PYTHON")
    if not python:
        pytest.skip("$JEPAFLOW_LEROBOT_PYTHON names no interpreter that has lerobot 0.4.4")
    root, lengths, tasks = tmp_path / "made", (12, 15, 11), ("task 0", "task 1", "another task")
    DatasetWriter(root, FPS, event_features((TOP, SIDE), kind), robot_type="test")
    for first, last in ((0, 2), (2, 3)):  # the third episode comes later: a second set of files
        with DatasetWriter.resume(root):
            for episode in reversed(range(first, last)):
                pictures = {TOP: clip(episode, lengths[episode]), SIDE: clip(episode + 1, lengths[episode])}
                stage_episode(root, episode, event_rows(episode, lengths[episode]), pictures, tasks[episode])
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([python, "-c", _SCRIPT, str(root)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["episodes"] == 3
    assert seen["episode"] == [e for e, length in enumerate(lengths) for _ in range(length)]
    assert seen["tasks"] == ["task 0"] * 12 + ["task 1"] * 15 + ["another task"] * 11
    assert np.allclose(seen["action"], np.concatenate([rows(e, n)["action"] for e, n in enumerate(lengths)]), atol=1e-6)
    for name, key in (("event", "event"), ("event_name", "event_name"), ("done", "next.done")):
        assert seen[name] == [value for e, n in enumerate(lengths) for value in event_rows(e, n)[key].tolist()]
    for number, key in enumerate((TOP, SIDE)):
        expected = [clip(e + number, 1)[0, -1].mean() for e, length in enumerate(lengths) for _ in range(length)]
        assert np.abs(np.array(seen["levels"][key]) - expected).max() < 4
    assert TOP in seen["stats"] and "observation.state" in seen["stats"] and FPS == 10
