"""The tasks: what lies on the desk, where, when it is done, and how a person would say it.

A task is a small class with four words: `layout`, `arrange`, `success`, `distance`. Places are drawn inside the arm's
workplace; whatever a factor fixes is kept. Success asks for a *released* object at rest, so a cube that is only passing
by does not count.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.desk import BIN_WALL, DISTRACTORS, Desk, Layout
from jepaflow.sims.arms.factors import PALETTE

STILL = 0.05
"""m/s below which a cube is at rest."""
REACHED = 0.015
"""m between fingertips and target that count as touching it."""
PUSHED = 1.67
"""Standard half-sides between a cube and its place on the table: 2.5 cm for a cube of 3 cm."""
LIFTED = 0.05
"""m above the table's rest height."""


@dataclass
class Scene:
    """What an episode is about: the colours that its sentence names, and what stands where."""

    values: dict[str, Any]
    colours: list[str] = field(default_factory=list)
    """Per cube."""
    bins: list[str] = field(default_factory=list)
    """Colour per bin."""
    cubes: int = 0
    """Cubes that are there; the others are parked."""
    moves: tuple[tuple[int, int], ...] = ((0, 0),)
    """What `place` asks for, in order: which cube into which bin."""


def other_colour(taken: list[str]) -> str:
    """Return the palette's first colour that is not taken."""
    return next(name for name in PALETTE if name not in taken)


class Task(ABC):
    """What all tasks share. Subclasses say what lies on the desk and when it is done."""

    name = ""
    layout = Layout()
    sentences: tuple[str, ...] = ()
    tracked = 4
    """Where the state holds the point that the task is about: 0 the fingertips, 4 the first cube."""
    goal_distance = 0.025
    """m from a goal state's places that count as reaching it (closed-loop protocol)."""
    steps = 160
    """Control steps that an episode may take."""
    lacks: tuple[str, ...] = ("obstacle", "bin.color")
    """Factors of variation that the task has not: there must be room for an obstacle between start and goal."""

    def colours(self, values: dict[str, Any], rng: np.random.Generator) -> Scene:
        """Choose the colours of cubes and bins."""
        count = self.layout.cubes
        first = values["object.color"] or "red"
        names = [first] * min(1, count)
        while len(names) < count:
            names.append(other_colour(names))
        bins: list[str] = []
        for i in range(self.layout.bins):
            bins.append(values["bin.color"] or other_colour(names + bins) if i == 0 else names[i % count])
        return Scene(values, names, bins, count)

    @abstractmethod
    def arrange(self, desk: Desk, scene: Scene, rng: np.random.Generator) -> None:
        """Put everything in its place; the arm is in its first pose already."""

    @abstractmethod
    def success(self, desk: Desk, scene: Scene) -> bool:
        """Return whether the task is done."""

    @abstractmethod
    def distance(self, desk: Desk, scene: Scene) -> float:
        """Return how far the task is from done, m."""

    def sentence(self, scene: Scene, rng: np.random.Generator | None = None) -> str:
        """Return what a person would say; any paraphrase if `rng` is given, else the first."""
        text = self.sentences[int(rng.integers(len(self.sentences))) if rng is not None else 0]
        cube = scene.colours[0] if scene.colours else ""
        other = scene.colours[1] if len(scene.colours) > 1 else ""
        return text.format(cube=cube, other=other, bin=scene.bins[0] if scene.bins else "")


def free_place(
    desk: Desk,
    rng: np.random.Generator,
    taken: list[np.ndarray],
    gap: float,
    across: tuple[float, float],
    beyond: float = 0.0,
) -> np.ndarray | None:
    """Draw a place on the table that is `gap` m away from all taken ones; None where there is hardly any.

    It lies in the workplace's range of x, or up to `beyond` m farther from the arm.
    """
    near = (desk.arm.workplace.near[0], desk.arm.workplace.near[1] + beyond)
    for _ in range(200):
        place = np.array([rng.uniform(*near), rng.uniform(*across)])
        if all(np.hypot(*(place - other[:2])) >= gap for other in taken):
            return place
    return None


def lay_cubes(desk: Desk, scene: Scene, rng: np.random.Generator, across: tuple[float, float]) -> list[np.ndarray]:
    """Lay the scene's cubes, apart from each other so that a gripper fits between; return their places.

    Raises:
        JepaflowError: a fixed place leaves no room for the others.
    """
    values, gap = scene.values, 3.4 * desk.arm.workplace.cube
    check_place(desk, values["object.place"])
    for _ in range(100):  # places drawn one after the other may leave none for the last: begin again
        places: list[np.ndarray] = []
        while len(places) < scene.cubes:
            first = values["object.place"] if not places else None
            place = np.array(first) if first is not None else free_place(desk, rng, places, gap, across)
            if place is None:
                break
            if first is not None or clear_of_bins(desk, place):
                places.append(place)
        if len(places) == scene.cubes:
            break
    else:
        raise JepaflowError("the desk is too full: no free place was found. Fix fewer places or use smaller cubes.")
    for i in range(desk.layout.cubes):
        if i >= scene.cubes:
            desk.park_cube(i)
            continue
        yaw = rng.uniform(-math.pi / 4, math.pi / 4)
        if i == 0 and values["object.yaw"] is not None:
            yaw = math.radians(values["object.yaw"])
        desk.put_cube(i, places[i][0], places[i][1], yaw)
    return places


def check_place(desk: Desk, place: tuple[float, float] | None) -> None:
    """Refuse a fixed place out of the arm's reach, or in a bin.

    Raises:
        JepaflowError: it is.
    """
    if place is None:
        return
    near, far = desk.arm.workplace.near
    side = max(abs(edge) for edge in desk.arm.workplace.across)
    if not (near - 0.02 <= place[0] <= far + 0.02 and abs(place[1]) <= side + 0.02):
        raise JepaflowError(
            f"object.place cannot be {place[0]:g},{place[1]:g}: the arm does not reach it. "
            f"Give x from {near - 0.02:g} to {far + 0.02:g} and y from {-side - 0.02:g} to {side + 0.02:g}."
        )
    if not clear_of_bins(desk, np.asarray(place)):
        raise JepaflowError(
            f"object.place cannot be {place[0]:g},{place[1]:g}: a bin stands there. Give another place."
        )


def clear_of_bins(desk: Desk, place: np.ndarray, room: float | None = None) -> bool:
    """Return whether something of half-size `room` (m; None: a cube) at a place stands clear of all bins."""
    room = 1.5 * desk.arm.workplace.cube if room is None else room
    reach = desk.arm.workplace.bin_half + 2 * BIN_WALL + room
    bins = [desk.place(f"bin{i}")[:2] for i in range(desk.layout.bins) if desk.is_there(f"bin{i}")]
    return all(np.abs(place[:2] - other).max() > reach for other in bins)


def clutter(desk: Desk, count: int, taken: list[np.ndarray], rng: np.random.Generator) -> None:
    """Put distractors where nothing else is: away from bins, cubes and the taken places (x, y), which get longer by theirs."""
    place = desk.arm.workplace
    taken += [desk.cube(i)[:2] for i in range(desk.layout.cubes)]
    across = (place.across[0] - 0.03, -place.across[0] + 0.03)
    for i in range(DISTRACTORS):
        desk.put(f"distractor{i}", None)
    for i in range(count):
        spots = (free_place(desk, rng, taken, 0.03 + 1.5 * place.cube, across, 0.04) for _ in range(200))
        spot = next((spot for spot in spots if spot is not None and clear_of_bins(desk, spot, 0.03)), None)
        if spot is None:
            return  # the desk is full: fewer distractors
        desk.put(f"distractor{i}", (spot[0], spot[1], 0.0), float(rng.uniform(-np.pi, np.pi)))
        taken.append(spot)


def in_bin(desk: Desk, cube: int, which: int, layers: int = 1) -> bool:
    """Return whether a cube lies in a bin, let go of and at rest; on top of another one with two ``layers``."""
    away = np.abs(desk.cube(cube)[:2] - desk.place(f"bin{which}")[:2])
    low = desk.cube(cube)[2] < desk.cube_half(cube) * 2 * layers + 0.01
    inside = bool((away < desk.arm.workplace.bin_half).all() and low)
    return inside and desk.cube_speed(cube) < STILL and not all(desk.touched(cube))


class Reach(Task):
    """Touch a ball that stands in the air."""

    name = "reach"
    layout = Layout(marker="ball")
    lacks = ("obstacle", "bin.color", "object.color", "object.size", "object.yaw")
    tracked = 0
    steps = 60
    sentences = (
        "Touch the green ball.",
        "Move the gripper to the green ball.",
        "Reach for the green ball.",
        "Bring the fingertips to the ball.",
    )

    def arrange(self, desk: Desk, scene: Scene, rng: np.random.Generator) -> None:
        """Put the ball anywhere in the workplace, not where the fingertips are already."""
        place, values = desk.arm.workplace, scene.values
        desk.update()
        for _ in range(1000):
            x, y = rng.uniform(*place.near), rng.uniform(place.across[0], -place.across[0])
            check_place(desk, values["object.place"])
            if values["object.place"] is not None:
                x, y = values["object.place"]
            ball = np.array([x, y, rng.uniform(*place.reach_height)])
            if np.linalg.norm(ball - desk.tcp()) > 2 * REACHED:
                break
        desk.put("marker", ball.tolist())

    def distance(self, desk: Desk, scene: Scene) -> float:
        """Fingertips to ball."""
        return float(np.linalg.norm(desk.tcp() - desk.place("marker")))

    def success(self, desk: Desk, scene: Scene) -> bool:
        """Touching."""
        return self.distance(desk, scene) < REACHED


class Push(Task):
    """Push a cube along the table onto a disc."""

    name = "push"
    layout = Layout(cubes=1, marker="disc")
    steps = 240
    sentences = (
        "Push the {cube} cube onto the green disc.",
        "Slide the {cube} block to the green spot.",
        "Move the {cube} cube to the green circle without lifting it.",
        "Shove the {cube} cube over to the green disc.",
    )

    def arrange(self, desk: Desk, scene: Scene, rng: np.random.Generator) -> None:
        """Lay the cube, and the disc 4 to 12 cm from it (as far as the desk is big)."""
        place = desk.arm.workplace
        cube = lay_cubes(desk, scene, rng, place.across)[0]
        low, high = 2.7 * place.cube, min(0.12, 0.9 * (place.across[1] - place.across[0]))
        for _ in range(1000):
            disc = np.array([rng.uniform(*place.near), rng.uniform(*place.across)])
            if low <= np.hypot(*(disc - cube)) <= high:
                break
        else:
            raise JepaflowError("no place for the disc was found near the cube. Fix object.place nearer the middle.")
        desk.put("marker", (disc[0], disc[1], 0.0))

    def distance(self, desk: Desk, scene: Scene) -> float:
        """Cube to disc, in the table's plane."""
        return float(np.hypot(*(desk.cube(0)[:2] - desk.place("marker")[:2])))

    def success(self, desk: Desk, scene: Scene) -> bool:
        """On the disc, at rest, on the table."""
        on_table = desk.cube(0)[2] < desk.cube_half(0) + 0.005
        near = self.distance(desk, scene) < PUSHED * desk.arm.workplace.cube
        return bool(on_table and near and desk.cube_speed(0) < STILL)


class Lift(Task):
    """Pick a cube up and hold it."""

    name = "lift"
    layout = Layout(cubes=1)
    steps = 200
    sentences = (
        "Lift the {cube} cube.",
        "Pick up the {cube} block.",
        "Raise the {cube} cube off the table.",
        "Grab the {cube} cube and hold it up.",
    )

    def arrange(self, desk: Desk, scene: Scene, rng: np.random.Generator) -> None:
        """Lay the cube."""
        lay_cubes(desk, scene, rng, desk.arm.workplace.across)

    def distance(self, desk: Desk, scene: Scene) -> float:
        """Height that is missing."""
        return max(0.0, LIFTED - float(desk.cube(0)[2] - desk.cube_half(0)))

    def success(self, desk: Desk, scene: Scene) -> bool:
        """High, and between the jaws."""
        return self.distance(desk, scene) == 0.0 and desk.held(0)


class PickPlace(Task):
    """Put a cube into a bin."""

    name = "pick_place"
    layout = Layout(cubes=1, bins=1)
    steps = 220
    lacks = ()
    sentences = (
        "Put the {cube} cube in the {bin} bin.",
        "Pick up the {cube} block and place it in the {bin} box.",
        "Drop the {cube} cube into the {bin} bin.",
        "Move the {cube} cube into the {bin} container.",
        "The {cube} cube belongs in the {bin} bin.",
    )

    def arrange(self, desk: Desk, scene: Scene, rng: np.random.Generator) -> None:
        """Lay the cube, the bin to its left."""
        desk.put("bin0", (*desk.arm.workplace.bins[0], 0.0))
        lay_cubes(desk, scene, rng, desk.arm.workplace.across)

    def distance(self, desk: Desk, scene: Scene) -> float:
        """Cube to the bin's floor."""
        return float(np.linalg.norm(desk.cube(0) - desk.place("bin0") - [0, 0, desk.cube_half(0)]))

    def success(self, desk: Desk, scene: Scene) -> bool:
        """In the bin, let go of, at rest."""
        return in_bin(desk, 0, 0)


class Sort(Task):
    """Two colours of cubes, two bins: each cube into the bin of its colour."""

    name = "sort"
    layout = Layout(cubes=4, bins=2)
    steps = 760
    sentences: tuple[str, ...] = (
        "Sort the cubes into the bins of their colour.",
        "Put every {cube} cube in the {cube} bin and every {other} cube in the {other} bin.",
        "Tidy up: {cube} cubes into the {cube} bin, {other} cubes into the {other} one.",
        "Sort the {cube} and the {other} blocks by colour.",
    )

    def colours(self, values: dict[str, Any], rng: np.random.Generator) -> Scene:
        """Two colours, taking turns; two to four cubes."""
        first = values["object.color"] or "red"
        second = other_colour([first])
        return Scene(values, [first, second, first, second], [first, second], int(rng.integers(2, 5)))

    def arrange(self, desk: Desk, scene: Scene, rng: np.random.Generator) -> None:
        """Lay the cubes between the bins; which bin stands left is drawn."""
        place = desk.arm.workplace
        between = 0.62 * place.bins[0][1]
        order = [0, 1] if rng.random() < 0.5 else [1, 0]
        for which, spot in zip(order, place.bins, strict=True):
            desk.put(f"bin{which}", (*spot, 0.0))
        lay_cubes(desk, scene, rng, (-between, between))

    def target(self, cube: int) -> int:
        """Return the bin that a cube belongs in."""
        return cube % 2

    def left_over(self, desk: Desk, scene: Scene) -> list[int]:
        """Return the cubes that are not in their bins yet."""
        return [i for i in range(scene.cubes) if not in_bin(desk, i, self.target(i))]

    def distance(self, desk: Desk, scene: Scene) -> float:
        """Sum of the distances of the cubes that are not in their bins."""
        return float(
            sum(np.linalg.norm(desk.cube(i) - desk.place(f"bin{self.target(i)}")) for i in self.left_over(desk, scene))
        )

    def success(self, desk: Desk, scene: Scene) -> bool:
        """All in their bins."""
        return not self.left_over(desk, scene)


class Place(Sort):
    """Two cubes, two bins, any colours: the cube that is named into the bin that is named, perhaps the other one after it.

    It is `sort`'s world (the same state), so that a model of the one knows the other.
    """

    name = "place"
    steps = 440
    lacks = ("obstacle",)
    sentences = PickPlace.sentences

    def colours(self, values: dict[str, Any], rng: np.random.Generator) -> Scene:
        """Draw two cubes, two bins and, in half of the episodes, a second move."""
        cubes = _two(PLACE_CUBES, values["object.color"], rng)
        bins = _two(PLACE_BINS, values["bin.color"], rng)
        moves = ((0, 0), (1, int(rng.integers(2))))[: 1 + int(rng.random() < 0.5)]
        return Scene(values, [*cubes, *cubes], bins, 2, moves)

    def left_over(self, desk: Desk, scene: Scene) -> list[int]:
        """Return the named cubes that are not in their bins yet."""
        return [cube for cube, which in scene.moves if not in_bin(desk, cube, which, layers=2)]

    def distance(self, desk: Desk, scene: Scene) -> float:
        """Sum of the distances of the cubes that are not in their bins."""
        left = self.left_over(desk, scene)
        return float(
            sum(
                np.linalg.norm(desk.cube(cube) - desk.place(f"bin{which}"))
                for cube, which in scene.moves
                if cube in left
            )
        )

    def sentence(self, scene: Scene, rng: np.random.Generator | None = None) -> str:
        """Return the first move's sentence, and the second's after a "then"."""
        said = super().sentence(scene, rng)
        if len(scene.moves) == 1:
            return said
        cube, which = scene.moves[1]
        return f"{said.rstrip('.')}, then the {scene.colours[cube]} cube in the {scene.bins[which]} bin."


PLACE_CUBES, PLACE_BINS = ("red", "blue", "green"), ("red", "blue", "white")
"""Few enough that a few hundred episodes hold every cube with every bin; a cube in a bin of its colour is hard to see."""


def _two(choice: tuple[str, ...], first: str | None, rng: np.random.Generator) -> list[str]:
    """Draw two different colours; the first may be given."""
    names = [str(name) for name in rng.permutation(choice)]
    return names[:2] if first is None else [first, next(name for name in names if name != first)]


class Stack(Task):
    """Put one cube onto another."""

    name = "stack"
    layout = Layout(cubes=2)
    steps = 260
    sentences = (
        "Stack the {cube} cube on the {other} cube.",
        "Put the {cube} block on top of the {other} block.",
        "Place the {cube} cube onto the {other} one.",
        "Build a tower with the {cube} cube above the {other} cube.",
    )

    def arrange(self, desk: Desk, scene: Scene, rng: np.random.Generator) -> None:
        """Lay both cubes."""
        lay_cubes(desk, scene, rng, desk.arm.workplace.across)

    def distance(self, desk: Desk, scene: Scene) -> float:
        """First cube to the place above the second."""
        above = desk.cube(1) + [0, 0, desk.cube_half(0) + desk.cube_half(1)]
        return float(np.linalg.norm(desk.cube(0) - above))

    def success(self, desk: Desk, scene: Scene) -> bool:
        """On top, let go of, at rest."""
        offset = desk.cube(0) - desk.cube(1)
        level = abs(offset[2] - desk.cube_half(0) - desk.cube_half(1)) < 0.005
        on_top = level and np.hypot(offset[0], offset[1]) < desk.cube_half(1)
        return bool(on_top and desk.cube_speed(0) < STILL and not any(desk.touched(0)))


TASKS: dict[str, Task] = {task.name: task for task in (Reach(), Push(), Lift(), PickPlace(), Sort(), Place(), Stack())}
