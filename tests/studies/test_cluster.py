"""A study on two workers, one of which is killed at its work, ends as the one that runs in a single process."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
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


@dataclass(frozen=True)
class Weight:
    """What a run's weights sum to; slow on purpose, the first time that it is asked on a worker."""

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


def study(config: TrainConfig, flag: str = "") -> Study:
    return Study("weights", tuple(Cell("a", replace(config, seed=seed)) for seed in range(4)), (Weight(flag),))


@pytest.fixture
def ray(config: TrainConfig) -> Iterator[Any]:
    """Two workers that know the tiny preset."""
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from jepaflow.worldmodel.presets import PRESETS

    def setup() -> None:
        from jepaflow.worldmodel import presets

        presets.PRESETS["tiny"] = TINY

    from tests.training.tiny_run import TINY

    assert PRESETS
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
        runtime_env={"worker_process_setup_hook": setup},
    )  # fmt: skip
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_killed_worker_changes_nothing(config: TrainConfig, tmp_path: Path, ray: Any) -> None:
    begun = time.monotonic()
    told, flag = Outcome("Weights", "What do they weigh?"), tmp_path / "killed"
    for name, results in (
        ("alone", run_study(study(config), tmp_path / "one")),
        ("cluster", run_study(study(config, str(flag)), tmp_path / "two", Cluster("local", 2))),
    ):
        assert len(results) == 4
        weights = {str(r.cell.seed): r.readings.scalars["weight"] for r in results}
        write_outcome(tmp_path / name, "weights", replace(told, facts=weights))
        write_runs(tmp_path / name, results)
    assert flag.is_file() and int(flag.read_text()) != os.getpid()  # a worker was killed
    assert (tmp_path / "alone" / "summary.json").read_bytes() == (tmp_path / "cluster" / "summary.json").read_bytes()
    assert time.monotonic() - begun < 120


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
