"""Are a run's fitted flows what they should be? Beside the exact ones on the run's own graph, by goals trained on and held out.

Means over goals; the interval is a bootstrap over goals.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row
from jepaflow.subgoals.exact import solve
from jepaflow.subgoals.fitted import Subgoals
from jepaflow.subgoals.shortest import distances
from jepaflow.subgoals.verify import agree, learned, log_z_sampled

PAIRS, WALKS = 20, 200
"""pairs whose log Z is also estimated from the learned policy's walks, and walks of each"""
SHORT = 3.0
"""model steps below which a walk's cost is not compared with the least"""


@dataclass(frozen=True)
class Checked:
    """What was found for some goals at one beta."""

    goals: str
    """trained or held-out"""
    beta: float
    count: int
    """goals that can be reached from somewhere"""
    kl: tuple[float, float, float]
    """KL(learned || exact) over walks: mean, and 95 %"""
    early: float
    log_z: float
    """mean absolute error"""
    log_z_sampled: float
    """the same, estimated from the learned policy's own walks"""
    mass: float
    """least probability of arriving"""
    cost_ratio: float
    """mean cost beside the least"""
    exact_cost_ratio: float


def check(fitted: Subgoals, betas: tuple[float, ...], most: int, seed: int) -> list[Checked]:
    """Compare at each beta.

    Args:
        fitted: of a run.
        betas: inverse temperatures.
        most: goals of each kind.
        seed: of their choice.

    Raises:
        JepaflowError: no goal of a kind can be reached.
    """
    rng = np.random.default_rng(seed)
    kinds = {"trained": ~fitted.held_out, "held-out": fitted.held_out}
    chosen = {kind: _some(which, most, rng) for kind, which in kinds.items()}
    return [_checked(fitted, kind, goals, beta, rng) for beta in betas for kind, goals in chosen.items() if len(goals)]


def _some(which: Bool[ndarray, " N"], most: int, rng: np.random.Generator) -> Int[ndarray, " G"]:
    nodes = np.flatnonzero(which)
    return np.sort(rng.choice(nodes, min(most, len(nodes)), replace=False))


def _checked(fitted: Subgoals, kind: str, goals: ndarray, beta: float, rng: np.random.Generator) -> Checked:
    graph = fitted.graph
    exact, ours = solve(graph, goals, fitted.config.horizon, beta), learned(fitted.flow, graph, goals, beta)
    found, least = agree(ours, exact), distances(graph, goals)
    some = np.isfinite(found.kl)
    rows = some.any(1)
    if not rows.any():
        raise JepaflowError(
            f"None of the {len(goals)} {kind} goals can be reached within {fitted.config.horizon} edges. Fit more landmarks."
        )
    kl = np.array([found.kl[g][some[g]].mean() for g in np.flatnonzero(rows)])
    far = some & (least > SHORT)
    ratios = [float((flows.expected_cost()[far] / least[far]).mean()) if far.any() else 1.0 for flows in (ours, exact)]
    pairs = np.argwhere(some)
    goal, start = pairs[rng.choice(len(pairs), min(PAIRS, len(pairs)), replace=False)].T
    sampled = np.abs(log_z_sampled(ours, start, goal, WALKS, rng) - exact.log_z[goal, start])
    return Checked(
        kind,
        beta,
        len(kl),
        (float(kl.mean()), *bootstrap(kl, lambda x: float(x.mean()))),
        float(found.early[some].mean()),
        float(np.abs(found.log_z_error[some]).mean()),
        float(sampled.mean()),
        float(found.mass[some].min()),
        ratios[0],
        ratios[1],
    )


def result_rows(found: list[Checked], fitted: Subgoals) -> list[Row]:
    """Return rows ``gfn/fitted/kl_<goals>_b<beta>``."""
    about = f"{fitted.graph.nodes} landmarks of the run, {fitted.graph.edges} edges, K = {fitted.config.horizon}"
    return [
        Row(
            f"gfn/fitted/kl_{one.goals.replace('-', '')}_b{one.beta:g}",
            *one.kl,
            one.count,
            1,
            "nats",
            note=(
                f"{about}; |log Z error| {one.log_z:.3f}, from own walks {one.log_z_sampled:.4f}; least mass {one.mass:.6f}; "
                f"cost / least {one.cost_ratio:.3f}, exact {one.exact_cost_ratio:.3f}"
            ),
        )
        for one in found
    ]
