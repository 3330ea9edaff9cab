"""Pictures of a MuJoCo scene, by OpenGL where there is any, else by rays: one small protocol, chosen once a process.

Two back ends with the same call:

- *gl*: MuJoCo's own rasteriser. One context for the whole process draws every world that is made of primitives, so that
  two hundred worlds in an evaluation cost one context; each set of meshes gets a context of its own.
- *ray* (`rays`): `mj_multiRay` and a small shading rule in numpy. No GL library, bitwise repeatable, slower.

`auto` tries OpenGL (on Linux through EGL) and falls back to rays with one warning in the log.

What makes software rendering slow is vertices and the background, not pixels. So shadows and multisampling are off (a
factor of a hundred), a box's face is one quad, round things have 24 sides (`quiet`: a third of the time at 96 px, no
colour changes by more than 3/255), parked things are left out and the sky is drawn only if it can be seen.

The pictures of the two back ends differ a little: data of one must not be mixed with data of the other, so the name of
the back end is recorded with every dataset.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import mujoco
import numpy as np
from jaxtyping import UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.rays import (
    HIDDEN_BELOW,
    MAX_SIZE,
    VISIBLE_GROUPS,
    RayRenderer,
    check_size,
    directions,
    ground_plane,
    meets_ground,
)

log = logging.getLogger(__name__)

BACKENDS = ("auto", "gl", "ray")
MAX_GEOMS = 2000
MANY_FACES = 50_000
"""Faces of a model's meshes from which drawing without a GPU is slow: 320,000 take 0.1 s a picture."""
NEAREST = 0.002
"""Share of the scene's extent that is cut off before a camera: 5 mm, or a wrist camera would see through a wall."""
_OFFSCREEN = mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value
_EVERYTHING = mujoco.mjtCatBit.mjCAT_ALL.value
_SKY = mujoco.mjtRndFlag.mjRND_SKYBOX.value
_COSTLY = tuple(getattr(mujoco.mjtRndFlag, f"mjRND_{name}").value for name in ("SHADOW", "REFLECTION", "HAZE"))


@runtime_checkable
class Renderer(Protocol):
    """Draws named cameras of a model in a state; the model may differ from call to call if it has no meshes."""

    name: str

    def render(
        self, model: mujoco.MjModel, data: mujoco.MjData, cameras: Sequence[int], size: int
    ) -> UInt8[np.ndarray, "V S S 3"]:
        """Return one picture per camera id. The data's positions (and camera poses) must be up to date."""
        ...


def quiet(spec: mujoco.MjSpec) -> None:
    """Switch off what makes software rendering slow; allow pictures of up to MAX_SIZE px, and things near the camera."""
    quality = spec.visual.quality
    quality.shadowsize = quality.offsamples = 0
    quality.numquads, quality.numslices, quality.numstacks = 1, 24, 12
    spec.visual.global_.offwidth = spec.visual.global_.offheight = MAX_SIZE
    spec.visual.map.znear = NEAREST


class GLRenderer:
    """MuJoCo's rasteriser in an offscreen context.

    Args:
        model: any model whose meshes and textures the context shall hold.

    Raises:
        Exception: whatever the GL library raises where there is no display or driver; `make_renderer` handles it.
    """

    name = "gl"

    def __init__(self, model: mujoco.MjModel) -> None:
        self._context = _gl_context()
        self._context.make_current()
        self._gl = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(_OFFSCREEN, self._gl)
        if self._gl.currentBuffer != _OFFSCREEN:
            raise RuntimeError("no offscreen framebuffer")
        self._scene = mujoco.MjvScene(model, MAX_GEOMS)
        for flag in _COSTLY:
            self._scene.flags[flag] = 0
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._option.geomgroup[:] = [group < VISIBLE_GROUPS for group in range(6)]
        self._option.sitegroup[:] = 0
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        self._sheets: dict[tuple[int, int, int], np.ndarray] = {}

    def render(
        self, model: mujoco.MjModel, data: mujoco.MjData, cameras: Sequence[int], size: int
    ) -> UInt8[np.ndarray, "V S S 3"]:
        """Draw the cameras side by side in one framebuffer, read it once.

        Repeatable bit by bit; between different sets of cameras an edge's pixel may round to its other side.
        """
        check_size(size)
        columns = min(len(cameras), MAX_SIZE // size)
        rows = -(-len(cameras) // columns)
        if rows * size > MAX_SIZE:
            return np.concatenate([self.render(model, data, [camera], size) for camera in cameras])
        self._context.make_current()
        ground = ground_plane(model)
        for i, camera in enumerate(cameras):
            self._camera.fixedcamid = camera
            if i == 0:
                mujoco.mjv_updateScene(model, data, self._option, None, self._camera, _EVERYTHING, self._scene)
                self._leave_out_parked(model, data)
            else:
                mujoco.mjv_updateCamera(model, data, self._camera, self._scene)
                mujoco.mjv_makeLights(model, data, self._scene)  # the headlight is at the camera
            self._scene.flags[_SKY] = ground is None or _sees_sky(model, data, camera, size)
            view = mujoco.MjrRect((i % columns) * size, (i // columns) * size, size, size)
            mujoco.mjr_render(view, self._scene, self._gl)
        sheet = self._sheet(rows, columns, size)
        mujoco.mjr_readPixels(sheet, None, mujoco.MjrRect(0, 0, columns * size, rows * size), self._gl)
        tiles = sheet.reshape(rows, size, columns, size, 3)[:, ::-1].transpose(0, 2, 1, 3, 4)  # GL's rows go upwards
        return np.ascontiguousarray(tiles.reshape(-1, size, size, 3)[: len(cameras)])

    def _sheet(self, rows: int, columns: int, size: int) -> np.ndarray:
        key = (rows, columns, size)
        if key not in self._sheets:
            self._sheets[key] = np.empty((rows * size, columns * size, 3), np.uint8)
        return self._sheets[key]

    def _leave_out_parked(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Cut the parked geoms off the end of the scene's list, which is in the order of the model's drawn geoms."""
        drawn = np.flatnonzero((model.geom_group < VISIBLE_GROUPS) & (model.geom_rgba[:, 3] > 0.0))
        if self._scene.ngeom == len(drawn):
            there = np.flatnonzero(data.geom_xpos[drawn, 2] > HIDDEN_BELOW)
            self._scene.ngeom = int(there[-1]) + 1 if there.size else 0


def _sees_sky(model: mujoco.MjModel, data: mujoco.MjData, camera: int, size: int) -> bool:
    """Return whether a camera may look past the ground: not if the rays of its four corner pixels meet it."""
    corners = directions(float(model.cam_fovy[camera]), size)[:, [0, size - 1, -size, -1]]
    ways = data.cam_xmat[camera].reshape(3, 3) @ corners
    return not meets_ground(model, data, data.cam_xpos[camera], ways)[1].all()


def _gl_context() -> Any:
    """Return an offscreen context: on Linux EGL, which needs no display, unless MUJOCO_GL names another.

    EGL is not left to MuJoCo's choice at its import: that cannot be made any more if MuJoCo was imported before, and it
    fails there, beyond help, where there is no EGL library.
    """
    if sys.platform.startswith("linux") and os.environ.get("MUJOCO_GL", "") in ("", "egl"):
        from mujoco.egl import GLContext

        return GLContext(MAX_SIZE, MAX_SIZE)
    return mujoco.GLContext(MAX_SIZE, MAX_SIZE)


_shared: dict[Any, Renderer] = {}
"""The process's renderers: one for rays, one for all models without meshes, one per set of meshes."""
_no_gl: list[str] = []
"""Why there is no OpenGL here, once that was tried."""


def make_renderer(model: mujoco.MjModel, backend: str = "auto") -> Renderer:
    """Return the process's renderer for a model.

    Args:
        model: the model to be drawn.
        backend: "gl", "ray", or "auto" (gl where it works, else ray).

    Raises:
        JepaflowError: the back end has another name, or "gl" was asked for and there is none.
    """
    if backend not in BACKENDS:
        raise JepaflowError(f"there is no renderer '{backend}'. Choose one of: {', '.join(BACKENDS)}.")
    if backend == "ray":
        return _shared.setdefault("ray", RayRenderer())
    key = ("gl", _fingerprint(model))
    if key not in _shared and not _no_gl:
        try:
            _shared[key] = GLRenderer(model)
            log.info("rendering with OpenGL")
            if (faces := int(model.mesh_facenum.sum())) > MANY_FACES:
                log.warning("the meshes have %d faces, so each picture takes long: decimate them to 10,000", faces)
        except Exception as error:  # every GL stack fails in its own way
            said = " ".join(str(error).split()).split(". ")[0].rstrip(".") or type(error).__name__
            missing = isinstance(error, AttributeError | ImportError)  # how PyOpenGL says that there is no library
            _no_gl.append("MuJoCo found no OpenGL library" if missing else said)
    if key in _shared:
        return _shared[key]
    if backend == "gl":
        raise JepaflowError(
            f"OpenGL does not work here ({_no_gl[0]}). Install EGL (Debian: libegl1 libgl1-mesa-dri) or use rays."
        )
    if "fallback" not in _shared:
        log.warning("no OpenGL here (%s): rendering with rays, which is slower", _no_gl[0])
    return _shared.setdefault("fallback", RayRenderer())


def _fingerprint(model: mujoco.MjModel) -> str:
    """Return what a context must hold: nothing for primitives, else the meshes' (and their textures') bytes, hashed."""
    if not model.nmesh:
        return ""
    digest = hashlib.sha256()
    for part in (model.mesh_vert, model.mesh_face, model.mesh_normal, model.tex_data):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
