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

from jepaflow.data.writer import DatasetWriter
from tests.data.builders import FPS, TOP, clip, make_v3, rows

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
    "levels": {key: [float(255 * item[key][:, -1].mean()) for item in items] for key in dataset.meta.camera_keys},
    "stats": sorted(dataset.meta.stats),
}))
"""


@pytest.mark.parametrize("kind", ["video", "image"])
def test_lerobot_loads_it(tmp_path: Path, kind: str) -> None:
    python = os.environ.get("JEPAFLOW_LEROBOT_PYTHON")
    if not python:
        pytest.skip("$JEPAFLOW_LEROBOT_PYTHON names no interpreter that has lerobot 0.4.4")
    root = make_v3(tmp_path / "made", (12, 15), (TOP, SIDE), kind=kind)
    with DatasetWriter.resume(root) as writer:  # a second set of files
        writer.add_episode(rows(2, 11), {TOP: clip(2, 11), SIDE: clip(3, 11)}, "another task")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([python, "-c", _SCRIPT, str(root)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    lengths = (12, 15, 11)
    assert seen["episodes"] == 3
    assert seen["episode"] == [e for e, length in enumerate(lengths) for _ in range(length)]
    assert seen["tasks"] == ["task 0"] * 12 + ["task 1"] * 15 + ["another task"] * 11
    assert np.allclose(seen["action"], np.concatenate([rows(e, n)["action"] for e, n in enumerate(lengths)]), atol=1e-6)
    for number, key in enumerate((TOP, SIDE)):
        expected = [clip(e + number, 1)[0, -1].mean() for e, length in enumerate(lengths) for _ in range(length)]
        assert np.abs(np.array(seen["levels"][key]) - expected).max() < 4
    assert TOP in seen["stats"] and "observation.state" in seen["stats"] and FPS == 10
