"""Episodes in which something is watched: recorded, encoded, and reduced to what a monitor and its floors need.

Fresh from the simulator, with seeds of their own; pictures are drawn once per model step, encoded at once and forgotten.
Of calm episodes only successes count (no event but the task's being done). An event is what the simulator says
(`sims.arms.events`), or the moment at which a mishap strikes (`sims.arms.mishaps`); a slippery cube is lost when the
simulator says so, like a slip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.events import DONE, DROP, MISSED, NONE, SLIP
from jepaflow.sims.arms.expert import Scripted
from jepaflow.sims.arms.mishaps import LASTS, MISHAPS, Mishap
from jepaflow.sims.collect import AFTER
from jepaflow.sims.registry import WorldEntry
from jepaflow.worldmodel.jepa import JEPA

KINDS = ("slip", "drop", "missed", "slippery", "blocked", "moved")
"""What may happen: three of the labelled failures, three mishaps."""
EVENTFUL = ("failures", *MISHAPS)
"""Kinds of episodes in which something happens."""
LABELS = {"slip": SLIP, "drop": DROP, "missed": MISSED}
TRIES = 3
"""Episodes at most for one that is calm."""
LOST = LASTS["slippery"] + 25
"""Control steps within which a slippery cube is lost, or was not."""


@dataclass(frozen=True)
class Watched:
    """One episode; ``T`` looks, a model step apart, the first at control step 0; ``L`` control steps."""

    z: Float[Tensor, "T D"]
    other: Float[Tensor, "T D"]
    """latents of an untrained model"""
    blocks: Float[Tensor, "_ K A"]
    """blocks between the looks, T - 1 of them"""
    joints: Float[np.ndarray, "T P"]
    change: Float[np.ndarray, " T"]
    """mean squared change of the pictures since the last look; NaN at the first"""
    events: tuple[tuple[str, int], ...]
    """what happened at which control step, by `KINDS`"""
    held: Int[np.ndarray, " T"]
    """whether the cube hangs between the jaws, as the simulator knows"""
    believes: Int[np.ndarray, " L"]
    """whether the script thinks that it holds the cube, at each control step"""
    success: bool
    """nothing happened but that the task was done"""
    seed: tuple[int, ...]
    """what makes this episode again"""


Pictures = Callable[[int, dict[str, np.ndarray]], None]


def act_out(
    entry: WorldEntry, world: ArmEnv, kind: str, seed: Sequence[int], block: int, look: Pictures
) -> dict[str, Any]:
    """Act one episode: `calm`, `failures` or a mishap; `look` is given the observation of every K-th control step.

    Returns:
        per control step: actions, events, phases; per look: joints, held; when a mishap struck.
    """
    rng = np.random.default_rng(list(seed))
    world.reset(seed=int(rng.integers(2**31)))
    policy = entry.behaviours["failures" if kind == "failures" else "expert"](world, rng)
    assert isinstance(policy, Scripted) and entry.events is not None
    watch = entry.events(world)
    mishap = Mishap(world, policy, kind, np.random.default_rng([*seed, 1])) if kind in MISHAPS else None
    found: dict[str, Any] = {"actions": [], "events": [], "phases": [], "joints": [], "held": []}
    ending, step = AFTER, 0
    while step < entry.longest and ending > 0:
        found["events"].append(watch(policy.phase))
        found["phases"].append(policy.phase)
        if step % block == 0:
            seen = world.observation()
            found["joints"].append(seen["state"])
            found["held"].append(world.desk.held(0))
            look(step, seen)
        if mishap is not None:
            mishap.before(step)
        found["actions"].append(policy.act())
        world.advance(found["actions"][-1])
        if mishap is not None:
            mishap.after()
        ending -= bool(policy.done)
        step += 1
    if mishap is not None:
        mishap.end()
    return {**{k: np.array(v) for k, v in found.items()}, "struck": None if mishap is None else mishap.began}


class Watcher:
    """Records and encodes episodes of one world.

    Args:
        entry: an arm's task that has failures.
        model: in eval mode.
        other: an untrained one.
        views: the observation's keys of the model's cameras.
        seed: of all episodes; each kind has its own.

    Raises:
        JepaflowError: the world has no labelled failures.
    """

    def __init__(self, entry: WorldEntry, model: JEPA, other: JEPA, views: Sequence[str], seed: int) -> None:
        if "failures" not in entry.behaviours or entry.events is None:
            raise JepaflowError(
                "this world has no deliberate failures to be noticed. Choose lift, pick_place, sort or stack of an arm."
            )
        self._entry, self._model, self._other, self._views, self._seed = entry, model, other, views, seed
        self._world = entry.make(model.config.image_size)
        assert isinstance(self._world, ArmEnv)

    def calm(self, count: int, part: int) -> list[Watched]:
        """Return so many successes; parts share no episode.

        Raises:
            JepaflowError: the expert hardly ever succeeds.
        """
        found: list[Watched] = []
        with progress(f"calm episodes {part}", count) as advance:
            for index in range(TRIES * count):
                one = self.episode("calm", (part, index))
                if one.success:
                    found.append(one)
                    advance()
                if len(found) == count:
                    return found
        raise JepaflowError(
            f"only {len(found)} of {TRIES * count} episodes went well. Nothing calm can be learned here."
        )

    def eventful(self, kind: str, count: int, part: int) -> list[Watched]:
        """Return episodes of `failures` or of a mishap; parts share no episode."""
        with progress(f"{kind} {part}", count) as advance:
            found = []
            for index in range(count):
                found.append(self.episode(kind, (10 * (1 + EVENTFUL.index(kind)) + part, index)))
                advance()
        return found

    def episode(self, kind: str, which: tuple[int, int]) -> Watched:
        """Record and encode one."""
        block, shown = self._model.config.block, []
        assert isinstance(self._world, ArmEnv)

        def look(_: int, seen: dict[str, np.ndarray]) -> None:
            shown.append(np.stack([seen[view] for view in self._views]))

        seed = (self._seed, *which)
        rows = act_out(self._entry, self._world, kind, seed, block, look)
        pixels, joints = np.stack(shown), np.asarray(rows["joints"], dtype=np.float32)
        change = np.square(np.diff(pixels.astype(np.float32), axis=0)).mean((1, 2, 3, 4))
        blocks = rows["actions"][: (len(shown) - 1) * block].reshape(len(shown) - 1, block, -1)
        events = tuple(_events(kind, rows["events"], rows["struck"]))
        return Watched(
            z=encode(self._model, pixels, joints),
            other=encode(self._other, pixels, joints),
            blocks=torch.from_numpy(np.asarray(blocks, dtype=np.float32)),
            joints=joints,
            change=np.concatenate([[np.nan], change]),
            events=events,
            held=rows["held"].astype(np.int64),
            believes=np.isin(rows["phases"], ("lift", "carry", "loosen")).astype(np.int64),
            success=set(rows["events"].tolist()) == {NONE, DONE},
            seed=seed,
        )


def _events(kind: str, labels: Int[np.ndarray, " L"], struck: int | None) -> Iterator[tuple[str, int]]:
    """What happened in an episode of this kind; what an expert got wrong by itself after a mishap is not counted."""
    if kind == "failures":
        for name, label in LABELS.items():
            yield from ((name, int(t)) for t in np.flatnonzero(labels == label))
    elif kind == "slippery" and struck is not None:
        lost = np.flatnonzero(np.isin(labels[struck : struck + LOST], (DROP, SLIP)))
        yield from (("slippery", struck + int(t)) for t in lost[:1])
    elif kind in MISHAPS and struck is not None:
        yield kind, struck


@torch.inference_mode()
def encode(model: JEPA, pixels: np.ndarray, joints: Float[np.ndarray, "T P"]) -> Float[Tensor, "T D"]:
    """Latents of frames (T, V, S, S, 3), on the CPU."""
    device = model.device
    state = torch.from_numpy(joints)[:, None].to(device) if model.config.proprio_dim else None
    return model.encode(torch.from_numpy(pixels)[:, None].to(device), state)[:, 0].cpu().clone()
