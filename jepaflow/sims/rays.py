"""Pictures of a MuJoCo scene by rays: `mj_multiRay` and a small shading rule in numpy. No GL library, bitwise repeatable.

Most of a desk's picture is desk. So rays are cast only where the box around some geom is seen; everywhere else the ray's
meeting with the ground plane is one division, and beyond the plane's rim is the background. That gives exactly what
casting all rays does, several times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from jepaflow.common.errors import JepaflowError

VISIBLE_GROUPS = 3
"""Geoms of groups 0 to 2 are drawn; collision helpers live in group 3."""
HIDDEN_BELOW = -0.5
"""m: what is parked lower than this is under the ground, and not drawn."""
MAX_SIZE = 1024
"""Largest picture side in px."""
RAY_REACH = 10.0
"""m beyond which a ray sees the background."""
PLAIN = (0.5, 0.5, 0.5, 1.0)
"""MuJoCo's colour of a geom that was given none: its material's colour shows."""
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
_EDGE = 0.51
"""px from a pixel's edge to its middle, where its ray passes, and a little."""
_GROUPS = np.array([group < VISIBLE_GROUPS for group in range(6)], dtype=np.uint8)


def check_size(size: int) -> None:
    """Refuse a picture side that cannot be drawn.

    Raises:
        JepaflowError: it is not 8 to MAX_SIZE px.
    """
    if not 8 <= size <= MAX_SIZE:
        raise JepaflowError(f"a picture of {size} px cannot be drawn. Ask for 8 to {MAX_SIZE} px.")


@cache
def directions(fovy: float, size: int) -> Float[np.ndarray, "3 n"]:
    """Return the unit directions of a camera's pixels in its own frame, (3, size * size), rows from the top."""
    focal = size / 2 / np.tan(np.radians(fovy) / 2)
    across = (np.arange(size) + 0.5 - size / 2) / focal
    u, v = np.meshgrid(across, across)
    ways = np.stack([u, -v, -np.ones_like(u)]).reshape(3, -1)
    return np.asarray(ways / np.linalg.norm(ways, axis=0))


def ground_plane(model: mujoco.MjModel) -> int | None:
    """Return the one plane of a model if it is its first geom and lies flat in the world, else None."""
    planes = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE.value)
    flat = planes.size == 1 and planes[0] == 0 and model.geom_bodyid[0] == 0 and model.geom_quat[0, 0] == 1.0
    return 0 if flat else None


def meets_ground(
    model: mujoco.MjModel, data: mujoco.MjData, eye: Float[np.ndarray, " 3"], ways: Float[np.ndarray, "3 n"]
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Return how far along each ray the plane of geom 0 is (m), and whether the ray meets it there, inside its rim."""
    height = eye[2] - data.geom_xpos[0, 2]
    meets = (ways[2] < 0.0) & (height > 0.0)
    distance = np.divide(-height, ways[2], out=np.zeros_like(ways[2]), where=meets)
    meets &= distance <= RAY_REACH
    for axis in range(2):
        half = model.geom_size[0, axis]
        if half > 0.0:  # MuJoCo's planes of size 0 are endless
            meets &= np.abs(eye[axis] - data.geom_xpos[0, axis] + distance * ways[axis]) <= half
    return distance, meets


class RayRenderer:
    """One ray per pixel, shaded by the headlight and the model's first lamp.

    The bare ground of a camera is kept until something about it changes: most cameras and lamps stand still.
    """

    name = "ray"

    def __init__(self) -> None:
        self._grounds: dict[tuple[int, int], _Ground] = {}

    def render(
        self, model: mujoco.MjModel, data: mujoco.MjData, cameras: Sequence[int], size: int
    ) -> UInt8[np.ndarray, "V S S 3"]:
        """Draw size x size pixels per camera. The data's positions (and camera poses) must be up to date."""
        check_size(size)
        return np.stack([self._draw(model, data, camera, size) for camera in cameras])

    def _draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: int, size: int) -> UInt8[np.ndarray, "S S 3"]:
        key = (camera, size)
        looks = _looks_of_ground(model, data, camera)
        if key not in self._grounds or self._grounds[key].looks != looks:
            self._grounds[key] = _paint_ground(model, data, camera, size, looks)
        ground = self._grounds[key]
        picture = ground.picture.copy()
        if ground.flat:
            near = np.flatnonzero(_where_geoms_are(model, data, camera, size))
        else:
            near = np.arange(size * size)
        ways = ground.ways[:, near]
        geoms, distance, normals = _cast(model, data, data.cam_xpos[camera], ways)
        hit = geoms >= 0
        shade = _shade(model, data, camera, ways[:, hit], distance[hit], normals[hit].T)
        picture[near] = _bytes(model.vis.rgba.haze[:3])
        picture[near[hit]] = _bytes(geom_colours(model)[geoms[hit]] * shade[:, None])
        return picture.reshape(size, size, 3)


@dataclass(frozen=True)
class _Ground:
    """What a camera sees of the ground and the background when nothing stands there."""

    looks: bytes
    """All that it depends on."""
    ways: Float[np.ndarray, "3 n"]
    """The pixels' unit directions in the world."""
    picture: UInt8[np.ndarray, "n 3"]
    flat: bool
    """Whether there is a ground; without one, rays are cast everywhere."""


def _looks_of_ground(model: mujoco.MjModel, data: mujoco.MjData, camera: int) -> bytes:
    """Return the bytes of all numbers that the ground's picture depends on."""
    head = model.vis.headlight
    parts = [data.cam_xpos[camera], data.cam_xmat[camera], model.cam_fovy[camera], model.vis.rgba.haze]
    parts += [head.ambient, head.diffuse]
    if model.nlight:
        parts += [data.light_xpos[0], data.light_xdir[0], model.light_diffuse[0]]
        parts += [model.light_cutoff[0], model.light_exponent[0]]
    if ground_plane(model) is not None:
        parts += [geom_colours(model)[0], model.geom_size[0], data.geom_xpos[0]]
    return np.concatenate([np.ravel(part) for part in parts]).astype(float).tobytes()


def _paint_ground(model: mujoco.MjModel, data: mujoco.MjData, camera: int, size: int, looks: bytes) -> _Ground:
    """Paint the plane wherever a ray meets it, the background elsewhere."""
    ways = data.cam_xmat[camera].reshape(3, 3) @ directions(float(model.cam_fovy[camera]), size)
    picture = np.empty((size * size, 3), np.uint8)
    picture[:] = _bytes(model.vis.rgba.haze[:3])
    flat = ground_plane(model) is not None
    if flat:
        distance, meets = meets_ground(model, data, data.cam_xpos[camera], ways)
        up = np.array([[0.0], [0.0], [1.0]])
        shade = _shade(model, data, camera, ways[:, meets], distance[meets], up)
        picture[meets] = _bytes(geom_colours(model)[0] * shade[:, None])
    return _Ground(looks, ways, picture, flat)


def _bytes(colours: Float[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 3"]:
    """Return colours in 0..1, and brighter ones, as bytes."""
    return np.asarray(np.rint(255.0 * np.minimum(colours, 1.0)), dtype=np.uint8)


def _where_geoms_are(model: mujoco.MjModel, data: mujoco.MjData, camera: int, size: int) -> Bool[np.ndarray, "S S"]:
    """Return the pixels that lie in the rectangle around the box of any drawn geom but the ground."""
    drawn = np.flatnonzero((model.geom_group < VISIBLE_GROUPS) & (data.geom_xpos[:, 2] > HIDDEN_BELOW))[1:]
    boxes, view = model.geom_aabb[drawn], data.cam_xmat[camera].reshape(3, 3)
    corners = boxes[:, None, :3] + boxes[:, None, 3:] * _CORNERS
    corners = corners @ (view.T @ data.geom_xmat[drawn].reshape(-1, 3, 3)).transpose(0, 2, 1)
    corners += ((data.geom_xpos[drawn] - data.cam_xpos[camera]) @ view)[:, None]
    depth = -corners[..., 2]  # the camera looks along its -z
    behind = depth.min(axis=1) <= 1e-6
    focal = size / 2 / math.tan(math.radians(model.cam_fovy[camera]) / 2)
    places = size / 2 + corners[..., :2] * (focal, -focal) / np.maximum(depth, 1e-6)[..., None]
    low, high = np.ceil(places.min(axis=1) - _EDGE), np.floor(places.max(axis=1) + _EDGE)
    low[behind], high[behind] = 0, size  # it reaches behind the camera: it may be anywhere
    mask = np.zeros((size, size), dtype=bool)
    ends = np.clip(np.concatenate([low, high], axis=1), 0, size).astype(int)
    for left, top, right, bottom in ends.tolist():
        mask[top:bottom, left:right] = True
    return mask


def geom_colours(model: mujoco.MjModel) -> Float[np.ndarray, "g 3"]:
    """Return each geom's colour: its own, or its material's if it has none of its own."""
    if not model.nmat:
        return np.asarray(model.geom_rgba[:, :3], dtype=float)
    dressed = (model.geom_matid >= 0) & np.all(model.geom_rgba == np.array(PLAIN, dtype=np.float32), axis=1)
    colours = np.where(dressed[:, None], model.mat_rgba[model.geom_matid, :3], model.geom_rgba[:, :3])
    return np.asarray(colours, dtype=float)


def _cast(
    model: mujoco.MjModel, data: mujoco.MjData, eye: np.ndarray, ways: Float[np.ndarray, "3 n"]
) -> tuple[Int32[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Return the geom that each ray meets first (-1: none), how far away (m), and the surface's normal."""
    count = ways.shape[1]
    geoms, distance, normals = np.full(count, -1, np.int32), np.zeros(count), np.zeros((count, 3))
    if count:
        rays, flat = ways.T.ravel(), normals.ravel()
        mujoco.mj_multiRay(model, data, eye, rays, _GROUPS, True, -1, geoms, distance, flat, count, RAY_REACH)
    return geoms, distance, normals


def _shade(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    camera: int,
    ways: Float[np.ndarray, "3 n"],
    distance: Float[np.ndarray, " n"],
    normals: Float[np.ndarray, "3 m"],
) -> Float[np.ndarray, " n"]:
    """Return how brightly each hit is lit, by OpenGL's rule for the headlight and the first lamp, without highlights.

    `normals` may be one for all.
    """
    head, back = model.vis.headlight, data.cam_xmat[camera, [2, 5, 8]]  # the headlight shines along the camera's -z
    bright = np.full(ways.shape[1], float(head.ambient.mean()))
    bright += float(head.diffuse.mean()) * np.maximum(back @ normals, 0.0)
    if not model.nlight:
        return bright
    lamp, aim = data.light_xpos[0] - data.cam_xpos[camera], data.light_xdir[0]
    x, y, z = (lamp[axis] - distance * ways[axis] for axis in range(3))
    away = np.sqrt(x * x + y * y + z * z)
    lit = np.maximum(normals[0] * x + normals[1] * y + normals[2] * z, 0.0) / away
    beam = -(aim[0] * x + aim[1] * y + aim[2] * z) / away
    cutoff, exponent = math.cos(math.radians(float(model.light_cutoff[0]))), float(model.light_exponent[0])
    lit *= np.where(beam >= cutoff, _power(np.maximum(beam, 0.0), exponent), 0.0)
    bright += lit * float(model.light_diffuse[0].mean())
    return bright


def _power(base: Float[np.ndarray, " n"], exponent: float) -> Float[np.ndarray, " n"]:
    """Return base ** exponent; by squaring where that is possible, which numpy does not do."""
    if exponent != int(exponent):
        return np.asarray(base**exponent)
    out, count = np.ones_like(base), int(exponent)
    while count:
        if count & 1:
            out *= base
        base, count = base * base, count >> 1
    return out
