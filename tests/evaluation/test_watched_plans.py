"""`jepaflow evaluate --monitor`: the planner is watched, plans anew on alarms, and says how many there were."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepaflow.cli.evaluate import Args, run
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.planning.monitor import Judge
from jepaflow.planning.monitor_file import save_judge
from jepaflow.training.checkpoint import load_run
from jepaflow.worldmodel.presets import PRESETS

from .test_evaluate import SOLVER, make_run


@pytest.mark.parametrize(("above", "says"), [(-1e9, "surprised 3"), (1e9, "none")])
def test_alarms_are_counted_and_said(
    two_room_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], above: float, says: str
) -> None:
    folder = make_run(tmp_path / "a", two_room_store.path, replace(PRESETS["nano"], image_size=16))
    args = Args((folder,), episodes=3, budget=10, solver=SOLVER, monitor=True)
    with pytest.raises(JepaflowError, match=r"has no calibrated monitor. Calibrate it with: jepaflow monitor"):
        run(args)
    dim = PRESETS["nano"].latent_dim
    scale, units = torch.stack([torch.zeros(dim), torch.ones(dim)]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    judge = Judge(torch.zeros(1, dim), torch.eye(dim)[None], scale, None, units, above)
    save_judge(load_run(folder), judge, {})
    assert run(args) == 0
    # Two looks in ten control steps; at the first nothing was expected.
    assert f"in 3 trials: {says}." in " ".join(capsys.readouterr().out.split())
