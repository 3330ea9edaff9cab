"""Where actions live and what a search varies: bounds and rates that no plan ever leaves, and four parameterisations.

A solver searches numbers [N, P, A] in a box; a parameterisation turns them into the actions of N blocks of K control
steps. Whatever numbers it is given, what comes out respects the bounds and, where there is one, the rate limit: safety
is here, once, and not in every solver. Absolute joint targets are searched best as displacements from the last
executed action (smooth, few numbers, and zero means "stay"); relative actions and torques as they are.

Legend: N blocks, K control steps per block, P parameters per block, A action size; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError

ParameterKind = Literal["full", "hold", "displace", "knots"]


@dataclass(frozen=True)
class ActionSpace:
    """Bounds that are never left, a search's first Gaussian, and how fast actions may change; raw dataset units."""

    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    centre: Float[Tensor, " A"]
    scale: Float[Tensor, " A"]
    rate: Float[Tensor, " A"] | None = None
    """Largest change from one control step to the next; None: actions may jump."""
    change: Float[Tensor, " A"] | None = None
    """Usual change (standard deviation) from one control step to the next: the scale of searched displacements."""

    @classmethod
    def from_bounds(
        cls,
        low: Float[Tensor, " A"],
        high: Float[Tensor, " A"],
        centre: Float[Tensor, " A"] | None = None,
        scale: Float[Tensor, " A"] | None = None,
        rate: Float[Tensor, " A"] | None = None,
        change: Float[Tensor, " A"] | None = None,
    ) -> ActionSpace:
        """Make a space; without the data's `centre` and `scale` (mean, std) the box's middle and half its half-width.

        Raises:
            JepaflowError: bounds that are not finite or hold nothing; a rate or change that is not above 0.
        """
        if not (torch.isfinite(low).all() and torch.isfinite(high).all() and (low < high).all()):
            raise JepaflowError(
                "planning needs finite action bounds with low < high. Give the environment's action box."
            )
        for name, value in (("rate", rate), ("change", change)):
            if value is not None and not (torch.isfinite(value).all() and (value > 0).all()):
                raise JepaflowError(
                    f"the actions' {name} {value.tolist()} must be finite and above 0 per control step."
                )
        centre = (low + high) / 2 if centre is None else centre.clamp(low, high)
        scale = (high - low) / 4 if scale is None else torch.minimum(scale, high - low)
        return cls(low, high, centre, scale, rate, change)

    def to(self, device: torch.device) -> ActionSpace:
        """Return the space on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in values.items() if value is not None})


@runtime_checkable
class Parameterisation(Protocol):
    """What a solver searches in place of actions."""

    count: int
    """P."""
    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    rest: Float[Tensor, " A"]
    """The parameters of a block of which nothing is known: the first mean, and what a warm start is filled with."""
    std: Float[Tensor, " A"]
    """The first standard deviation, before the solver's `init_std`."""

    def decode(
        self, parameters: Float[Tensor, "... N P A"], start: Float[Tensor, "... A"]
    ) -> Float[Tensor, "... N K A"]:
        """Return legal actions, given the action executed last (brought inside the bounds if it is outside)."""
        ...

    def encode(self, actions: Float[Tensor, "... N K A"], start: Float[Tensor, "... A"]) -> Float[Tensor, "... N P A"]:
        """Return the parameters that come nearest to actions which follow `start`; the inverse of `decode`."""
        ...


def make_parameterisation(kind: ParameterKind, space: ActionSpace, block: int, knots: int = 2) -> Parameterisation:
    """Return a parameterisation by name.

    Args:
        kind: full: every control step has its own action; hold: the K actions of a block are one vector; displace: a
            block is one displacement, linear in time; knots: `knots` displacements one after the other.
        space: bounds, rates, scales.
        block: K.
        knots: P of "knots".

    Raises:
        JepaflowError: more knots than control steps in a block.
    """
    if kind in ("full", "hold"):
        return Absolute(space, block, held=kind == "hold")
    count = 1 if kind == "displace" else knots
    if not 1 <= count <= block:
        raise JepaflowError(
            f"{count} knots do not fit a block of {block} control steps. Give 1 <= --solver.knots <= {block}."
        )
    return Displacements(space, block, count)


def shifted(mean: Float[Tensor, "*L N P A"], blocks: int, rest: Float[Tensor, " A"]) -> Float[Tensor, "*L N P A"]:
    """Return a plan's parameters seen `blocks` blocks later: the executed ones left out, unknown ones at `rest`."""
    done = min(blocks, mean.shape[-3])
    return torch.cat([mean[..., done:, :, :], rest.expand_as(mean[..., :done, :, :])], -3)


class Absolute:
    """full (P = K) or hold (P = 1): the parameters are the actions, or targets where a rate limit forbids jumps."""

    def __init__(self, space: ActionSpace, block: int, held: bool) -> None:
        self.count, self._block, self._space = (1 if held else block), block, space
        self.low, self.high, self.rest, self.std = space.low, space.high, space.centre, space.scale

    def decode(
        self, parameters: Float[Tensor, "... N P A"], start: Float[Tensor, "... A"]
    ) -> Float[Tensor, "... N K A"]:
        """Return the parameters as actions; a held vector is approached as fast as the rate allows."""
        shape = (*parameters.shape[:-2], self._block, parameters.shape[-1])
        actions = parameters.expand(shape).clamp(self.low, self.high)
        if self._space.rate is None:
            return actions
        here, steps = start.clamp(self.low, self.high), []
        for wanted in actions.flatten(-3, -2).unbind(-2):
            here = here + (wanted - here).clamp(-self._space.rate, self._space.rate)
            steps.append(here)
        return torch.stack(steps, -2).clamp(self.low, self.high).view(shape)

    def encode(self, actions: Float[Tensor, "... N K A"], start: Float[Tensor, "... A"]) -> Float[Tensor, "... N P A"]:
        """Return the actions, or each block's mean action."""
        return actions.mean(-2, keepdim=True) if self.count == 1 else actions


class Displacements:
    """displace (P = 1), knots (P > 1): P displacements per block, added up from `start`, linear in time between.

    A sum that would leave the bounds stops at them, and what follows continues from there.
    """

    def __init__(self, space: ActionSpace, block: int, count: int) -> None:
        self.count, self._space = count, space
        steps = block / count
        reach = space.high - space.low
        if space.rate is not None:
            reach = torch.minimum(reach, steps * space.rate)
        usual = space.scale if space.change is None else steps * space.change
        self.low, self.high, self.rest, self.std = -reach, reach, torch.zeros_like(reach), torch.minimum(usual, reach)
        self._between = _interpolation(block, count).to(reach.device)

    def decode(
        self, parameters: Float[Tensor, "... N P A"], start: Float[Tensor, "... A"]
    ) -> Float[Tensor, "... N K A"]:
        """Return actions on straight lines between the knots."""
        here, knots = start.clamp(self._space.low, self._space.high), []
        ends = [here.expand(*parameters.shape[:-3], -1)]
        for move in parameters.clamp(self.low, self.high).flatten(-3, -2).unbind(-2):
            here = (here + move).clamp(self._space.low, self._space.high)
            ends.append(here)
        for block in range(parameters.shape[-3]):
            knots.append(torch.stack(ends[block * self.count : (block + 1) * self.count + 1], -2))
        return (self._between @ torch.stack(knots, -3)).clamp(self._space.low, self._space.high)

    def encode(self, actions: Float[Tensor, "... N K A"], start: Float[Tensor, "... A"]) -> Float[Tensor, "... N P A"]:
        """Return the differences between the actions at the knots, brought inside the parameters' box."""
        block = actions.shape[-2]
        first = start.expand(*actions.shape[:-3], -1)[..., None, None, :]
        begins = torch.cat([first, actions[..., :-1, -1:, :]], -3)
        inside = _interpolation(self.count, block).to(actions.device)  # the same lines, read at the knots
        at_knots = inside @ torch.cat([begins, actions], -2)
        return torch.cat([begins, at_knots], -2).diff(dim=-2).clamp(self.low, self.high)


def _interpolation(points: int, segments: int) -> Float[Tensor, "points corners"]:
    """Return the matrix that reads a line through `segments` + 1 equidistant corners at `points` equidistant times.

    Times are 1/points, 2/points, ..., 1: the first corner is the time before the first point.
    """
    weights = torch.zeros(points, segments + 1)
    for point in range(1, points + 1):
        segment, rest = divmod(point * segments, points)
        weights[point - 1, segment] = 1.0 - rest / points
        if rest:
            weights[point - 1, segment + 1] = rest / points
    return weights
