"""The SO-101's physics: lengths and masses, energy, rest, joint limits, torque limits, a steady home."""

import mujoco
import numpy as np
import pytest

from jepaflow.sims.arms.arm import MOTORS
from jepaflow.sims.arms.desk import DENSITY, SUBSTEPS, Desk, Layout
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.so101 import RANGES, SO101, TORQUE

LINKS = ("base", "shoulder", "upper_arm", "lower_arm", "wrist", "gripper", "moving_jaw_so101_v1")


@pytest.fixture
def desk() -> Desk:
    """An arm at home and a cube beside it."""
    desk = Desk(SO101, Layout(cubes=1))
    desk.put_arm(np.array(SO101.home))
    desk.put_cube(0, 0.2, -0.15, 0.3)
    desk.update()
    return desk


def test_masses_and_lengths_are_those_of_the_real_arm(desk: Desk) -> None:
    model, data = desk.model, desk.data
    masses = {name: float(model.body(name).mass[0]) for name in (*LINKS, "camera_mount")}
    assert masses["camera_mount"] == pytest.approx(0.012)
    assert sum(masses.values()) == pytest.approx(0.644, abs=1e-6)
    joint = {name: data.xanchor[model.joint(name).id] for name in MOTORS}
    assert np.linalg.norm(joint["shoulder_lift"] - joint["elbow_flex"]) == pytest.approx(0.116, abs=2e-4)
    assert np.linalg.norm(joint["elbow_flex"] - joint["wrist_flex"]) == pytest.approx(0.135, abs=2e-4)
    palm, tip = data.body("gripper").xpos, data.site("tcp").xpos
    assert np.linalg.norm(palm - data.body("wrist").xpos) == pytest.approx(np.hypot(0.0611, 0.0181), abs=1e-4)
    assert np.linalg.norm(tip - palm) == pytest.approx(0.0966, abs=2e-3)
    for name, limits in RANGES.items():
        assert model.actuator(name).ctrlrange == pytest.approx(limits)


@pytest.mark.parametrize(("timestep", "gain"), [(1 / 240, 0.02), (1 / 2000, 0.002)])
def test_a_swinging_arm_gains_no_energy(desk: Desk, timestep: float, gain: float) -> None:
    model, data = desk.model, desk.data
    model.dof_damping[:] = 0.0
    model.dof_frictionloss[:] = 0.0
    off = mujoco.mjtDisableBit
    for bit in (off.mjDSBL_ACTUATION, off.mjDSBL_CONTACT, off.mjDSBL_LIMIT):
        model.opt.disableflags |= int(bit)
    model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_ENERGY)
    model.opt.timestep = timestep
    desk.put_arm(np.array([0.3, -0.4, 0.2, 0.5, 0.1, 0.3]))
    desk.park_cube(0)
    model.body_gravcomp[desk.cube_bodies[0]] = 1.0  # without contacts it would fall for ever
    mujoco.mj_forward(model, data)
    start, total, moving = float(data.energy.sum()), [], []
    for _ in range(round(1.5 / timestep)):
        mujoco.mj_step(model, data)
        total.append(float(data.energy.sum()))
        moving.append(float(data.energy[1]))
    assert max(moving) > 0.2, "the arm does not swing"
    assert max(total) - start < gain * max(moving)
    assert start - min(total) < gain * max(moving)


def test_a_dropped_cube_comes_to_rest_on_the_table_and_stays(desk: Desk) -> None:
    desk.put_cube(0, 0.2, -0.15, 0.3, z=0.06)
    half, model, data = desk.cube_half(0), desk.model, desk.data
    fall = 0.06 - half
    mujoco.mj_step(model, data, round(0.8 * np.sqrt(2 * fall / 9.81) / model.opt.timestep))
    assert 0.06 - desk.cube(0)[2] == pytest.approx(0.64 * fall, rel=0.1)  # free fall: distance goes with time squared
    mujoco.mj_step(model, data, 240)
    rest, places = desk.cube(0).copy(), []
    assert rest[2] == pytest.approx(half, abs=2e-4)
    assert desk.cube_yaw(0) == pytest.approx(0.3, abs=0.02)
    for _ in range(150):
        mujoco.mj_step(model, data, SUBSTEPS)
        places.append(desk.cube(0).copy())
    assert np.abs(np.array(places) - rest).max() < 1e-4
    assert float(model.body_mass[desk.cube_bodies[0]]) == pytest.approx(DENSITY * (2 * half) ** 3)


def test_home_is_held_against_gravity(desk: Desk) -> None:
    mujoco.mj_step(desk.model, desk.data, 240)
    assert np.abs(desk.joints() - SO101.home).max() < np.radians(0.1)
    assert np.abs(desk.data.qvel[desk.dofs]).max() < 1e-3
    assert float(np.abs(desk.data.actuator_force).max()) > 0.1, "holding costs torque"


def test_joint_and_torque_limits_hold_under_extreme_targets() -> None:
    env, rng = ArmEnv(task="reach", image_size=8), np.random.default_rng(0)
    limits = np.array([env.desk.model.joint(name).range for name in MOTORS])
    beyond, torque, near = 0.0, 0.0, np.full((6, 2), np.inf)
    for _ in range(12):
        target = np.where(rng.random(6) < 0.5, env.low, env.high)
        for _ in range(45):
            env.advance(target)
            joints = env.desk.joints()
            beyond = max(beyond, float((limits[:, 0] - joints).max()), float((joints - limits[:, 1]).max()))
            near = np.minimum(near, np.abs(joints[:, None] - limits))
            torque = max(torque, float(np.abs(env.desk.data.actuator_force).max()))
    assert beyond < 0.05
    assert (near[[0, 4, 5]] < 0.02).all(), "pan, roll and gripper come to both ends; the others may meet the table"
    assert torque == pytest.approx(TORQUE)
    assert np.isfinite(env.get_state()).all()


def test_a_weaker_motor_cannot_hold_the_arm(desk: Desk) -> None:
    desk.put_arm(np.array([0.0, 0.9, -0.9, 0.0, 0.0, 0.3]))  # stretched out
    desk.model.actuator_forcerange[desk.motors] *= 0.1
    mujoco.mj_step(desk.model, desk.data, 480)
    assert np.abs(desk.joints() - desk.data.ctrl[desk.motors]).max() > 0.3
    assert np.abs(desk.data.actuator_force).max() == pytest.approx(0.1 * TORQUE)
