"""A closed loop as a measure: trials become a ratio, beside floors and the ceiling."""

from pathlib import Path

import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.readings import Readings, pool
from jepaflow.studies.success import FLOORS, Success
from jepaflow.training.checkpoint import load_run
from tests.training.tiny_run import make_run


def test_a_closed_loop_is_kept_by_trial(store: Path, tmp_path: Path) -> None:
    evidence = Evidence(load_run(make_run(tmp_path / "run", store, [0, 1, 2, 3, 4], [5, 6]), "cpu"))
    found = Success("two_room_25", 5)(evidence)
    ratio = found.ratios["success"]
    assert ratio.episodes == (0, 1, 2, 3, 4) and set(ratio.error.ravel()) <= {0.0, 1.0} and ratio.reference.sum() == 5
    assert found.scalars["success_replay"] == 1.0 and found.scalars["success_still"] == 0.0
    assert set(found.scalars) == {f"success_{which}" for which in (*FLOORS, "replay")}
    assert ratio.values()[0] == 1 - ratio.error.mean()
    (estimate,) = pool([Readings.from_json(found.as_json()).ratios["success"]])
    assert estimate.low <= estimate.value <= estimate.high and estimate.n == 5
    with pytest.raises(JepaflowError, match="no protocol"):
        Success("two_rooms")
    with pytest.raises(JepaflowError, match="at least 2"):
        Success("two_room_25", 1)
    Success("two_room_25").check(Store(store))
    with pytest.raises(
        JepaflowError, match="has 2 action dimensions, so101/reach of the protocol so101/reach_25 has 6"
    ):
        Success("so101/reach_25").check(Store(store))
