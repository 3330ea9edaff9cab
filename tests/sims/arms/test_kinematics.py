"""Forward and inverse kinematics against MuJoCo's own site: random reachable points, vertical grasps, limits."""

import mujoco
import numpy as np
import pytest

from jepaflow.sims.arms.desk import Desk, Layout
from jepaflow.sims.arms.kinematics import Kinematics
from jepaflow.sims.arms.so101 import SO101

HOME = np.array(SO101.home)


def _reach_of(angle: float, radius: float) -> tuple[float, float]:
    """The point (x, y), m, at a bearing (rad, 0 straight ahead) and a distance."""
    return radius * np.cos(angle), radius * np.sin(angle)


@pytest.fixture(scope="module")
def solver() -> Kinematics:
    """A solver on a desk of its own, the arm at home."""
    desk = Desk(SO101, Layout(cubes=1))
    desk.put_arm(HOME)
    desk.put_cube(0, 0.2, -0.1)
    desk.update()
    return Kinematics(desk)


def of_mujoco(solver: Kinematics, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a data of its own has the fingertips: position and matrix."""
    model = solver.desk.model
    data = mujoco.MjData(model)
    data.qpos[solver.desk.qpos] = joints
    mujoco.mj_forward(model, data)
    return data.site("tcp").xpos.copy(), data.site("tcp").xmat.reshape(3, 3).copy()


def test_forward_is_mujocos(solver: Kinematics) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        joints = rng.uniform(-1.2, 1.2, 6)
        for ours, theirs in zip(solver.forward(joints), of_mujoco(solver, joints), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_reachable_points_are_reached(solver: Kinematics) -> None:
    rng, errors = np.random.default_rng(1), []
    limits = solver.desk.model.actuator_ctrlrange[solver.desk.motors]
    for _ in range(40):
        there = HOME + rng.uniform(-0.6, 0.6, 6)
        point = solver.forward(there)[0]
        found = solver.solve(point, HOME, weight=0.0)
        assert (found.joints >= limits[:, 0] - 1e-9).all() and (found.joints <= limits[:, 1] + 0.1).all()
        assert found.joints[5] == HOME[5]
        errors.append(float(np.linalg.norm(of_mujoco(solver, found.joints)[0] - point)))
        assert errors[-1] == pytest.approx(found.error, abs=1e-9), "the error that it tells is the true one"
    assert np.mean(np.array(errors) < 1e-3) >= 0.95
    assert np.median(errors) < 2e-4


@pytest.mark.parametrize("x", [0.12, 0.16, 0.20, 0.24, 0.28])
def test_a_grasp_at_the_table_is_vertical_and_lies_along_the_yaw(solver: Kinematics, x: float) -> None:
    for bearing in (-0.5, 0.0, 0.4):
        for yaw in (-0.7, 0.0, 0.6):
            place = np.array([*_reach_of(bearing, x), 0.015])
            found, way = solver.grasp(place, HOME, yaw)
            where, turn = of_mujoco(solver, found.joints)
            assert np.linalg.norm(where - place) < 1e-3
            assert np.degrees(np.arccos(np.clip(turn[2, 2], -1, 1))) < 1.0, "the gripper points straight down"
            opening = np.arctan2(turn[1, 0], turn[0, 0])
            assert abs((opening - yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4) < 0.02, "jaws along a side of the cube"
            assert abs((opening - way + np.pi) % (2 * np.pi) - np.pi) < 0.02


def test_a_point_out_of_reach_is_said_to_be(solver: Kinematics) -> None:
    found = solver.solve(np.array([0.9, 0.0, 0.1]), HOME)
    assert found.error > 0.3
    assert np.isfinite(found.joints).all()


def test_the_simulation_is_not_touched(solver: Kinematics) -> None:
    before = solver.desk.data.qpos.copy()
    solver.solve(np.array([0.2, 0.1, 0.1]), HOME)
    assert np.array_equal(solver.desk.data.qpos, before)


def test_open_jaws_avoid_a_neighbour() -> None:
    desk = Desk(SO101, Layout(cubes=2))
    desk.put_arm(HOME)
    desk.put_cube(0, 0.2, 0.0)
    desk.put_cube(1, 0.2, 0.033)  # beside it, 3 mm away
    desk.update()
    solver = Kinematics(desk)
    found, way = solver.grasp(np.array([0.2, 0.0, 0.015]), HOME, 0.0, 0, (SO101.release, 0.5))
    assert solver.contacts(found.joints, 0) == 0
    assert abs(np.sin(way)) < 0.1, "the jaws open away from the neighbour, along x"
    blocked = []
    for yaw in (np.pi / 2, -np.pi / 2):
        across = solver.solve(np.array([0.2, 0.0, 0.015]), HOME, yaw)
        assert across.error < 1e-3
        blocked += [solver.contacts(np.array([*across.joints[:5], opening]), 0) for opening in (SO101.release, 0.5)]
    assert max(blocked) > 0, "across, a jaw would stand in the neighbour"
