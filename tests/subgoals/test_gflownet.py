"""The GFlowNet: always arrives, every loss finds the exact flows, the network learns and generalises, training resumes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals import gflownet, verify
from jepaflow.subgoals.exact import solve
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow, TableFlow, load_flow, save_flow
from jepaflow.subgoals.gflownet import (
    GFlowNetConfig,
    backward_walks,
    batch_loss,
    forward_walks,
    residuals,
    train,
    walk_loss,
)
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.rooms import RoomsConfig, make_rooms
from jepaflow.subgoals.towards import Towards, towards
from jepaflow.subgoals.verify import agree, every_walk, learned, log_z_sampled, tv_enumerated, tv_sampled
from jepaflow.subgoals.walks import Walks
from tests.subgoals.test_exact import scrambled
from tests.subgoals.test_graph import diamond, no_edges

TWELVE = make_rooms(RoomsConfig(12, neighbours=3)).graph
HORIZON = 6


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exact_flow(graph: Graph, goals: np.ndarray, horizon: int = HORIZON) -> torch.Tensor:
    """The oracle's flows, in the models' order of axes."""
    return torch.from_numpy(solve(graph, goals, horizon, 1.0).log_flow).permute(1, 2, 0).float()


def net(graph: Graph, horizon: int = HORIZON, **sizes: object) -> NeuralFlow:
    model = NeuralFlow(FlowConfig(graph.features.shape[1], horizon, **{"hidden": 64, "depth": 2, "ahead": 0, **sizes}))
    model.fit_scaler(torch.from_numpy(graph.features))
    return model


@pytest.mark.parametrize("hint", ["none", "hops", "distance"])
def test_flows_know_the_goal_and_what_is_out_of_reach(hint: str) -> None:
    graph = diamond()
    flow = net(graph, 2, hint=hint, fourier=2)(towards(graph, np.array([3, 4])))
    assert flow.shape == (2, 5, 3) and not flow.isnan().any()
    assert flow[0, 3].tolist() == [0, 0, 0] and flow[0, 4].isneginf().all()
    assert flow[0].isfinite().sum(1).tolist() == [1, 2, 2, 3, 0]
    assert net(no_edges(1), 3)(towards(no_edges(1), np.array([0]))).tolist() == [[[0, 0, 0, 0]]]


def test_looking_ahead_to_the_end_is_the_oracle() -> None:
    graph = scrambled(10, 2)
    goals, errors = np.arange(10), []
    for ahead in (0, 2, HORIZON):
        model = net(graph, ahead=ahead, hint="none")
        ours, exact = model(towards(graph, goals)), exact_flow(graph, goals)
        assert ((ours == -torch.inf) == (exact == -torch.inf)).all()
        errors.append(float((ours - exact).detach().nan_to_num(0.0).abs().max()))
        ours[ours.isfinite()].sum().backward()
        assert ahead == HORIZON or all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert errors[0] > errors[1] > 0.1 and errors[2] < 1e-4


def test_an_untrained_policy_arrives_and_sums_to_one() -> None:
    graph, goals = scrambled(10, 2), np.arange(10)
    ours = learned(net(graph), graph, goals, 2.0)
    compared = agree(ours, solve(graph, goals, HORIZON, 2.0))
    mass = compared.mass[np.isfinite(compared.mass)]
    assert len(mass) > 50
    np.testing.assert_allclose(mass, 1, atol=1e-9)


def test_walks_arrive_both_ways() -> None:
    graph = scrambled(10, 2)
    ways = towards(graph, np.arange(10))
    reach = (ways.hops > 0) & (ways.hops <= HORIZON)
    ways = ways.some(reach.any(1).nonzero().squeeze(1), torch.ones(int(reach.any(1).sum())))
    flow = net(graph)(ways).detach()
    start = torch.multinomial(((ways.hops > 0) & (ways.hops <= HORIZON)).float(), 40, True, generator=generator())
    there = forward_walks(ways, flow, start, GFlowNetConfig(), generator())
    back = backward_walks(ways, 40, HORIZON, generator())
    for walks in (there, back):
        for goal, rows in zip(ways.goals, walks, strict=True):
            padded = Walks(rows.numpy())
            padded.edges(graph)  # raises where there is no such edge
            assert ((rows == goal).sum(1) == 1).all()
            assert (rows.gather(1, torch.from_numpy(padded.lengths)[:, None]).squeeze(1) == goal).all()
    assert (there[:, :, 0] == start).all()
    assert len(set(Walks(back.flatten(0, 1).numpy()).lengths.tolist())) > 3


def test_the_oracle_s_flows_leave_no_residual() -> None:
    graph, goals = TWELVE, np.arange(12)
    ways, flow = towards(graph, goals), exact_flow(TWELVE, goals)
    walks = backward_walks(ways, 16, HORIZON, generator())
    delta, leaves = residuals(ways, flow, walks)
    assert leaves.sum() > 100 and delta.abs().max() < 1e-5
    other, _ = residuals(ways, flow * 1.1, walks)
    assert other.abs().max() > 0.1


def test_sums_of_residuals_are_the_textbook_losses() -> None:
    """Trajectory balance from its definition: log Z + sum log P_F - log weight, and sub-trajectories likewise."""
    graph, goals = TWELVE, np.array([0, 7])
    ways = towards(graph, goals)
    flow = ways.closed(torch.randn(2, 12, HORIZON + 1))
    walks = backward_walks(ways, 16, HORIZON, generator())
    delta, leaves = residuals(ways, flow, walks)
    weight = torch.from_numpy(graph.log_ref - graph.cost).float()
    tb, subtb = [], []
    for column, rows in enumerate(walks):
        for row in rows.tolist():
            nodes = [node for node in row if node >= 0]
            states = [flow[column, node, HORIZON - step] for step, node in enumerate(nodes)]
            taken = []
            for step, (one, other) in enumerate(zip(nodes[:-1], nodes[1:])):
                edges = slice(graph.indptr[one], graph.indptr[one + 1])
                after = flow[column, torch.from_numpy(graph.indices[edges]), HORIZON - step - 1]
                log_p = (weight[edges] + after).log_softmax(0)
                edge = int(graph.indices[edges].tolist().index(other))
                taken.append(log_p[edge] - weight[edges][edge])
            tb.append((states[0] + sum(taken) - states[-1]) ** 2)
            parts = [
                (0.9 ** (n - m), (states[m] + sum(taken[m:n]) - states[n]) ** 2)
                for m in range(len(nodes))
                for n in range(m + 1, len(nodes))
            ]
            subtb.append(sum(w * p for w, p in parts) / sum(w for w, _ in parts))
    for loss, wanted in (("tb", tb), ("subtb", subtb)):
        ours = walk_loss(delta, leaves, GFlowNetConfig(loss=loss))  # type: ignore[arg-type]
        torch.testing.assert_close(ours, torch.stack(wanted).mean())


@pytest.mark.parametrize("loss", ["db", "tb", "subtb", "vargrad"])
def test_a_table_finds_the_exact_distribution_by_any_loss(loss: str) -> None:
    goals = np.array([0, 7])
    config = GFlowNetConfig(loss=loss, steps=300, lr=0.3, goals=2, walks=128, explore=0.3, group=16)  # type: ignore[arg-type]
    model = TableFlow(12, HORIZON)
    exact = solve(TWELVE, goals, HORIZON, 1.0)
    before = tv_enumerated(learned(model, TWELVE, goals, 1.0), exact, 0, 9)
    train(model, [towards(TWELVE, goals)], config)
    ours = learned(model, TWELVE, goals, 1.0)
    compared = agree(ours, exact)
    assert before > 0.01
    assert max(tv_enumerated(ours, exact, g, s) for g in (0, 1) for s in range(12) if s != goals[g]) < 1e-3
    assert np.nanmax(compared.kl) < 1e-5 and np.nanmax(np.abs(compared.log_z_error)) < 1e-3


def test_the_chain_rule_and_the_samples_agree_with_enumeration() -> None:
    goals = np.array([0, 7])
    exact = solve(TWELVE, goals, HORIZON, 1.0)
    ours = learned(net(TWELVE, hint="none"), TWELVE, goals, 1.0)
    compared = agree(ours, exact, early=HORIZON)
    np.testing.assert_allclose(compared.early, compared.kl)
    walks = every_walk(TWELVE, 3, 7, HORIZON)
    column = np.ones(len(walks), np.int64)
    p, q = ours.log_prob(walks, column), exact.log_prob(walks, column)
    assert np.exp(p).sum() == pytest.approx(1) and np.exp(q).sum() == pytest.approx(1)
    assert compared.kl[1, 3] == pytest.approx(np.exp(p) @ (p - q))
    assert compared.kl_reverse[1, 3] == pytest.approx(np.exp(q) @ (q - p))
    drawn = exact.sample(np.full(20_000, 3), np.ones(20_000, np.int64), np.random.default_rng(0))
    estimate = tv_sampled(ours, exact, drawn, np.ones(20_000, np.int64))
    tv = tv_enumerated(ours, exact, 1, 3)
    assert tv > 0.05 and estimate.mean() == pytest.approx(tv, abs=4 * estimate.std() / 20_000**0.5)
    log_z = log_z_sampled(ours, np.array([3, 5]), np.array([1, 0]), 5000, np.random.default_rng(0))
    assert np.nanmax(np.abs(compared.log_z_error)) > 0.5 and log_z == pytest.approx(
        exact.log_z[[1, 0], [3, 5]], abs=0.1
    )
    many = np.zeros(2000, np.int64)
    alone = log_z_sampled(ours, many + 3, many + 1, 1, np.random.default_rng(1))  # one walk: the evidence's lower bound
    assert alone.mean() == pytest.approx(exact.log_z[1, 3] - compared.kl[1, 3], abs=4 * alone.std() / 2000**0.5)
    with pytest.raises(JepaflowError, match="one graph and horizon"):
        agree(ours, solve(TWELVE, goals, HORIZON - 1, 1.0))


def test_a_network_learns_from_nothing_and_for_goals_it_has_not_seen() -> None:
    graph = make_rooms(RoomsConfig(24, neighbours=4)).graph
    goals, held = np.arange(4, 24), np.arange(4)
    model = net(graph, 8, hint="none")

    def kl(of: np.ndarray) -> float:
        return float(np.nanmean(agree(learned(model, graph, of, 1.0), solve(graph, of, 8, 1.0)).kl))

    before = kl(goals), kl(held)
    train(model, [towards(graph, goals)], GFlowNetConfig(steps=150, walks=16, lr=5e-3))
    assert kl(goals) < 0.1 * before[0] and kl(held) < 0.2 * before[1]


def test_goals_that_no_start_reaches_are_left_out() -> None:
    graph = diamond()
    for starts, trainable in ((torch.arange(5) == 1, True), (torch.arange(5) == 4, False)):
        model, config = net(graph, 2), GFlowNetConfig(steps=3, goals=4, walks=4, backward=0.0)
        if trainable:  # 1 leads to 3 alone: 1 and 2 are no goals of its
            train(model, [towards(graph, np.array([1, 2, 3]))], config, starts=starts)
        else:
            with pytest.raises(JepaflowError, match="No training goal"):
                train(model, [towards(graph, np.array([1, 2, 3]))], config, starts=starts)


def test_many_goals_are_asked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, goals = net(TWELVE, ahead=1), np.arange(12)
    whole = learned(model, TWELVE, goals, 1.5)
    monkeypatch.setattr(verify, "NUMBERS", 1)
    parts = learned(model, TWELVE, goals, 1.5)
    np.testing.assert_allclose(parts.log_flow, whole.log_flow, atol=1e-4)
    assert learned(model, TWELVE, goals[:0], 1.5).log_z.shape == (0, 12)


class Interrupted(RuntimeError):
    """Somebody pulled the plug."""


def test_an_interrupted_training_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, goals = TWELVE, np.arange(12)
    config = GFlowNetConfig(steps=12, goals=4, walks=8, betas=(0.5, 2.0))
    first = net(graph)
    other = NeuralFlow(first.config)
    other.load_state_dict(first.state_dict())
    train(first, [towards(graph, goals)], config)
    monkeypatch.setattr("jepaflow.training.fitting.time.monotonic", iter(range(0, 10**6, 1000)).__next__)
    calls = iter(range(8))

    def stopping(*args: object) -> torch.Tensor:
        if next(calls, None) is None:
            raise Interrupted
        return batch_loss(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(gflownet, "batch_loss", stopping)
    with pytest.raises(Interrupted):
        train(other, [towards(graph, goals)], config, tmp_path / "partial", "it")
    monkeypatch.setattr(gflownet, "batch_loss", batch_loss)
    fresh = NeuralFlow(first.config)
    train(fresh, [towards(graph, goals)], config, tmp_path / "partial", "it")
    for name, value in first.state_dict().items():
        torch.testing.assert_close(fresh.state_dict()[name], value)


def test_a_saved_network_comes_back(tmp_path: Path) -> None:
    model = net(TWELVE, fourier=3, hint="hops")
    save_flow(tmp_path / "flow.safetensors", model)
    back, ways = load_flow(tmp_path / "flow.safetensors"), towards(TWELVE, np.arange(3), 0.5)
    assert back.config == model.config
    torch.testing.assert_close(back(ways), model.eval()(ways))
    (tmp_path / "flow.safetensors").write_bytes(b"nothing")
    with pytest.raises(JepaflowError, match="damaged"):
        load_flow(tmp_path / "flow.safetensors")


def test_nonsense_is_refused() -> None:
    with pytest.raises(JepaflowError, match="within 6 edges"):
        train(net(no_edges(3)), [towards(no_edges(3), np.arange(3))], GFlowNetConfig(steps=1))
    for wrong in (
        {"steps": 0},
        {"explore": 2.0},
        {"betas": (2.0, 1.0)},
        {"betas": (0.0, 1.0)},
        {"loss": "vargrad", "walks": 12},
        {"seed": -1},
        {"clip": 0.0},
    ):
        with pytest.raises(JepaflowError):
            GFlowNetConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(JepaflowError):
        FlowConfig(0, 3)


def test_surroundings_are_sums_over_short_walks() -> None:
    whole = scrambled()
    graph = whole.without([(5, int(node)) for node in whole.indices[whole.source == 5]])
    ways: Towards = replace(towards(graph, np.array([2, 5])), beta=torch.tensor([0.5, 2.0]))
    leaving, entering = (part.numpy() for part in ways.surroundings(3))
    for column, beta in enumerate((0.5, 2.0)):
        weight = np.zeros((8, 8))
        weight[graph.source, graph.indices] = np.exp(graph.log_ref - beta * graph.cost)
        for steps in (1, 2, 3):
            power = np.linalg.matrix_power(weight, steps)
            into = power.sum(0)[int(ways.goals[column])]
            for ours, mass in ((leaving[column, :, steps - 1], power.sum(1)), (entering[column, steps - 1], into)):
                wanted = np.clip(np.log(mass + 1e-30) + steps * beta * graph.cost.mean(), -8, 8)
                np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4)
    assert leaving.min() == -8 and leaving.max() < 8
