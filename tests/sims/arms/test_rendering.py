"""Pictures: both back ends show the same scene, shortcuts change no pixel, no OpenGL means rays and one warning."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims import rays, rendering
from jepaflow.sims.arms.desk import project
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.tasks import TASKS
from jepaflow.sims.rays import RayRenderer
from jepaflow.sims.rendering import make_renderer

REPOSITORY = Path(__file__).resolve().parents[3]
CAMERAS = ("laptop", "phone", "wrist")


def draw(env: ArmEnv, backend: str, size: int, cameras: Sequence[str] = CAMERAS) -> np.ndarray:
    """Return an environment's cameras by a back end, (V, S, S, 3)."""
    model = env.desk.model
    ids = [model.camera(camera).id for camera in cameras]
    return make_renderer(model, backend).render(model, env.desk.data, ids, size)


@pytest.fixture
def gl() -> str:
    """The name of the OpenGL back end, where there is one."""
    try:
        return make_renderer(ArmEnv(task="reach", image_size=8).desk.model, "gl").name
    except JepaflowError as error:
        pytest.skip(str(error))


def red(picture: np.ndarray) -> np.ndarray:
    """Mask the pixels of a red cube, lit or in the dark."""
    r, g, b = np.moveaxis(picture.astype(int), -1, 0)
    return (r > 40) & (r > 3 * g) & (r > 3 * b)


@pytest.mark.parametrize("arm", ["so101", "koch"])
def test_both_back_ends_show_the_same(gl: str, arm: str) -> None:
    env = ArmEnv(arm, "pick_place", 96, CAMERAS, fix={"object.color": "red", "bin.color": "blue"}, vary=("light",))
    for seed in range(8):
        env.reset(seed=seed)
        one, two = draw(env, gl, 96), draw(env, "ray", 96)
        away = np.abs(one.astype(int) - two)
        assert away.mean() < 6.0, f"seed {seed}: the brightness differs"
        assert (away.max(-1) > 60).mean() < 0.01, f"seed {seed}: shapes differ"
        for camera in range(2):
            a, b = red(one[camera]), red(two[camera])
            assert a.sum() > 40 and b.sum() > 40
            assert (a ^ b).sum() <= 0.1 * a.sum() + 8, f"seed {seed}: the cube's outline differs in {CAMERAS[camera]}"


@pytest.mark.parametrize("task", list(TASKS))
def test_rays_cast_only_where_something_stands_give_the_same(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = ArmEnv(task=task, image_size=40, cameras=CAMERAS, vary=("all",))
    rng = np.random.default_rng(0)
    for seed in range(6):
        env.reset(seed=seed)
        env.desk.put_arm(np.array(env.arm.home) + rng.uniform(-0.8, 0.8, 6))
        env.desk.update()
        quick = draw(env, "ray", 40)
        with monkeypatch.context() as patch:
            patch.setattr(rays, "ground_plane", lambda model: None)
            assert np.abs(quick.astype(int) - draw(env, "ray", 40)).max() <= 1


@pytest.mark.parametrize("task", list(TASKS))
def test_left_out_sky_and_parked_things_change_no_pixel(gl: str, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = ArmEnv(task=task, image_size=64, cameras=CAMERAS, vary=("all",))
    rng = np.random.default_rng(1)
    for seed in range(6):
        env.reset(seed=seed)
        env.desk.put_arm(np.array(env.arm.home) + rng.uniform(-0.8, 0.8, 6))
        env.desk.update()
        quick = draw(env, gl, 64)
        with monkeypatch.context() as patch:
            patch.setattr(rendering, "_sees_sky", lambda *_: True)
            patch.setattr(rendering, "HIDDEN_BELOW", -1e9)
            assert np.array_equal(quick, draw(env, gl, 64))


def test_a_camera_that_sees_the_sky_shows_it(gl: str) -> None:
    env = ArmEnv(task="reach", image_size=32)
    model, data = env.desk.model, env.desk.data
    data.cam_xmat[0] = np.array([0, 0, -1, -1, 0, 0, 0, 1, 0])  # level, away from the arm
    for backend in (gl, "ray"):
        picture = make_renderer(model, backend).render(model, data, [0], 32)[0]
        np.testing.assert_allclose(picture[:12].reshape(-1, 3), [np.round(255 * model.vis.rgba.haze[:3])] * 384, atol=2)
        assert np.abs(picture[-4:].astype(int) - picture[0, 0]).max() > 20, "the table"


@pytest.mark.parametrize("backend", ["auto", "ray"])
def test_each_camera_is_drawn_as_if_alone(backend: str) -> None:
    env = ArmEnv(task="push", image_size=33, vary=("all",))
    env.reset(seed=4)
    for size in (8, 33, 95, 224):
        alone = [draw(env, backend, size, [camera])[0] for camera in CAMERAS]
        for cameras in (CAMERAS, CAMERAS[::-1], ("phone", "phone", "laptop", "wrist", "phone")):
            together = draw(env, backend, size, cameras)
            assert together.shape == (len(cameras), size, size, 3) and together.dtype == np.uint8
            for camera, picture in zip(cameras, together, strict=True):
                differ = (picture != alone[CAMERAS.index(camera)]).any(-1)  # an edge may round otherwise elsewhere
                assert differ.mean() <= (0.001 if backend == "auto" else 0.0), (size, cameras, camera)


def test_large_pictures_of_several_cameras(gl: str) -> None:
    env = ArmEnv(task="push", image_size=16)
    env.reset(seed=0)
    for size, cameras in ((400, (*CAMERAS, "laptop")), (600, CAMERAS), (1024, CAMERAS[:2])):
        pictures = draw(env, gl, size, cameras)
        assert pictures.shape == (len(cameras), size, size, 3)
        small = pictures[0, size // 20 :: size // 10, size // 20 :: size // 10].astype(int)
        reference = draw(env, gl, 10, ("laptop",))[0]
        assert np.median(np.abs(small - reference)) < 10


def test_parked_things_and_helpers_are_not_seen() -> None:
    env = ArmEnv(task="lift", image_size=64)
    env.reset(seed=0)
    before = draw(env, "ray", 64)
    model = env.desk.model
    model.geom_rgba[model.geom_group == 3] = (1, 0, 1, 1)
    for name in ("wall", "post", "distractor0"):
        first = model.body(name).geomadr[0]
        model.geom_rgba[first] = (1, 0, 1, 1)
    assert np.array_equal(before, draw(env, "ray", 64))


@pytest.mark.parametrize("backend", ["auto", "ray"])
def test_things_are_where_the_projection_says(backend: str) -> None:
    env = ArmEnv(task="push", image_size=96, fix={"object.color": "red"})
    for seed in range(6):
        env.reset(seed=seed)
        for camera, picture in zip(CAMERAS[:2], draw(env, backend, 96, CAMERAS[:2]), strict=True):
            x, y = project(getattr(env.arm.workplace, camera), env.desk.cube(0)) * 96
            rows, columns = np.nonzero(red(picture))
            assert abs(columns.mean() - x) < 2.5 and abs(rows.mean() - y) < 2.5


@pytest.mark.parametrize("task", ["push", "lift", "pick_place"])
def test_a_cube_is_large_enough_in_two_cameras(task: str) -> None:
    fix = {"object.color": "red"} | ({} if "bin.color" in TASKS[task].lacks else {"bin.color": "blue"})
    env = ArmEnv(task=task, image_size=96, renderer="ray", fix=fix)
    counts = []
    for seed in range(30):
        env.reset(seed=seed)
        counts.append([int(red(picture).sum()) for picture in draw(env, "ray", 96, CAMERAS[:2])])
    table = np.array(counts)
    assert (np.median(table, axis=0) >= 60).all(), table
    assert ((table >= 60).mean(axis=0) >= 0.9).all(), table


def test_a_smaller_headlight_shows_in_both(gl: str) -> None:
    env = ArmEnv(task="reach", image_size=16)
    bright = [draw(env, backend, 16).mean() for backend in (gl, "ray")]
    env.desk.model.vis.headlight.diffuse[:] = 0.0
    dark = [draw(env, backend, 16).mean() for backend in (gl, "ray")]
    assert bright[0] - dark[0] == pytest.approx(bright[1] - dark[1], rel=0.15)
    env.desk.model.light_diffuse[:] = 0.0
    darker = [draw(env, backend, 16).mean() for backend in (gl, "ray")]
    assert dark[0] - darker[0] == pytest.approx(dark[1] - darker[1], rel=0.15)


def test_a_kept_ground_is_painted_anew_when_its_looks_change() -> None:
    env = ArmEnv(task="push", image_size=32)
    model, data = env.desk.model, env.desk.data
    camera, kept = model.camera("laptop").id, RayRenderer()
    pictures = [kept.render(model, data, [camera], 32)]
    changes = (
        (model.geom_rgba, (0, 0), 0.2),
        (model.light_pos, (0, 1), -0.7),
        (model.light_diffuse, 0, 0.9),
        (model.cam_pos, (camera, 2), 0.5),
        (model.cam_fovy, camera, 70.0),
        (model.geom_size, (0, 0), 0.3),
        (model.vis.rgba.haze, 0, 0.9),
        (model.vis.headlight.ambient, slice(3), 0.1),
    )
    for array, where, value in changes:
        array[where] = value
        env.desk.update()
        pictures.append(kept.render(model, data, [camera], 32))
        assert np.array_equal(pictures[-1], RayRenderer().render(model, data, [camera], 32))
        assert not np.array_equal(pictures[-1], pictures[-2])


def test_rays_fall_back_to_all_pixels_without_a_plain_ground() -> None:
    xml = (
        "<mujoco><worldbody><light pos='0 0 3'/><camera pos='0 0 2' fovy='60'/>"
        "<geom type='plane' size='1 1 .1' euler='20 0 0' rgba='0 1 0 1'/><geom size='.3' pos='0 0 .5' rgba='1 0 0 1'/>"
        "</worldbody></mujoco>"
    )
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    picture = RayRenderer().render(model, data, [0], 32)[0]
    assert rays.ground_plane(model) is None
    assert picture[16, 16].argmax() == 0 and picture[4, 16].argmax() == 1


SCRIPT = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.env import ArmEnv
for seed in range(3):
    env = ArmEnv("so101", "reach", image_size=16)
    print(env.backend, env.reset(seed=seed)[0]["pixels"].shape)
try:
    ArmEnv("so101", "reach", image_size=16, renderer="gl").reset(seed=0)
except JepaflowError as error:
    print(error)
"""


WITHOUT_LIBRARY = """
import ctypes
load = ctypes.CDLL.__init__
def refuse(self, name, *more, **named):
    if any(word in str(name) for word in ("EGL", "GL.so", "OpenGL", "OSMesa")):
        raise OSError(f"{name}: cannot open shared object file")
    load(self, name, *more, **named)
ctypes.CDLL.__init__ = refuse
"""
"""What a machine without any OpenGL library does to a program that asks for one."""


def run(script: str, **environment: str) -> tuple[list[str], list[str]]:
    """Run a script in a process of its own; return the lines that it printed and those that it warned of."""
    words = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env={**words, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize(
    ("before", "broken"),
    [
        ("", {"__EGL_VENDOR_LIBRARY_DIRS": "/nowhere"}),
        ("", {"MUJOCO_GL": "disable"}),
        (WITHOUT_LIBRARY, {"MUJOCO_GL": ""}),
    ],
    ids=["no driver", "switched off", "no library"],
)
def test_without_opengl_rays_draw_after_one_warning(before: str, broken: dict[str, str]) -> None:
    printed, warned = run(before + SCRIPT, **broken)
    assert printed[:3] == ["ray (16, 16, 3)"] * 3
    assert printed[3].startswith("OpenGL does not work here (")
    assert printed[3].endswith("Install EGL (Debian: libegl1 libgl1-mesa-dri) or use rays.")
    assert len(printed) == 4 and len(warned) == 1
    assert warned[0].startswith("WARNING no OpenGL here (")
    assert warned[0].endswith("): rendering with rays, which is slower")


def test_mujoco_imported_first_still_draws_by_egl(gl: str) -> None:
    printed, warned = run(f"import mujoco\n{SCRIPT}")
    assert printed == ["gl (16, 16, 3)"] * 3
    assert not warned
