"""The Koch arm: upstream's kinematics, servos that hold it up, a workplace it reaches and sees, cubes it lifts."""

import itertools
from pathlib import Path

import mujoco
import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.arm import MOTORS
from jepaflow.sims.arms.desk import BIN_DEPTH, BIN_WALL, Desk, Layout
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import ArmExpert
from jepaflow.sims.arms.kinematics import Kinematics
from jepaflow.sims.arms.koch import KOCH, add_koch
from jepaflow.sims.arms.tasks import TASKS, Sort

SIZE = 96
HOME, PLACE = np.array(KOCH.home), KOCH.workplace
GOOD_TILT = 1.0 - np.cos(np.radians(1.0))


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk(KOCH, Layout())


def ray_picture(desk: Desk, camera: str) -> np.ndarray:
    """Return which geom each pixel of a camera shows, (SIZE, SIZE)."""
    model, data, which = desk.model, desk.data, desk.model.camera(camera).id
    middle = (np.arange(SIZE) + 0.5 - SIZE / 2) * 2 * np.tan(np.radians(model.cam_fovy[which]) / 2) / SIZE
    across, down = np.meshgrid(middle, middle)
    rays = np.stack([across, -down, -np.ones_like(across)], axis=-1).reshape(-1, 3)
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True) @ data.cam_xmat[which].reshape(3, 3).T
    geoms, far = np.zeros(SIZE * SIZE, np.int32), np.zeros(SIZE * SIZE)
    groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    mujoco.mj_multiRay(
        model, data, data.cam_xpos[which], rays.ravel(), groups, 1, -1, geoms, far, None, SIZE * SIZE, 10.0
    )
    return geoms.reshape(SIZE, SIZE)


def in_picture(desk: Desk, camera: str, points: np.ndarray) -> np.ndarray:
    """Return which of the points (n, 3) fall into a camera's picture."""
    which = desk.model.camera(camera).id
    seen = (points - desk.data.cam_xpos[which]) @ desk.data.cam_xmat[which].reshape(3, 3)
    edge = np.tan(np.radians(desk.model.cam_fovy[which]) / 2)
    return np.asarray((np.abs(seen[:, :2] / -seen[:, 2:]) < edge).all(1) & (seen[:, 2] < 0))


@pytest.mark.parametrize(
    ("joints", "finger"),
    [
        ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.16143, 0.008753, 0.1818)),
        ((0.3, -0.5, 0.4, -1.2, 0.7, -0.6), (0.093643, -0.015585, 0.013861)),
    ],
)
def test_the_moving_finger_is_where_the_published_model_has_it(
    desk: Desk, joints: tuple[float, ...], finger: tuple[float, ...]
) -> None:
    desk.put_arm(np.array(joints))
    desk.update()
    assert np.allclose(desk.data.body("link_6").xpos, finger, atol=1e-5)


def test_the_fingertips_site_looks_away_from_the_table_and_along_the_jaws(desk: Desk) -> None:
    desk.put_arm(HOME)
    desk.update()
    turn = desk.data.site_xmat[desk.tcp_site].reshape(3, 3)
    assert turn[2, 2] > np.cos(np.radians(3))
    where = desk.tcp().copy()
    assert PLACE.near[0] < where[0] < PLACE.near[1]
    assert 0.06 < where[2] < 0.10
    model = desk.model
    tip = max(np.flatnonzero(model.geom_bodyid == desk.jaw), key=lambda i: -model.geom_pos[i][0])
    shut = desk.data.geom_xpos[tip] - where
    desk.put_arm(np.array([*KOCH.home[:5], KOCH.release]))
    desk.update()
    opened = desk.data.geom_xpos[tip] - where
    assert shut @ turn[:, 0] > 0  # the moving finger is on the side that x points to, and opens that way
    assert opened @ turn[:, 0] > shut @ turn[:, 0] + 0.01


def test_every_place_on_the_table_is_reached_pointing_down(desk: Desk) -> None:
    solver = Kinematics(desk)
    for x, y, z in itertools.product(np.linspace(*PLACE.near, 4), np.linspace(*PLACE.across, 5), (0.010, 0.025)):
        solution, _ = solver.grasp(np.array([x, y, z]), HOME, 0.3)
        assert solution.error < 1e-3, (x, y, z)
        assert solution.tilt < GOOD_TILT, (x, y, z)


def test_cubes_are_carried_over_both_bins_and_let_go_of_pointing_down(desk: Desk) -> None:
    solver = Kinematics(desk)
    for (x, y), height in itertools.product(PLACE.bins, (0.052, 0.09, 0.105)):
        solution = solver.solve(np.array([x, y, height]), HOME, None, 0.02)
        assert solution.error < 1e-3
        assert solution.tilt < 1.0 - np.cos(np.radians(6.0))
    for x, y in itertools.product(PLACE.near, PLACE.across):
        assert solver.solve(np.array([x, y, 0.090]), HOME, None, 0.02).error < 1.5e-3


@pytest.mark.parametrize("joints", [KOCH.home, (0.0, -1.2, -1.2, 0.0, 0.0, -0.4), (0.8, 0.3, -0.3, -1.0, 1.0, -0.8)])
def test_the_servos_hold_the_arm_up_and_still(joints: tuple[float, ...]) -> None:
    env = ArmEnv("koch", "reach", image_size=8, cameras=("wrist",))
    env.desk.put_arm(np.array(joints))
    target = env.still_action()
    angles = []
    for _ in range(60):
        env.advance(target)
        angles.append(env.proprio())
    sag = np.abs(np.degrees(env.desk.joints() - np.array(joints)))
    assert sag.max() < 1.0
    assert np.ptp(angles[-20:], axis=0).max() < 0.02
    assert np.abs(env.desk.data.actuator_force).max() < 0.4  # far from the 0.52 N m that an XL330 has


def test_a_step_of_ten_degrees_is_followed_in_a_fifth_of_a_second_without_overshoot() -> None:
    env = ArmEnv("koch", "reach", image_size=8, cameras=("wrist",))
    for motor in range(6):
        env.reset(seed=0)
        start, target = env.proprio(), env.still_action()
        target[motor] += 10.0
        way = []
        for _ in range(12):
            env.advance(target)
            way.append(float(env.proprio()[motor] - start[motor]))
        assert 9.0 < way[5] < 10.6, MOTORS[motor]
        assert max(way) < 10.8, MOTORS[motor]


def test_joints_stay_in_their_ranges_under_wild_targets() -> None:
    env, rng = ArmEnv("koch", "pick_place", image_size=8, cameras=("wrist",)), np.random.default_rng(0)
    ranges = env.desk.model.jnt_range[[env.desk.model.joint(name).id for name in MOTORS]]
    for _ in range(20):
        target = rng.uniform(2 * env.low, 2 * env.high).astype(np.float32)
        for _ in range(8):
            env.advance(target)
            joints = env.desk.joints()
            assert (joints > ranges[:, 0] - 0.05).all()
            assert (joints < ranges[:, 1] + 0.05).all()
            assert np.isfinite(env.get_state()).all()


def test_lerobot_units_go_round_and_the_gripper_counts_from_closed_to_open() -> None:
    joints = np.random.default_rng(0).uniform(-1.5, 0.0, (50, 6))
    assert np.allclose(KOCH.to_radians(KOCH.to_lerobot(joints)), joints)
    ends = KOCH.to_lerobot(np.array([[0.5, 0, 0, 0, 0, KOCH.closed], [0, 0, 0, 0, 0, KOCH.opened]]))
    assert np.allclose(ends[:, 5], [0.0, 100.0])
    assert np.isclose(ends[0, 0], np.degrees(0.5))
    env = ArmEnv("koch", "reach", image_size=8, cameras=("wrist",))
    assert np.allclose([env.low[5], env.high[5]], [0.0, 100.0], atol=1e-4)
    assert env.action_space.contains(env.still_action())


def test_an_episode_replays_exactly_from_a_state_in_its_middle() -> None:
    env, other = (ArmEnv("koch", "lift", image_size=16) for _ in range(2))
    env.reset(seed=3)
    expert, states, actions = ArmExpert(env, np.random.default_rng(3)), [], []
    for _ in range(80):
        states.append(env.get_state())
        actions.append(expert.act())
        env.advance(actions[-1])
    assert env.desk.held(0)
    other.reset(seed=99, options={"state": states[40]})
    for t in range(40, 80):
        assert np.array_equal(other.get_state(), states[t])
        other.advance(actions[t])
    assert np.array_equal(other.get_state(), env.get_state())
    assert np.array_equal(other.observation()["pixels"], env.observation()["pixels"])


@pytest.mark.parametrize(("task", "episodes", "least"), [("lift", 20, 19), ("pick_place", 10, 9), ("sort", 4, 3)])
def test_the_expert_does_the_tasks(task: str, episodes: int, least: int) -> None:
    env, done = ArmEnv("koch", task, image_size=8, cameras=("wrist",)), 0
    for seed in range(episodes):
        env.reset(seed=seed)
        expert = ArmExpert(env, np.random.default_rng(seed))
        for _ in range(env.rules.steps):
            env.advance(expert.act())
            if expert.done:
                break
        done += env.is_success()
    assert done >= least


@pytest.mark.parametrize("camera", ["laptop", "phone"])
def test_a_cube_covers_sixty_pixels_wherever_it_lies(camera: str) -> None:
    env = ArmEnv("koch", "lift", image_size=8, cameras=("wrist",))
    cube = env.desk.model.geom("cube0").id
    for x, y in itertools.product(PLACE.near, PLACE.across):
        env.desk.put_cube(0, x, y, 0.4)
        env.desk.update()
        assert (ray_picture(env.desk, camera) == cube).sum() >= 60, (x, y)


@pytest.mark.parametrize("camera", ["laptop", "phone"])
def test_bins_cubes_and_arm_are_in_the_picture(camera: str) -> None:
    env = ArmEnv("koch", "sort", image_size=8, cameras=("wrist",))
    out = PLACE.bin_half + 2 * BIN_WALL
    corners = [
        (x + i * out, y + j * out, z)
        for x, y in PLACE.bins
        for i in (-1, 1)
        for j in (-1, 1)
        for z in (0, 2 * BIN_DEPTH)
    ]
    assert in_picture(env.desk, camera, np.array(corners)).mean() >= 15 / 16
    bins = {env.desk.model.body(f"bin{i}").id for i in range(2)}
    arm = {env.desk.model.body(name).id for name in ("link_1", "link_2", "link_5", "link_6")}
    bodies = {int(env.desk.model.geom_bodyid[i]) for i in np.unique(ray_picture(env.desk, camera)) if i >= 0}
    assert bins | arm <= bodies


def test_no_cube_is_laid_into_a_bin() -> None:
    assert isinstance(TASKS["sort"], Sort)
    edge = max(x for x, _ in PLACE.bins) + PLACE.bin_half + 2 * BIN_WALL
    assert edge < PLACE.near[0] - np.sqrt(2) * PLACE.cube


def users_file(path: Path, names: dict[str, str]) -> Path:
    """Write the arm as an MJCF whose joints have other names, and actuators of a strength that no servo has."""
    spec = mujoco.MjSpec()
    add_koch(spec)
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for old, new in names.items():
        spec.joint(old).name = new
        actuator = spec.add_actuator(name=new, target=new, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=1000.0, kv=10.0)
    spec.body("base_link").quat = [-0.707, 0, 0, 0.707]
    for body in ("link_5", "link_6"):
        spec.body(body).geoms[0].solimp = [0.015, 1, 0.036, 0.5, 2]
    spec.delete(spec.site("tcp"))
    spec.delete(spec.camera("wrist"))
    spec.compile()
    path.write_text(spec.to_xml())
    return path


@pytest.mark.parametrize("upstream", [True, False])
def test_a_users_model_behaves_like_the_built_in_one(tmp_path: Path, upstream: bool) -> None:
    names = {motor: f"joint_{i + 1}" if upstream else motor for i, motor in enumerate(MOTORS)}
    env = ArmEnv("koch", "lift", image_size=8, mjcf=users_file(tmp_path / "follower.xml", names))
    plain = ArmEnv("koch", "lift", image_size=8)
    assert np.array_equal(env.low, plain.low)
    assert np.array_equal(env.high, plain.high)
    for joints in np.random.default_rng(0).uniform(-1.5, 0.0, (5, 6)):
        for ours, theirs in zip(
            Kinematics(plain.desk).forward(joints), Kinematics(env.desk).forward(joints), strict=True
        ):
            assert np.allclose(ours, theirs, atol=1e-4)
    env.reset(seed=1)
    expert = ArmExpert(env, np.random.default_rng(1))
    while not expert.done:
        env.advance(expert.act())
    assert env.is_success()


def test_models_that_cannot_be_used_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match="there is no MJCF file"):
        Desk(KOCH, Layout(), tmp_path / "absent.xml")
    broken = tmp_path / "broken.xml"
    broken.write_text("<mujoco><body/>")
    with pytest.raises(JepaflowError, match=r"broken\.xml is not an MJCF"):
        Desk(KOCH, Layout(), broken)
    names = {motor: f"joint_{i + 1}" for i, motor in enumerate(MOTORS)}
    names["gripper"] = "claw"
    with pytest.raises(JepaflowError, match=r"lacks the joints joint_6\. Name them"):
        Desk(KOCH, Layout(), users_file(tmp_path / "claw.xml", names))
