"""A study on two workers, one of which is killed at its work, ends as the one that runs in a single process."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.studies import cluster
from jepaflow.studies.cells import Cell, Study
from jepaflow.studies.cluster import Cluster
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.outcome import Outcome, write_outcome, write_runs
from jepaflow.studies.readings import Readings
from jepaflow.studies.runner import run_study
from jepaflow.training.config import TrainConfig
from jepaflow.worldmodel.presets import PRESETS
from tests.training.tiny_run import TINY


@dataclass(frozen=True)
class Weight:
    """What a run's weights sum to; kills the worker that asks for seed 1's first."""

    flag: str = ""
    name: str = "weight"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {}

    def __call__(self, evidence: Evidence) -> Readings:
        flag = Path(self.flag)
        if self.flag and evidence.run.config["seed"] == 1 and not flag.exists():
            flag.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        total = sum(p.detach().double().abs().sum().item() for p in evidence.model.parameters())
        return Readings(scalars={"weight": total})

    def __reduce__(self) -> tuple[Any, ...]:
        return _on_a_worker, (self.flag,)


def _on_a_worker(flag: str) -> Weight:
    """The measure, where the tiny preset is not known yet."""
    PRESETS.setdefault("tiny", TINY)
    return Weight(flag)


def study(config: TrainConfig, flag: str = "") -> Study:
    return Study("weights", tuple(Cell("a", replace(config, seed=seed)) for seed in range(4)), (Weight(flag),))


@pytest.mark.skipif(
    os.environ.get("JEPAFLOW_RAY") != "1",
    reason="starts a Ray cluster: a quarter of a minute on idle cores, minutes on busy ones; JEPAFLOW_RAY=1 runs it",
)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_killed_worker_changes_nothing(config: TrainConfig, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    told, flag = Outcome("Weights", "What do they weigh?"), tmp_path / "killed"
    try:
        for name, results in (
            ("alone", run_study(study(config), tmp_path / "one")),
            ("cluster", run_study(study(config, str(flag)), tmp_path / "two", Cluster("local", 2))),
        ):
            assert len(results) == 4
            weights = {str(r.cell.seed): r.readings.scalars["weight"] for r in results}
            write_outcome(tmp_path / name, "weights", replace(told, facts=weights))
            write_runs(tmp_path / name, results)
    finally:
        ray.shutdown()
    assert flag.is_file() and int(flag.read_text()) != os.getpid()  # a worker was killed
    assert (tmp_path / "alone" / "summary.json").read_bytes() == (tmp_path / "cluster" / "summary.json").read_bytes()


def test_without_the_extra(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(cluster.importlib, "import_module", missing)
    with pytest.raises(JepaflowError, match=r"pip install 'jepaflow\[ray\]'"):
        run_study(study(config), tmp_path, Cluster())


def test_nonsense_is_refused() -> None:
    with pytest.raises(JepaflowError, match="between 0 and 1"):
        Cluster(gpu_fraction=2.0)
    with pytest.raises(JepaflowError, match="at least 1"):
        Cluster(workers=0)
