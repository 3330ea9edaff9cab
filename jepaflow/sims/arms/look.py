"""How a desk looks, as a vector: colours, cube sizes, light, table, camera shifts. It is part of the simulator's state.

Sizes and colours live in MuJoCo's *model*, not in its data; a state that did not hold them could not be drawn again.
Writing a vector changes a desk's own copy of the model, masses and inertias with the sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float

from jepaflow.sims.arms.desk import DENSITY, LIGHT, LIGHT_LEVEL, TABLE, Desk, look_at

SHIFTED = ("laptop", "phone")
"""Cameras that can be moved."""


def look_names(desk: Desk) -> tuple[str, ...]:
    """Return the names of the vector's numbers."""
    cubes = [f"cube{i}_{what}" for i in range(desk.layout.cubes) for what in ("red", "green", "blue", "half")]
    bins = [f"bin{i}_{what}" for i in range(desk.layout.bins) for what in ("red", "green", "blue")]
    rest = ["light_x", "light_y", "light_z", "light_level", "table_red", "table_green", "table_blue"]
    cameras = [f"{camera}_shift_{axis}" for camera in SHIFTED for axis in "xyz"]
    return (*cubes, *bins, *rest, *cameras)


def plain_look(
    desk: Desk, cubes: list[tuple[float, float, float]], bins: list[tuple[float, float, float]]
) -> np.ndarray:
    """Return the standard look with these colours."""
    half = desk.arm.workplace.cube
    parts = [*([*colour, half] for colour in cubes), *(list(colour) for colour in bins)]
    parts += [[*LIGHT, LIGHT_LEVEL], list(TABLE), [0.0] * 3 * len(SHIFTED)]
    return np.array([number for part in parts for number in part])


def factor_look(desk: Desk, values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of the look that these factors of variation decide, by name; colours are the task's to choose."""
    found: dict[str, float] = {}
    if "object.size" in values:
        half = desk.arm.workplace.cube * values["object.size"]
        found |= {f"cube{i}_half": half for i in range(desk.layout.cubes)}
    if "light.place" in values:
        angle, radius = np.radians(values["light.place"]), np.hypot(LIGHT[0], LIGHT[1])
        found |= {
            "light_x": float(radius * np.cos(angle)),
            "light_y": float(radius * np.sin(angle)),
            "light_z": LIGHT[2],
        }
    if "light.level" in values:
        found["light_level"] = values["light.level"]
    if "table.color" in values:
        found |= dict(zip(("table_red", "table_green", "table_blue"), values["table.color"], strict=True))
    for camera in SHIFTED:
        if f"camera.{camera}" in values:
            names = [f"{camera}_shift_{axis}" for axis in "xyz"]
            found |= dict(zip(names, values[f"camera.{camera}"], strict=True))
    return found


def read_look(desk: Desk) -> Float[np.ndarray, " n"]:
    """Return how the desk looks now."""
    model = desk.model
    parts: list[np.ndarray] = []
    for i in range(desk.layout.cubes):
        geom = model.geom(f"cube{i}")
        parts += [geom.rgba[:3], geom.size[:1]]
    parts += [model.geom_rgba[model.body(f"bin{i}").geomadr[0], :3] for i in range(desk.layout.bins)]
    parts += [model.light_pos[0], model.light_diffuse[0, :1], model.geom("table").rgba[:3]]
    parts += [model.cam_pos[model.camera(c).id] - desk.compiled.cam_pos[model.camera(c).id] for c in SHIFTED]
    return np.concatenate(parts)


def look_colours(desk: Desk, what: str) -> list[np.ndarray]:
    """Return the colours (red, green, blue) of the cubes ("cube") or the bins ("bin")."""
    model, count = desk.model, desk.layout.cubes if what == "cube" else desk.layout.bins
    return [model.geom_rgba[model.body(f"{what}{i}").geomadr[0], :3].copy() for i in range(count)]


def write_look(desk: Desk, look: Float[np.ndarray, " n"]) -> None:
    """Make the desk look like the vector. Only what differs costs anything."""
    now = read_look(desk)
    if np.array_equal(now, look):
        return
    model, at = desk.model, 0

    def take(count: int) -> np.ndarray:
        nonlocal at
        at += count
        return look[at - count : at]

    resized = False
    for i in range(desk.layout.cubes):
        model.geom(f"cube{i}").rgba[:3] = take(3)
        resized |= _resize(desk, i, float(take(1)[0]))
    for i in range(desk.layout.bins):
        first, count = model.body(f"bin{i}").geomadr[0], model.body(f"bin{i}").geomnum[0]
        model.geom_rgba[first : first + count, :3] = take(3)
    model.light_pos[0] = take(3)
    model.light_dir[0] = -model.light_pos[0] / np.linalg.norm(model.light_pos[0])
    model.light_diffuse[0] = take(1)
    model.geom("table").rgba[:3] = take(3)
    for camera in SHIFTED:
        _eye, target, _fovy = getattr(desk.arm.workplace, camera)
        where = model.camera(camera).id
        model.cam_pos[where] = desk.compiled.cam_pos[where] + take(3)
        model.cam_quat[where] = look_at(model.cam_pos[where], target)
    if resized:
        _settle_constants(desk)


def _resize(desk: Desk, index: int, half: float) -> bool:
    """Set a cube's size with its mass and inertia; return whether anything changed."""
    model, geom = desk.model, desk.model.geom(f"cube{index}")
    if geom.size[0] == half:
        return False
    body = desk.cube_bodies[index]
    geom.size[:] = half
    geom.rbound[:] = half * np.sqrt(3.0)
    model.geom_aabb[geom.id, 3:] = half
    mass = DENSITY * (2 * half) ** 3
    model.body_mass[body] = mass
    model.body_inertia[body] = mass * (2 * half) ** 2 / 6
    return True


def _settle_constants(desk: Desk) -> None:
    """Recompute what MuJoCo derives from masses; it uses a data of its own."""
    mujoco.mj_setConst(desk.model, mujoco.MjData(desk.model))
