"""An arm with a task as a Gymnasium environment: LeRobot's names and units outside, radians and MuJoCo inside.

The action is six absolute joint targets (degrees; gripper 0 to 100) held for one control step of 1/30 s. The simulator
state is a list of named float32 numbers in two parts: first what a person would ask for (fingertips, gripper opening,
each cube's place, yaw, touch), computed; then everything that is needed to go on from there exactly: positions, speeds,
targets, the solver's warm start, bodies that were put somewhere, and how it all looks. The state is rounded to float32
after every control step, so a dataset's row holds the exact state: setting it and replaying the actions gives the same
trajectory and the same pictures, bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from jaxtyping import Float32, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.arm import MOTORS, Arm
from jepaflow.sims.arms.desk import SUBSTEPS, Desk
from jepaflow.sims.arms.factors import FACTORS, PALETTE, Factors, nearest_colour
from jepaflow.sims.arms.koch import KOCH
from jepaflow.sims.arms.look import factor_look, look_colours, look_names, plain_look, read_look, write_look
from jepaflow.sims.arms.so101 import SO101
from jepaflow.sims.arms.tasks import TASKS, Scene, clutter
from jepaflow.sims.rendering import Renderer, make_renderer

ARMS: dict[str, Arm] = {arm.name: arm for arm in (SO101, KOCH)}
CAMERAS = ("laptop", "phone", "wrist")
SETTLE = 8
"""Control steps without action at a reset: what was laid down comes to rest."""


class ArmEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """One arm, one task.

    Args:
        arm: "so101" or "koch".
        task: a name of `TASKS`.
        image_size: side of the pictures, px.
        cameras: which cameras the observation has, the first under the key "pixels", the others under their names.
        renderer: "auto", "gl" or "ray" (`rendering`).
        vary: factors of variation that are drawn at a reset (`factors`).
        fix: factors that have a given value.
        mjcf: a user's model of the arm in MuJoCo Menagerie's layout.
        render_mode: "rgb_array" or None.

    Raises:
        JepaflowError: an unknown arm, task, camera, factor; an action or a state of the wrong shape or not finite.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 (Gymnasium's own signature)
    fps = 30.0

    def __init__(
        self,
        arm: str = "so101",
        task: str = "pick_place",
        image_size: int = 96,
        cameras: Sequence[str] = ("laptop", "phone"),
        renderer: str = "auto",
        vary: Sequence[str] = (),
        fix: Mapping[str, Any] | None = None,
        mjcf: Path | str | None = None,
        render_mode: str | None = None,
    ) -> None:
        for word, known, what in ((arm, ARMS, "arm"), (task, TASKS, "task")):
            if word not in known:
                raise JepaflowError(f"there is no {what} '{word}'. Choose one of: {', '.join(known)}.")
        if not cameras or any(camera not in CAMERAS for camera in cameras):
            raise JepaflowError(f"there are no such cameras: {list(cameras)}. Choose among: {', '.join(CAMERAS)}.")
        if len(set(cameras)) < len(cameras):
            raise JepaflowError(f"a camera is named twice: {list(cameras)}. Name each once.")
        self.arm, self.rules = ARMS[arm], TASKS[task]
        self.cameras: tuple[str, ...] = tuple(cameras)
        self.camera = self.cameras[0]
        self.image_size, self.render_mode = image_size, render_mode
        self.factors = Factors(vary, fix)
        for name in self.factors.fixed:
            if name in self.rules.lacks and self.factors.fixed[name] != FACTORS[name].standard:
                able = ", ".join(word for word, rules in TASKS.items() if name not in rules.lacks)
                raise JepaflowError(f"{task} has no factor {name}. Only these tasks do: {able}.")
        self.desk = Desk(self.arm, self.rules.layout, Path(mjcf) if mjcf is not None else None)
        self._backend = renderer
        self._renderer: Renderer | None = None
        self._camera_ids = [self.desk.model.camera(camera).id for camera in self.cameras]
        limits = self.desk.model.actuator_ctrlrange[self.desk.motors]
        ends = np.sort(self.arm.to_lerobot(limits.T), axis=0).astype(np.float32)
        self.low, self.high = ends
        self.action_space = gymnasium.spaces.Box(self.low, self.high, dtype=np.float32)
        picture = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        spaces: dict[str, gymnasium.spaces.Space[Any]] = {
            "pixels" if i == 0 else camera: picture for i, camera in enumerate(self.cameras)
        }
        room = 0.2 * (self.high - self.low)  # a joint pressed against its stop gives way a little
        spaces["state"] = gymnasium.spaces.Box(self.low - room, self.high + room, dtype=np.float32)
        self.observation_space: gymnasium.spaces.Space[Any] = gymnasium.spaces.Dict(spaces)
        self.state_names = (*self._told_names(), *self._exact_names(), *look_names(self.desk))
        self._told = len(self._told_names())
        self.scene = Scene(self.factors.draw(np.random.default_rng(0)))
        self.task = ""
        self._goal: np.ndarray | None = None
        self._arrange(np.random.default_rng(0))  # leaves the environment's own generator unseeded

    proprio_names = tuple(f"{motor}.pos" for motor in MOTORS)
    action_names = tuple(f"{motor}.pos" for motor in MOTORS)

    # Gymnasium --------------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Lay a new scene; `options={"state": array}` starts from a given simulator state instead."""
        super().reset(seed=seed)
        self._goal = None
        if options and "state" in options:
            self.set_state(options["state"])
            return self.observation(), self.info()
        self._arrange(self.np_random)
        return self.observation(), self.info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Hold six joint targets for one control step; reward 1 and terminated when the task is done."""
        self.advance(action)
        done = self.is_success()
        return self.observation(), float(done), done, False, self.info()

    def advance(self, action: np.ndarray) -> None:
        """Do `step`'s physics without drawing."""
        values = np.asarray(action, dtype=np.float32)
        if values.shape != (len(MOTORS),):
            raise JepaflowError(
                f"an action has shape (6,), this one {values.shape}. Give one target per motor: {MOTORS}."
            )
        if not np.isfinite(values).all():
            raise JepaflowError(f"the action {values.tolist()} is not finite. Give joint targets in degrees.")
        values = np.clip(values, self.low, self.high)
        self.desk.data.ctrl[self.desk.motors] = self.arm.to_radians(values)
        mujoco.mj_step(self.desk.model, self.desk.data, SUBSTEPS)
        self._round()

    def observation(self) -> dict[str, np.ndarray]:
        """Return a picture (S, S, 3) uint8 per camera and the joints (6,) float32 in LeRobot's units."""
        if self._renderer is None:
            self._renderer = make_renderer(self.desk.model, self._backend)
        pictures = self._renderer.render(self.desk.model, self.desk.data, self._camera_ids, self.image_size)
        keys = ("pixels", *self.cameras[1:])
        return {**dict(zip(keys, pictures, strict=True)), "state": self.proprio()}

    def proprio(self) -> Float32[np.ndarray, " 6"]:
        """Return the joints as LeRobot reports them, without drawing."""
        return self.arm.to_lerobot(self.desk.joints()).astype(np.float32)

    def info(self) -> dict[str, Any]:
        """Return the full simulator state, the sentence, the distance to success and whether it is reached."""
        return {
            "state": self.get_state(),
            "state_names": self.state_names,
            "task": self.task,
            "distance": self.distance(),
            "success": self.is_success(),
        }

    def render(self) -> UInt8[np.ndarray, "S W 3"] | None:
        """Return the cameras' pictures side by side, or None without a render mode."""
        if self.render_mode != "rgb_array":
            return None
        seen = self.observation()
        return np.concatenate([seen[key] for key in ("pixels", *self.cameras[1:])], axis=1)

    def close(self) -> None:
        """Nothing to close: the renderer belongs to the process."""

    @property
    def backend(self) -> str:
        """Return which renderer is in use, "gl" or "ray"."""
        if self._renderer is None:
            self._renderer = make_renderer(self.desk.model, self._backend)
        return self._renderer.name

    # Goals ------------------------------------------------------------------------------------------------------------

    def still_action(self) -> Float32[np.ndarray, " 6"]:
        """Return the do-nothing action: the targets as they are."""
        values = self.arm.to_lerobot(self.desk.data.ctrl[self.desk.motors]).astype(np.float32)
        return np.asarray(np.clip(values, self.low, self.high))

    def set_goal(self, state: np.ndarray) -> None:
        """Make the places in another simulator state the goal: the fingertips' for `reach`, else all cubes'."""
        if np.shape(state) != (len(self.state_names),):
            raise JepaflowError(
                f"a goal state of {self.arm.name}/{self.rules.name} is {len(self.state_names)} numbers, not an array of "
                f"shape {np.shape(state)}. Give a state that get_state returned in this very world."
            )
        told = dict(zip(self._told_names(), np.asarray(state)[: self._told], strict=True))
        if self.rules.tracked == 0:
            names = [["tcp_x", "tcp_y", "tcp_z"]]
        else:
            names = [[f"cube{i}_{axis}" for axis in "xyz"] for i in range(self.rules.layout.cubes)]
        self._goal = np.array([[told[name] for name in triple] for triple in names], dtype=np.float64)

    def distance(self) -> float:
        """Return the distance (m) to the goal state's places if one was set (the furthest cube's), else to success."""
        if self._goal is None:
            return self.rules.distance(self.desk, self.scene)
        places = [self.desk.tcp()] if self.rules.tracked == 0 else [self.desk.cube(i) for i in range(len(self._goal))]
        return float(np.linalg.norm(np.stack(places) - self._goal, axis=1).max())

    def is_success(self) -> bool:
        """Return whether the goal state's places are reached if one was set, else whether the task is done."""
        if self._goal is None:
            return self.rules.success(self.desk, self.scene)
        return self.distance() < self.rules.goal_distance

    # State ------------------------------------------------------------------------------------------------------------

    def get_state(self) -> Float32[np.ndarray, " n"]:
        """Return the whole simulator state; `state_names` names its numbers."""
        return np.concatenate([self._tell(), self._exact(), read_look(self.desk)]).astype(np.float32)

    def set_state(self, state: np.ndarray) -> None:
        """Put the simulator into a state that `get_state` returned, perhaps in another process. It clears no goal."""
        values = np.asarray(state, dtype=np.float64)
        if values.shape != (len(self.state_names),) or not np.isfinite(values).all():
            raise JepaflowError(
                f"a state of {self.arm.name}/{self.rules.name} is {len(self.state_names)} finite numbers, "
                f"not an array of shape {values.shape}. Give a state that get_state returned in this very world."
            )
        desk, at = self.desk, self._told
        count = len(self._exact_names())
        exact = values[at : at + count]
        write_look(desk, values[at + count :])
        for part in self._parts():
            part[...] = exact[: part.size].reshape(part.shape)
            exact = exact[part.size :]
        desk.update()
        colours = [nearest_colour(colour) for colour in look_colours(desk, "cube")]
        bins = [nearest_colour(colour) for colour in look_colours(desk, "bin")]
        there = sum(not desk.is_parked(i) for i in range(self.rules.layout.cubes))
        self.scene = Scene(self.scene.values, colours, bins, there)
        self.task = self.rules.sentence(self.scene)  # which paraphrase was used is not part of a state

    def _parts(self) -> tuple[np.ndarray, ...]:
        """Return the views of MuJoCo's data that make up the exact state."""
        data = self.desk.data
        return data.qpos, data.qvel, data.qacc_warmstart, data.ctrl, data.mocap_pos, data.mocap_quat

    def _exact(self) -> np.ndarray:
        return np.concatenate([part.ravel() for part in self._parts()])

    def _exact_names(self) -> tuple[str, ...]:
        words = ("qpos", "qvel", "warmstart", "ctrl", "mocap_pos", "mocap_quat")
        return tuple(f"{word}_{i}" for word, part in zip(words, self._parts(), strict=True) for i in range(part.size))

    def _round(self) -> None:
        """Round the state to float32, as a dataset keeps it."""
        for part in self._parts():
            part[...] = part.astype(np.float32)
        self.desk.update()

    def _told_names(self) -> tuple[str, ...]:
        cubes = [
            f"cube{i}_{what}"
            for i in range(self.rules.layout.cubes)
            for what in ("x", "y", "z", "yaw", "touched", "held")
        ]
        return ("tcp_x", "tcp_y", "tcp_z", "gripper_opening", *cubes)

    def _tell(self) -> np.ndarray:
        desk = self.desk
        numbers = [*desk.tcp(), self.arm.to_lerobot(desk.joints())[-1] / 100.0]
        for i in range(self.rules.layout.cubes):
            numbers += [*desk.cube(i), desk.cube_yaw(i), float(any(desk.touched(i))), float(desk.held(i))]
        return np.array(numbers)

    # A new scene ------------------------------------------------------------------------------------------------------

    def _arrange(self, rng: np.random.Generator) -> None:
        desk = self.desk
        mujoco.mj_resetData(desk.model, desk.data)
        values = self.factors.draw(rng)
        self.scene = self.rules.colours(values, rng)
        write_look(desk, self._look(values))
        pose = np.array(self.arm.home)
        pose[:5] += values["arm.pose"] * rng.standard_normal(5)
        limits = desk.model.actuator_ctrlrange[desk.motors]
        desk.put_arm(np.clip(pose, limits[:, 0], limits[:, 1]))
        self.rules.arrange(desk, self.scene, rng)
        self._obstruct("none" if "obstacle" in self.rules.lacks else values["obstacle"])
        self._clutter(values["distractors"], rng)
        self.task = self.rules.sentence(self.scene, rng)
        desk.data.ctrl[:] = desk.data.ctrl.astype(np.float32)
        mujoco.mj_step(desk.model, desk.data, SETTLE * SUBSTEPS)
        self._round()

    def _look(self, values: dict[str, Any]) -> np.ndarray:
        """Return the look that the factors ask for, in float32 like the state that will keep it."""
        desk, scene = self.desk, self.scene
        vector = plain_look(desk, [PALETTE[c] for c in scene.colours], [PALETTE[c] for c in scene.bins])
        at = {name: i for i, name in enumerate(look_names(desk))}
        for name, number in factor_look(desk, values).items():
            vector[at[name]] = number
        return vector.astype(np.float32).astype(np.float64)

    def _obstruct(self, obstacle: str) -> None:
        """Stand the wall across the straight way from start to goal, the post where a way round the wall would lead."""
        desk = self.desk
        desk.put("wall", None)
        desk.put("post", None)
        if obstacle == "none":
            return
        start, goal = self._way()
        along = goal - start
        heading = float(np.arctan2(along[1], along[0]))
        side = np.array([-np.sin(heading), np.cos(heading)])
        side *= np.sign(side[0]) or 1.0  # the outer side, where the arm would go round most easily
        for share in (0.5, 0.56, 0.62, 0.68):  # nearer the goal where the arm stands in the middle
            middle = start + share * along
            if obstacle in ("wall", "both"):
                desk.put("wall", (middle[0], middle[1], 0.0), heading)
            if obstacle in ("post", "both"):
                desk.put("post", (*(middle + (0.07 * side if obstacle == "both" else 0.0)), 0.0))
            if desk.obstacles_stand_free():
                return

    def _way(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where the task's motion begins and ends, in the table's plane."""
        desk, layout = self.desk, self.rules.layout
        desk.update()
        start = desk.cube(0)[:2] if layout.cubes else desk.tcp()[:2]
        if layout.marker:
            return start, desk.place("marker")[:2]
        if layout.bins:
            return start, desk.place("bin0")[:2]
        return (start, desk.cube(1)[:2]) if layout.cubes > 1 else (desk.tcp()[:2], start)

    def _clutter(self, count: int, rng: np.random.Generator) -> None:
        """Put distractors where nothing else is, and away from the straight way."""
        start, goal = self._way()
        taken = [start + share * (goal - start) for share in np.linspace(0, 1, 7)]
        clutter(self.desk, count, taken, rng)
