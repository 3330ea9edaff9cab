"""Violations of physics on a desk: a cube jumps, vanishes, hangs in the air, falls through the table, is no obstacle.

What MuJoCo keeps in its *model* (who touches whom, colours) is not part of a state, so an edit notes it and puts it back.
Gravity is taken from one body by an upward force of its weight: `body_gravcomp` counts only where the compiled model had
some already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from jaxtyping import Bool, Float

from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.factors import PALETTE, nearest_colour
from jepaflow.sims.arms.tasks import clear_of_bins, free_place

JUMP = 0.06
"""m that a cube jumps at least."""
FALL = 0.02
"""m that a let-go cube must fall within FALLING control steps to count as falling."""
FALLING = 6
MOVED = 0.015
"""m by which the arm must move a cube that it will then pass through."""
LYING = 0.004
"""m above its rest height up to which a cube lies."""
CHANGED = 20
"""Levels of 255 by which a pixel must change to count."""
TRIES = 60


class ArmEdits:
    """Violations around an arm: all are about one cube, drawn per episode.

    Args:
        world: the world to be edited; its task has a cube.
    """

    kinds: Mapping[str, str] = {
        "teleport": f"the cube jumps at least {100 * JUMP:g} cm to a free place on the table",
        "vanish": "the cube is taken away while it is mostly hidden, and is missing where it should be seen again",
        "vanish_seen": "the cube vanishes in full view",
        "float": "the cube hangs in the air where it should fall",
        "pass": "the cube falls through the bin's floor or the table",
        "ghost": "the jaws go through the cube, which stays where it lies",
        "colour": "the cube changes its colour (no law of physics forbids it)",
    }
    laws = frozenset({"float", "pass", "ghost"})

    def __init__(self, world: ArmEnv) -> None:
        self.world, self.cube = world, 0
        names = list(world.state_names)
        self._columns = [
            [names.index(f"cube{i}_{what}") for what in ("x", "y", "z", "touched")]
            for i in range(world.rules.layout.cubes)
        ]

    def begin(self, rng: np.random.Generator) -> None:
        """Choose the cube."""
        there = [i for i in range(self.world.rules.layout.cubes) if not self.world.desk.is_parked(i)]
        self.cube = int(rng.choice(there))

    def chances(
        self, kind: str, states: Float[np.ndarray, "T d"], actions: Float[np.ndarray, "T A"], block: int
    ) -> Bool[np.ndarray, " T"]:
        """Return where an edit would show: before a fall, before the arm moves the cube; the others anywhere."""
        if kind not in self.laws:
            return np.ones(len(states), dtype=bool)
        place, touched = states[:, self._columns[self.cube][:3]], states[:, self._columns[self.cube][3]] > 0
        able = np.zeros(len(states), dtype=bool)
        if kind == "ghost":
            half = self.world.desk.cube_half(self.cube)
            for t in np.flatnonzero((place[:, 2] < half + LYING) & ~touched):
                ahead = slice(t, t + 2 * block + 1)
                way = np.linalg.norm(place[ahead] - place[t], axis=1).max()
                able[t] = way >= MOVED and touched[ahead].any()
            return able
        for t in np.flatnonzero(touched[:-1] & ~touched[1:]) + 1:  # let go of in this frame
            if place[t, 2] - place[t : t + FALLING + 1, 2].min() >= FALL:
                able[max(0, t - block) : t] = True
        return able

    def seen(self, shown: dict[str, np.ndarray]) -> float:
        """Return which share of the cube's outline is seen as cube now, over all cameras; `shown` is the observation."""
        desk, keys = self.world.desk, ("pixels", *self.world.cameras[1:])
        geom = desk.model.geom(f"cube{self.cube}")
        alpha = float(geom.rgba[3])
        geom.rgba[3] = 0.0
        try:
            without = self.world.observation()
        finally:
            geom.rgba[3] = alpha
        apart = [np.abs(shown[key].astype(np.int16) - without[key]).max(-1) > CHANGED for key in keys]
        outline = sum(self._outline(camera) for camera in self.world.cameras)
        return float(min(1.0, np.sum(apart) / outline)) if outline > 0 else 0.0

    def _outline(self, camera: str) -> float:
        """Return the area (px) of the cube's outline in a camera's picture, as if nothing were before it."""
        desk, size = self.world.desk, self.world.image_size
        number = desk.model.camera(camera).id
        half, body = desk.cube_half(self.cube), desk.cube_bodies[self.cube]
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        corners = desk.data.xpos[body] + half * signs @ desk.data.xmat[body].reshape(3, 3).T
        eye = (corners - desk.data.cam_xpos[number]) @ desk.data.cam_xmat[number].reshape(3, 3)
        focal = 0.5 * size / np.tan(np.radians(desk.model.cam_fovy[number]) / 2)
        if (eye[:, 2] >= 0).any():
            return 0.0  # beside or behind the camera
        from scipy.spatial import ConvexHull

        return float(ConvexHull(focal * eye[:, :2] / -eye[:, 2:]).volume)  # a plane hull's "volume" is its area

    @contextmanager
    def edited(self, kind: str, rng: np.random.Generator) -> Iterator[bool]:
        """Edit the world as it stands."""
        world, model, data = self.world, self.world.desk.model, self.world.desk.data
        before = world.get_state()
        kept = [(part, part.copy()) for part in (model.geom_contype, model.geom_conaffinity, model.geom_rgba)]
        try:
            yield self._edit(kind, rng)
        finally:
            for part, values in kept:
                part[...] = values
            data.xfrc_applied[:] = 0.0
            world.set_state(before)

    def _edit(self, kind: str, rng: np.random.Generator) -> bool:
        desk = self.world.desk
        body = desk.cube_bodies[self.cube]
        if kind == "teleport":
            return self._teleport(rng)
        if kind in ("vanish", "vanish_seen"):
            desk.park_cube(self.cube)
            desk.update()
        elif kind == "colour":
            colour = desk.model.geom(f"cube{self.cube}").rgba
            others = [name for name in PALETTE if name != nearest_colour(colour[:3])]
            colour[:3] = PALETTE[str(rng.choice(others))]
        elif kind == "float":
            desk.data.xfrc_applied[body, :3] = -desk.model.body_mass[body] * desk.model.opt.gravity
        else:
            self._untouchable(kind)
        return True

    def _untouchable(self, kind: str) -> None:
        """Let nothing stop the cube but the arm (pass), or the arm alone go through it (ghost): masks of who meets whom."""
        model, mine = self.world.desk.model, self.world.desk.cube_bodies[self.cube]
        cube = model.geom_bodyid == mine
        standing = ((model.body_mocapid >= 0) | (np.arange(model.nbody) == 0))[model.geom_bodyid]
        standing |= np.isin(model.geom_bodyid, [b for b in self.world.desk.cube_bodies if b != mine])
        standing &= model.geom_contype > 0
        if kind == "pass":
            model.geom_contype[cube] = model.geom_conaffinity[cube] = 2
            arm = ~cube & ~standing & (model.geom_contype > 0)
            model.geom_conaffinity[arm] |= 2
        else:
            model.geom_contype[cube] = model.geom_conaffinity[cube] = 2
            model.geom_conaffinity[standing] |= 2

    def _teleport(self, rng: np.random.Generator) -> bool:
        """Lay the cube, at rest, where nothing is; return whether there was such a place."""
        desk, place = self.world.desk, self.world.arm.workplace
        here = desk.cube(self.cube)[:2].copy()
        others = [desk.cube(i)[:2].copy() for i in range(desk.layout.cubes) if i != self.cube]
        across = (place.across[0], -place.across[0])
        for _ in range(TRIES):
            spot = free_place(desk, rng, [here], JUMP, across)
            if spot is None or not clear_of_bins(desk, spot):
                continue
            if any(np.hypot(*(spot - other)) < 3.4 * place.cube for other in others):
                continue
            desk.put_cube(self.cube, float(spot[0]), float(spot[1]), float(rng.uniform(-np.pi / 4, np.pi / 4)))
            desk.update()
            if self._stands_free():
                self.world.set_state(self.world.get_state())  # in float32, as every state
                return True
        return False

    def _stands_free(self) -> bool:
        """Return whether the cube touches nothing but the table."""
        desk = self.world.desk
        cube, table = desk.cube_bodies[self.cube], desk.model.geom("table").id
        pairs = desk.data.contact.geom[: desk.data.ncon]
        mine = desk.model.geom_bodyid[pairs] == cube
        return all(other == table for pair, own in zip(pairs, mine) if own.any() for other in pair[~own])
