"""A user's own SO-101 with meshes, in MuJoCo Menagerie's layout: it takes the built-in arm's place; what fails is said."""

import struct
from pathlib import Path

import mujoco
import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import ArmExpert
from jepaflow.sims.arms.so101 import add_so101
from jepaflow.sims.rendering import make_renderer

HULL = (0.05, 0.35, 0.95)
"""Colour of the mesh's material: nothing else on the desk is like it."""


def write_box_stl(path: Path, half: tuple[float, float, float]) -> None:
    """Write the twelve triangles of a box as a binary STL file."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    corners = signs * half
    faces = ("013", "032", "467", "475", "045", "051", "237", "276", "026", "064", "157", "173")
    with path.open("wb") as file:
        file.write(b"\0" * 80 + struct.pack("<I", len(faces)))
        for face in faces:
            a, b, c = (corners[int(digit)] for digit in face)
            normal = np.cross(b - a, c - a)
            rows = np.array([normal / np.linalg.norm(normal), a, b, c], dtype="<f4")
            file.write(rows.tobytes() + b"\0\0")


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An arm of Menagerie's names with a mesh on its upper arm, a keyframe and options of its own."""
    folder = tmp_path_factory.mktemp("menagerie")
    (folder / "assets").mkdir()
    write_box_stl(folder / "assets" / "hull.stl", (0.075, 0.016, 0.036))
    spec = mujoco.MjSpec()
    spec.modelname, spec.compiler.degree, spec.meshdir = "so101", False, str(folder / "assets")
    spec.option.timestep, spec.option.impratio = 0.005, 100.0
    spec.visual.headlight.diffuse, spec.visual.quality.shadowsize, spec.stat.extent = [0.9, 0.9, 0.9], 8192, 3.0
    spec.memory, spec.nuserdata = 2**22, 3
    add_so101(spec)
    spec.delete(spec.site("tcp"))
    spec.delete(spec.camera("wrist"))
    spec.add_mesh(name="hull", file="hull.stl")
    spec.add_material(name="paint", rgba=[*HULL, 1.0])
    upper = spec.body("upper_arm")
    upper.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname="hull",
        material="paint",
        pos=[-0.06, 0, 0.02],
        contype=0,
        conaffinity=0,
        group=2,
        mass=0,
    )
    spec.add_key(name="folded", qpos=[0.0] * 6)
    spec.compile()
    path = folder / "so101.xml"
    path.write_text(spec.to_xml().replace(str(folder / "assets"), "assets"))
    return path


def blue(picture: np.ndarray) -> int:
    """Count the pixels of the mesh's colour."""
    r, g, b = np.moveaxis(picture.astype(int), -1, 0)
    return int(((b > 2 * g) & (g > 2 * r)).sum())


@pytest.mark.parametrize("renderer", ["auto", "ray"])
def test_it_steps_and_is_drawn_with_its_mesh(spec_file: Path, renderer: str) -> None:
    plain = ArmEnv(task="push", image_size=64, renderer=renderer)
    env = ArmEnv(task="push", image_size=64, renderer=renderer, mjcf=spec_file)
    assert env.desk.model.opt.timestep == plain.desk.model.opt.timestep, "the desk's options count, not the file's"
    plain.reset(seed=3)
    seen, _ = env.reset(seed=3)
    assert blue(plain.observation()["pixels"]) == 0
    assert blue(seen["pixels"]) > 10 and blue(seen["phone"]) > 30
    assert np.abs(plain.proprio() - env.proprio()).max() < 0.01
    for _ in range(10):
        action = env.still_action() + np.float32([10, 5, -5, 0, 0, 10])
        env.step(action)
        plain.step(action)
    assert np.abs(plain.proprio() - env.proprio()).max() < 0.5, "the same kinematics, masses and servos"
    assert np.abs(plain.desk.tcp() - env.desk.tcp()).max() < 1e-3


def test_the_expert_does_its_task_and_the_state_replays(spec_file: Path) -> None:
    env = ArmEnv(task="pick_place", image_size=32, mjcf=str(spec_file))
    env.reset(seed=1)
    expert, states, actions = ArmExpert(env, np.random.default_rng(1)), [], []
    while not expert.done and len(actions) < env.rules.steps:
        states.append(env.get_state())
        actions.append(expert.act())
        env.advance(actions[-1])
    assert env.is_success()
    end = env.get_state()
    again = ArmEnv(task="pick_place", image_size=32, mjcf=spec_file)
    again.reset(seed=9)
    again.set_state(states[40])
    for action in actions[40:]:
        again.advance(action)
    assert np.array_equal(again.get_state(), end)


def test_one_context_serves_all_worlds_of_one_mesh(spec_file: Path) -> None:
    first, second = (ArmEnv(task="lift", image_size=16, mjcf=spec_file).desk.model for _ in range(2))
    assert make_renderer(first) is make_renderer(second)


def test_without_a_joint(spec_file: Path) -> None:
    path = spec_file.with_name("lame.xml")
    path.write_text(spec_file.read_text().replace('"wrist_flex"', '"wrist_bend"'))
    with pytest.raises(JepaflowError, match=r"lame\.xml lacks joint wrist_flex, actuator wrist_flex\. Use the names"):
        ArmEnv(mjcf=path)


def test_without_a_gripper(spec_file: Path) -> None:
    path = spec_file.with_name("handless.xml")
    path.write_text(spec_file.read_text().replace('<body name="gripper"', '<body name="hand"'))
    with pytest.raises(JepaflowError, match="lacks body gripper"):
        ArmEnv(mjcf=path)


def test_without_the_file(tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match=r"there is no MJCF file .*nothing\.xml\. Give the path"):
        ArmEnv(mjcf=tmp_path / "nothing.xml")
    with pytest.raises(JepaflowError, match="there is no MJCF file"):
        ArmEnv(mjcf=tmp_path)


@pytest.mark.parametrize("text", ["", "not XML at all", "<html><body/></html>", "<mujoco><worldbody><body>"])
def test_what_is_no_mjcf(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.xml").write_text(text)
    with pytest.raises(JepaflowError, match=r"wrong\.xml is not an MJCF that MuJoCo reads") as caught:
        ArmEnv(mjcf=tmp_path / "wrong.xml")
    assert "\n" not in str(caught.value)


def test_without_a_mesh_file(spec_file: Path, tmp_path: Path) -> None:
    (tmp_path / "so101.xml").write_text(spec_file.read_text())
    with pytest.raises(JepaflowError, match=r"so101\.xml"):
        ArmEnv(mjcf=tmp_path / "so101.xml")
