"""Pictures of a MuJoCo scene, by OpenGL where there is any, else by rays: one small protocol, chosen once a process.

Two back ends with the same call:

- *gl*: MuJoCo's own rasteriser. One context for the whole process draws every world that is made of primitives, so that
  two hundred worlds in an evaluation cost one context; a model with meshes gets a context of its own.
- *ray*: `mj_multiRay` and a small shading rule in numpy. No GL library, bitwise repeatable, slower.

`auto` tries EGL (the package `jepaflow.sims` asks MuJoCo for it) and falls back to rays with a note in the log.

Shadows and multisampling are off (they cost a factor of a hundred in software rendering); `quiet` says so to a model.
The pictures of the two back ends differ a little: data of one must not be mixed with data of the other, so the name of
the back end is recorded with every dataset.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol, runtime_checkable

import mujoco
import numpy as np
from jaxtyping import UInt8

from jepaflow.common.errors import JepaflowError

log = logging.getLogger(__name__)

BACKENDS = ("auto", "gl", "ray")
VISIBLE_GROUPS = 3
"""Geoms of groups 0 to 2 are drawn; collision helpers live in group 3."""
MAX_SIZE = 1024
"""Largest picture side in px."""
RAY_REACH = 10.0
"""m beyond which a ray sees the background."""
AMBIENT, HEADLIGHT, LAMP = 0.34, 0.30, 0.46
"""Shares of a colour that the ray renderer gives for nothing, for facing the camera, for facing the lamp."""


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
    """Switch off what makes software rendering slow, and allow pictures of up to MAX_SIZE px."""
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    spec.visual.global_.offwidth = MAX_SIZE
    spec.visual.global_.offheight = MAX_SIZE


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
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._gl)
        if self._gl.currentBuffer != mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value:
            raise RuntimeError("no offscreen framebuffer")
        self._scene = mujoco.MjvScene(model, 2000)
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._option.geomgroup[:] = [group < VISIBLE_GROUPS for group in range(6)]
        self._option.sitegroup[:] = 0
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        self._sheet: dict[tuple[int, int], np.ndarray] = {}

    def render(
        self, model: mujoco.MjModel, data: mujoco.MjData, cameras: Sequence[int], size: int
    ) -> UInt8[np.ndarray, "V S S 3"]:
        """Draw the cameras side by side in one framebuffer, read it once."""
        _check_size(size)
        self._context.make_current()
        columns = min(len(cameras), MAX_SIZE // size)
        rows = -(-len(cameras) // columns)
        if rows * size > MAX_SIZE:
            return np.concatenate([self.render(model, data, [camera], size) for camera in cameras])
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        for i, camera in enumerate(cameras):
            self._camera.fixedcamid = camera
            if i == 0:
                mujoco.mjv_updateScene(model, data, self._option, None, self._camera, everything, self._scene)
            else:
                mujoco.mjv_updateCamera(model, data, self._camera, self._scene)
            view = mujoco.MjrRect((i % columns) * size, (i // columns) * size, size, size)
            mujoco.mjr_render(view, self._scene, self._gl)
        sheet = self._sheet.setdefault((columns, size), np.empty((rows * size, columns * size, 3), np.uint8))
        mujoco.mjr_readPixels(sheet, None, mujoco.MjrRect(0, 0, columns * size, rows * size), self._gl)
        tiles = sheet.reshape(rows, size, columns, size, 3)[:, ::-1].transpose(0, 2, 1, 3, 4)  # GL's rows go upwards
        return np.ascontiguousarray(tiles.reshape(-1, size, size, 3)[: len(cameras)])


def _gl_context() -> Any:
    """Return an offscreen context: EGL on Linux even if MuJoCo was imported before the choice could be made."""
    if os.environ.get("MUJOCO_GL") == "egl":
        from mujoco.egl import GLContext

        return GLContext(MAX_SIZE, MAX_SIZE)
    return mujoco.GLContext(MAX_SIZE, MAX_SIZE)


class RayRenderer:
    """One ray per pixel, shaded by the surface's direction to the camera and to a lamp."""

    name = "ray"

    def render(
        self, model: mujoco.MjModel, data: mujoco.MjData, cameras: Sequence[int], size: int
    ) -> UInt8[np.ndarray, "V S S 3"]:
        """Cast size x size rays per camera."""
        _check_size(size)
        return np.stack([self._draw(model, data, camera, size) for camera in cameras])

    def _draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: int, size: int) -> np.ndarray:
        ways = _directions(float(model.cam_fovy[camera]), size) @ data.cam_xmat[camera].reshape(3, 3).T
        count = len(ways)
        geoms, distance = np.empty(count, np.int32), np.empty(count)
        normals = np.empty((count, 3))
        groups = np.array([group < VISIBLE_GROUPS for group in range(6)], dtype=np.uint8)
        eye = data.cam_xpos[camera]
        mujoco.mj_multiRay(
            model, data, eye, ways.ravel(), groups, True, -1, geoms, distance, normals.ravel(), count, RAY_REACH
        )
        seen = geoms >= 0
        colours = np.empty((count, 3))
        colours[~seen] = model.vis.rgba.haze[:3]
        hit, direction, normal = geoms[seen], ways[seen], normals[seen]
        towards_lamp = data.light_xpos[0] - (eye + distance[seen, None] * direction)
        towards_lamp /= np.linalg.norm(towards_lamp, axis=1, keepdims=True)
        facing = np.abs(np.einsum("nd,nd->n", normal, direction))
        lit = np.clip(np.einsum("nd,nd->n", normal, towards_lamp), 0.0, 1.0)
        shade = AMBIENT + HEADLIGHT * facing + LAMP * lit * float(model.light_diffuse[0].mean() / 0.5)
        colours[seen] = model.geom_rgba[hit, :3] * shade[:, None]
        return np.rint(255 * np.clip(colours, 0.0, 1.0)).astype(np.uint8).reshape(size, size, 3)


def _check_size(size: int) -> None:
    if not 8 <= size <= MAX_SIZE:
        raise JepaflowError(f"a picture of {size} px cannot be drawn. Ask for 8 to {MAX_SIZE} px.")


@cache
def _directions(fovy: float, size: int) -> np.ndarray:
    """Return the unit ray directions of a camera in its own frame, (size * size, 3), rows from the top."""
    focal = size / 2 / np.tan(np.radians(fovy) / 2)
    across = (np.arange(size) + 0.5 - size / 2) / focal
    u, v = np.meshgrid(across, across)
    ways = np.stack([u, -v, -np.ones_like(u)], axis=-1).reshape(-1, 3)
    return np.asarray(ways / np.linalg.norm(ways, axis=1, keepdims=True))


_shared: dict[Any, Renderer] = {}
"""The process's renderers: one for all models without meshes, one per mesh model."""
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
    key = ("gl", id(model) if model.nmesh else None)  # a mesh model must stay alive: its renderer is keyed by it
    if key not in _shared and not _no_gl:
        try:
            _shared[key] = GLRenderer(model)
            log.info("rendering with OpenGL (%s)", os.environ.get("MUJOCO_GL", "default"))
        except Exception as error:  # every GL stack fails in its own way
            _no_gl.append(" ".join(str(error).split()) or type(error).__name__)
            if backend == "auto":
                log.warning("no OpenGL here (%s): rendering with rays, which is slower", _no_gl[0])
    if key in _shared:
        return _shared[key]
    if backend == "gl":
        raise JepaflowError(
            f"OpenGL does not work here ({_no_gl[0]}). Install EGL (Debian: libegl1 libgl1-mesa-dri) or use rays."
        )
    return _shared.setdefault("ray", RayRenderer())
