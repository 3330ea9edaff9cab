"""Planning without or with little search: the inverse-dynamics head, and the plans that are of use on two cores.

`inverse_row` compares the head's decision with a search of the full budget in the same latents. `useful_rows` time a
decision as `jepaflow evaluate` makes it, through the controller, from the frame to the action.
"""

import numpy as np
import torch

from benchmarks.pairs import alternate, ratio_row, timed, value_row
from benchmarks.plan_setup import OurPlanner, awake, wide_space
from jepaflow.cli.benchmark import Budget
from jepaflow.common.results import Row
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig, GoalCost
from jepaflow.planning.planner import Planner
from jepaflow.planning.proposals import InverseProposals
from jepaflow.planning.space import ActionSpace, Parameterisation
from jepaflow.worldmodel.distance import DistanceConfig, TemporalDistance
from jepaflow.worldmodel.inverse import InverseConfig, InverseDynamics
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.presets import preset

INVERSE = SolverConfig(kind="proposal", parameters="full", horizon=1)
"""What `docs/planning.md` found best: the head alone, its first block."""
SEARCH = SolverConfig(samples=48, elites=6, iterations=3, horizon=3, init_std=0.7, parameters="displace")
"""And the search for goals that are no picture."""
DECISIONS = 20
"""Decisions of the head timed together: one is too short for the clock of a busy machine."""


def random_heads(model: JEPA, change: bool) -> tuple[InverseDynamics, TemporalDistance]:
    """Random heads of the usual sizes on a model's latents."""
    config = model.config
    inverse = InverseDynamics(
        InverseConfig(latent_dim=config.latent_dim, action_dim=config.action_dim, block=config.block, change=change)
    )
    distance = TemporalDistance(DistanceConfig(latent_dim=config.latent_dim))
    return inverse.to(model.device).eval(), distance.to(model.device).eval()


def head_proposals(
    model: JEPA, parameterisation: Parameterisation, heads: tuple[InverseDynamics, TemporalDistance]
) -> InverseProposals:
    """What an inverse head, told the temporal distance, would do."""
    inverse, distance = heads
    return InverseProposals(inverse.propose, parameterisation, 1, 1, distance, model, 0, 0.2, None)


def inverse_row(ours: OurPlanner, budget: Budget, device: torch.device) -> Row:
    """The inverse head's decision over a search of the full budget, from the same latents."""
    config, latents = ours.model.config, ours.encode()
    space = wide_space(config.action_dim, device)
    planner = Planner(ours.model, GoalCost(), space, config.block, INVERSE)
    propose = head_proposals(ours.model, planner.parameterisation, random_heads(ours.model, change=False))
    situation, generator = ours.situation(latents), torch.Generator(device).manual_seed(0)

    def decide() -> None:
        planner.plan(situation, generator, None, propose(situation))

    decide()
    search = timed(lambda: ours.plan(latents), device)
    scale = budget.iterations / budget.measured
    pairs = alternate(timed(decide, device, DECISIONS), lambda: search() * scale, budget.repeats)
    encoding = timed(lambda: ours.model.encode(ours.scene.frames[:, -1:]), device)()
    seeing = (pairs.reference_median + encoding) / (pairs.ours_median + encoding)
    part = "" if budget.part is None else f" ({budget.part} of them run, scaled)"
    note = (
        f"the head's decision (with the temporal distance that it is told) {1e3 * pairs.ours_median:.3g} ms, CEM of "
        f"{budget.samples} samples × {budget.iterations} iterations{part} × {budget.horizon} blocks "
        f"{pairs.reference_median:.3g} s, both from latents; encoding the new frame takes {1e3 * encoding:.3g} ms more on "
        f"both sides, and the ratio with it is {seeing:.3g}"
    )
    return ratio_row("speed/gc_idm_vs_cem", pairs, note)


def useful_rows(repeats: int, device: torch.device) -> list[Row]:
    """Milliseconds from frame to action with `small` and an arm's inputs, by the head and by a short search."""
    config = preset("small", action_dim=6, proprio_dim=6, cameras=("pixels", "phone"), action_change=True)
    model = awake(config, device)
    ones = torch.ones(6, device=device)
    space = ActionSpace.from_bounds(-3 * ones, 3 * ones, 0 * ones, ones, 0.8 * ones, 0.1 * ones)
    rows = []
    for name, solver, path, what in (
        ("useful_plan_ms", INVERSE, 0.0, "inverse head, no search"),
        ("useful_plan_ms_cem", SEARCH, 0.5, "CEM, 48 samples × 3 iterations × 3 blocks, displacements, path cost 0.5"),
    ):
        control = ControllerConfig(solver, CostConfig(path=path))
        planner = Planner(model, GoalCost(), space, config.block, solver)
        heads = random_heads(model, change=True)
        propose = head_proposals(model, planner.parameterisation, heads) if solver.kind == "proposal" else None
        note = (
            f"preset small, two cameras of 96 px, joints as input, 6 actions; {what}; from the frames to the first action, "
            f"one arm; {torch.get_num_threads()} threads"
        )
        times = decisions(Controller(model, space, control, None, propose), max(5, 4 * repeats))
        rows.append(value_row(f"speed/{name}", times, "ms", note))
    return rows


def decisions(controller: Controller, count: int) -> list[float]:
    """Milliseconds of the calls that look and decide, after a warm-up that fills the history."""
    config = controller.model.config
    assert isinstance(controller.model, JEPA)
    rng = np.random.default_rng(0)
    size, cameras = controller.model.config.image_size, len(controller.model.config.cameras)
    frames = rng.integers(0, 256, (4, 1, cameras, size, size, 3), dtype=np.uint8)
    state = np.zeros((1, config.proprio_dim), np.float32)
    controller.reset(frames[-1], state, np.zeros((1, config.action_dim), np.float32))
    found: list[float] = []
    for number in range(config.history + count):
        act = timed(lambda n=number: controller.act(frames[n % 3], state), controller.model.device)
        found.append(1e3 * act())
        for _ in range(config.block - 1):
            controller.act(None)
    return found[config.history :]
