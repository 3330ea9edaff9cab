"""Proposals: the right chunks, in the right parameters, and a head that imagines its way."""

import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.cost import GoalCost
from jepaflow.planning.goal import Goal
from jepaflow.planning.planner import Planner, Situation
from jepaflow.planning.proposals import AllProposals, ChunkIndex, InverseProposals, NearestChunks
from jepaflow.planning.space import make_parameterisation
from jepaflow.worldmodel.distance import DistanceConfig, TemporalDistance
from jepaflow.worldmodel.inverse import InverseConfig, InverseDynamics

from .conftest import BOX, LinearWorld, generator, situation

K = 2


def walk(begin: float, step: float, count: int) -> tuple[Tensor, Tensor]:
    """Return an episode on a line: latents (T, 2) and the blocks (T - 1, K, 2) that move it, in the linear world."""
    latents = torch.stack([begin + step * torch.arange(count), torch.zeros(count)], -1)
    blocks = torch.zeros(count - 1, K, 2)
    blocks[..., 0] = step / K
    return latents, blocks


def test_the_chunks_that_began_nearest_are_found_in_order() -> None:
    index = ChunkIndex([walk(0.0, 0.1, 11), walk(5.0, -0.2, 11)], horizon=2)
    assert len(index.firsts) == 2 * 9  # a chunk needs two blocks behind it
    chosen = index.nearest(torch.tensor([[0.31, 0.0], [4.55, 0.0]]), None, 2)
    assert index.latents[index.firsts[chosen[:, 0]], 0].tolist() == pytest.approx([0.3, 4.6])
    assert torch.allclose(index.chunks[chosen[:, 0], 0, 0, 0], torch.tensor([0.05, -0.1]))
    second = index.latents[index.firsts[chosen[0, 1]], 0].item()
    assert second == pytest.approx(0.5)  # the neighbours 0.2 and 0.4 overlap the first


def test_a_goal_prefers_chunks_that_go_there() -> None:
    """Two episodes pass the same place in opposite directions."""
    index = ChunkIndex([walk(0.0, 0.1, 11), walk(1.0, -0.1, 11)], horizon=3)
    here = torch.tensor([[0.5, 0.0]])
    for goal, direction in [(0.8, 1.0), (0.2, -1.0)]:
        chosen = index.nearest(here, torch.tensor([[goal, 0.0]]), 1)
        assert index.chunks[chosen[0, 0], 0, 0, 0].sign().item() == direction


def test_few_rows_give_few_chunks_and_none_is_refused() -> None:
    index = ChunkIndex([walk(0.0, 0.1, 4)], horizon=3)
    assert index.nearest(torch.zeros(2, 2), None, 50).shape == (2, 1)
    with pytest.raises(JepaflowError, match="in a row"):
        ChunkIndex([walk(0.0, 0.1, 3)], horizon=3)
    with pytest.raises(JepaflowError, match="in a row"):
        ChunkIndex([], horizon=1)


def test_chunks_become_movements_wherever_the_arm_stands() -> None:
    """Recorded targets rose from 0.2 to 0.4 and 0.6; from 0.1 the proposal is to rise to 0.3 and 0.5."""
    targets = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1).expand(3, K, 2).clone()
    index = ChunkIndex([(torch.arange(4.0)[:, None].expand(4, 2), targets)], horizon=2)
    displace = make_parameterisation("displace", BOX, K)
    known = situation(torch.ones(1, 2), z=torch.full((1, 2), 1.1), start=torch.full((1, 2), 0.1))
    params = NearestChunks(index, displace, 1, goal_weight=0.0)(known)
    assert params.shape == (1, 1, 2, 1, 2)
    assert torch.allclose(params, torch.full((1, 1, 2, 1, 2), 0.2))
    assert displace.decode(params[:, 0], known.start)[0, :, -1, 0].tolist() == pytest.approx([0.3, 0.5])


def test_a_search_too_small_to_find_the_way_takes_a_recorded_one() -> None:
    index = ChunkIndex([walk(-3.0, 1.2, 6), walk(3.0, -0.9, 6)], horizon=3)
    planner = Planner(LinearWorld(), GoalCost(), BOX, K, SolverConfig("random", samples=4, iterations=1, horizon=3))
    known = situation(torch.tensor([[3.0, 0.0]]), z=torch.tensor([[-0.6, 0.0]]))
    alone = planner.plan(known, generator())
    proposals = NearestChunks(index, planner.parameterisation, 3)(known)
    helped = planner.plan(known, generator(), proposals=proposals)
    assert helped.cost.item() == pytest.approx(0.0, abs=1e-6)
    assert alone.cost.item() > 1.0


def head(blocks: int, calls: list[tuple[Tensor, Tensor | None]]) -> object:
    """Return an inverse head of the linear world: it goes 1 per block towards the goal, further guesses go less far."""

    def propose(
        z: Tensor, goal: Tensor, steps: Tensor | None, start_action: Tensor, count: int, generator: torch.Generator
    ) -> Tensor:
        calls.append((z, steps))
        plans, here = [], z
        for _ in range(blocks):
            move = (goal - here).clamp(-1.0, 1.0)
            plans.append((move / K)[:, None].expand(-1, K, -1))
            here = here + move
        best = torch.stack(plans, 1)
        return torch.stack([best / (1 + guess) for guess in range(count)], 1)

    return propose


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_an_inverse_head_reaches_the_goal_by_imagining_where_it_gets(blocks: int) -> None:
    calls: list[tuple[Tensor, Tensor | None]] = []
    full = make_parameterisation("full", BOX, K)
    proposer = InverseProposals(head(blocks, calls), full, horizon=3, count=2, dynamics=LinearWorld())  # type: ignore[arg-type]
    known = situation(torch.tensor([[2.5, -1.0], [0.5, 0.0]]))
    params = proposer(known)
    assert params.shape == (2, 2, 3, K, 2)
    assert torch.allclose(params[:, 0].sum((1, 2)), torch.tensor([[2.5, -1.0], [0.5, 0.0]]), atol=1e-6)
    assert len(calls) == -(-3 // blocks)


def test_an_inverse_head_is_told_the_distance_and_starts_after_committed_blocks() -> None:
    calls: list[tuple[Tensor, Tensor | None]] = []

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().amax(-1)

    full = make_parameterisation("full", BOX, K)
    told = head(3, calls)
    proposer = InverseProposals(told, full, 3, distance=distance, dynamics=LinearWorld())  # type: ignore[arg-type]
    known = situation(torch.tensor([[6.4, 0.0]]))
    committed = Situation(known.z, known.past, known.start, known.goal, torch.ones(1, 1, K, 2))
    proposer(committed)
    z, steps = calls[0]
    assert z.tolist() == [[2.0, 2.0]]  # where the committed block will have led
    assert steps is not None
    assert steps.tolist() == [4]
    with pytest.raises(JepaflowError, match="dynamics"):
        InverseProposals(told, full, 3)(committed)  # type: ignore[arg-type]
    with pytest.raises(JepaflowError, match="at least 1"):
        InverseProposals(told, full, 3, count=0)  # type: ignore[arg-type]


def test_the_best_guess_stays_where_the_goal_is_reached() -> None:
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().amax(-1)

    full, calls = make_parameterisation("full", BOX, K), list[tuple[Tensor, Tensor | None]]()
    known = situation(torch.tensor([[0.4, 0.0], [2.0, 0.0]]))
    free = InverseProposals(head(3, calls), full, 3, 2, distance, LinearWorld())(known)  # type: ignore[arg-type]
    for still, stays in ((None, known.start[0]), (torch.tensor([0.25, -0.5]), torch.tensor([0.25, -0.5]))):
        proposer = InverseProposals(head(3, calls), full, 3, 2, distance, LinearWorld(), hold=0.5, still=still)  # type: ignore[arg-type]
        held = proposer(known)
        assert torch.equal(held[0, 0], stays.expand(3, K, 2))  # near: stay
        assert torch.equal(held[1], free[1])  # far: as before
        assert torch.equal(held[0, 1], free[0, 1])  # and a search still hears the other ideas


@pytest.mark.parametrize(("parameters", "change"), [("full", False), ("displace", True), ("knots", True)])
def test_the_learned_heads_fit_in(parameters: str, change: bool) -> None:
    inverse = InverseDynamics(
        InverseConfig(latent_dim=2, action_dim=2, block=K, horizon=2, change=change, hidden=8)
    ).eval()
    inverse.fit_residual(torch.randn(50, 2 * K * 2, generator=generator(3)))
    distance = TemporalDistance(DistanceConfig(latent_dim=2, hidden=8)).eval()
    config = SolverConfig("cem", samples=16, elites=4, iterations=2, horizon=3, parameters=parameters)  # type: ignore[arg-type]
    planner = Planner(LinearWorld(), GoalCost(distance=distance), BOX, K, config)
    proposer = InverseProposals(
        inverse.propose, planner.parameterisation, 3, count=5, distance=distance, dynamics=LinearWorld()
    )
    known = situation(torch.ones(2, 2))
    proposals = AllProposals([proposer, proposer])(known)
    assert proposals.shape == (2, 10, 3, planner.parameterisation.count, 2)
    assert torch.equal(proposals[:, 0], proposals[:, 5])  # the best guess does not depend on the draws
    assert not torch.equal(proposals[:, 1], proposals[:, 6])
    found = planner.plan(known, generator(), proposals=proposals)
    assert torch.isfinite(found.blocks).all()


def test_a_probe_target_alone_has_no_latent_to_propose_for() -> None:
    from jepaflow.planning.goal import Probe

    index = ChunkIndex([walk(0.0, 0.1, 11)], horizon=2)
    target = Goal(probe=Probe(torch.eye(2), torch.zeros(2), torch.ones(2)), target=torch.zeros(1, 2))
    known = situation(torch.ones(1, 2))
    with pytest.raises(JepaflowError, match="picture"):
        NearestChunks(index, make_parameterisation("full", BOX, K))(Situation(known.z, known.past, known.start, target))
