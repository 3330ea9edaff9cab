"""The pieces of `benchmarks.where_lost`: the simulator as a world model imagines what happens; probes read what is there."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import true_dynamics
from benchmarks.place_probe import RADIUS, places
from benchmarks.place_rows import MOVES, Reading, reading_rows
from benchmarks.true_dynamics import SeenWorld, StatePolicy, TrueWorld
from benchmarks.where_lost_policies import own_cameras, place_matrix, views
from jepaflow.common.errors import JepaflowError
from jepaflow.diagnosis.ridge import STRENGTHS, ridge
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.run import run_trials
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig, GoalCost, WeightedError
from jepaflow.planning.goal import Goal
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.registry import World, WorldOptions, action_bounds, find_world
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig

ENTRY = find_world("so101/push").bound(WorldOptions(cameras=("laptop",)))
TRIALS = load_protocol("so101/push_25").first(2)
BLOCK = 5


def plans(world: World, count: int, blocks: int) -> torch.Tensor:
    """Return random plans around the recorded actions' first, inside the action box, (count, blocks, K, A)."""
    low, high = action_bounds(world)
    drift = np.random.default_rng(0).normal(0.0, 3.0, (count, blocks, BLOCK, 6))
    return torch.from_numpy(np.clip(TRIALS.actions[:1, None, :1] + drift, low, high)).float()


def test_true_dynamics_imagine_what_the_simulator_does() -> None:
    """Bit for bit, whatever was imagined before: two starts, three plans each, against worlds that simply act."""
    world = TrueWorld(ENTRY.make(8), BLOCK, torch.device("cpu"))
    actions = plans(ENTRY.make(8), 6, 3)
    starts = torch.from_numpy(TRIALS.starts).repeat_interleave(3, 0)[:, None]
    imagined = world.rollout(world.encode(torch.zeros(6, 1, 1, 1, 1, 3), starts), actions[:, :0], actions)
    for start, plan, states in zip(starts[:, 0].numpy(), actions.numpy(), imagined.numpy(), strict=True):
        alone = ENTRY.make(8)
        alone.set_state(start)
        for block, state in zip(plan, states, strict=True):
            for action in block:
                alone.advance(action)
            assert np.array_equal(alone.get_state(), state)
    assert not np.array_equal(imagined[0], imagined[1])


def test_a_plan_of_true_dynamics_is_never_surprised() -> None:
    """The whole loop: what the controller expects after each block is what the acting world is then in."""
    world, own = TrueWorld(ENTRY.make(8), BLOCK, torch.device("cpu")), ENTRY.make(8)
    low, high = (torch.from_numpy(bound) for bound in action_bounds(own))
    space = ActionSpace.from_bounds(low, high, change=torch.full_like(low, 0.5))
    solver = SolverConfig(samples=6, elites=2, iterations=2, horizon=2, parameters="displace")
    cost = GoalCost(CostConfig(path=0.5), WeightedError(place_matrix(places(own.state_names)[0], len(own.state_names))))
    controller = Controller(world, space, ControllerConfig(solver, surprise=0.0), cost)
    policy = StatePolicy(ENTRY, 8, controller, (), lambda goals: Goal(torch.from_numpy(goals)[:, None]))
    outcome = run_trials(ENTRY, 8, policy, TRIALS.starts, TRIALS.goals, 4 * BLOCK, "test")
    assert np.abs(outcome.states[:, -1] - outcome.states[:, 0]).max() > 0.01  # something happened
    assert [error.tolist() for error in controller.forecast_errors] == [[0.0, 0.0]] * 3


def test_seen_worlds_latents_are_those_of_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the pictures of one rollout do not fit one batch."""
    monkeypatch.setattr(true_dynamics, "ENCODE_BATCH", 4)
    config = JEPAConfig(
        16, action_dim=6, proprio_dim=6, latent_dim=8, encoder=EncoderConfig(), predictor=PredictorConfig(depth=1)
    )
    model = JEPA(config).eval()
    world = SeenWorld(ENTRY.make(16), model, ["pixels"])
    actions = plans(ENTRY.make(8), 2, 3)
    with torch.inference_mode():
        seen = world.rollout(torch.from_numpy(TRIALS.starts)[:, None], actions[:, :0], actions)
        states = TrueWorld(ENTRY.make(8), BLOCK, torch.device("cpu")).rollout(
            torch.from_numpy(TRIALS.starts)[:, None], actions[:, :0], actions
        )
        goal = world.goal(states[:, -1].numpy())
    assert seen.shape == (2, 3, 8)
    assert goal.latents is not None
    torch.testing.assert_close(seen[:, -1], goal.latents[:, 0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(seen[0, 0], seen[0, 2], atol=1e-4)


def test_the_true_cost_is_the_objects_distance() -> None:
    """Squared, in units of the goal's radius, mean over x, y, z; nothing else in the state counts."""
    names = ENTRY.make(8).state_names
    cube = places(names)[0]
    assert [names[column] for column in cube.columns] == ["cube0_x", "cube0_y", "cube0_z"]
    goal = torch.zeros(1, 1, len(names))
    state = goal + 1.0
    state[..., list(cube.columns)] = torch.tensor([0.03, 0.0, 0.04])
    cost = WeightedError(place_matrix(cube, len(names)))(state, goal)
    assert float(cost) == pytest.approx((0.05 / RADIUS) ** 2 / 3)
    with pytest.raises(JepaflowError):
        places(["agent_x", "agent_y"])


def test_a_probe_recovers_a_linear_map() -> None:
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(20), 30)
    z = rng.normal(2.0, 1.5, (600, 8))
    truth, offset = rng.normal(0.0, 0.1, (3, 8)), np.array([0.3, 0.0, -0.2])
    y = z @ truth.T + offset
    weight, bias, _ = ridge((z, y + rng.normal(0.0, 1e-3, y.shape), episode))
    np.testing.assert_allclose(weight, truth, atol=2e-4)
    np.testing.assert_allclose(bias, offset, atol=2e-3)
    # What latents do not tell, a probe does not read on other episodes: the ridge gets strong instead.
    noise = rng.normal(0.0, 1.0, (600, 1)) + rng.normal(0.0, 1.0, 20)[episode, None]
    weight, _, strength = ridge((z, noise, episode))
    assert np.abs(weight).max() < 0.1 and strength == STRENGTHS[-1]
    with pytest.raises(JepaflowError):
        ridge((z[:90], y[:90], episode[:90]))


def test_a_probe_avoids_what_imagination_spoils() -> None:
    """Two directions tell the same, one hardly varies; imagined latents are wrong there, so the ridge leans on the other."""
    rng = np.random.default_rng(0)
    episode, y = np.repeat(np.arange(10), 40), rng.normal(0.0, 1.0, (400, 1))
    z = np.concatenate([y + rng.normal(0.0, 0.1, y.shape), y + rng.normal(0.0, 0.1, y.shape)], 1)
    z = z @ np.array([[1.0, 1.0], [1.0, -1.0]])  # the sum and, tiny, the difference
    z = np.concatenate([z, (z[:, 1:] + rng.normal(0.0, 1e-3, y.shape)) + 1e-2 * y], 1)  # only beside the difference
    imagined = z + np.array([0.0, 0.0, 0.05])
    plain, wary = ridge((z, y, episode)), ridge((z, y, episode), (imagined, y, episode))

    def off(fit: tuple[np.ndarray, np.ndarray, float]) -> float:
        return float(np.square(imagined @ fit[0].T + fit[1] - y).mean())

    assert off(wary) < 0.5 * off(plain)
    assert wary[2] > plain[2]


def test_rows_tell_seeing_from_foreseeing() -> None:
    """A reading with an error of 1 cm that foresees half of the motion."""
    rng = np.random.default_rng(0)
    before = rng.uniform(-0.1, 0.1, (200, 3))
    motion = np.zeros_like(before)
    motion[::2, 0] = 4 * MOVES
    motion[1::4, 1] = 0.5 * MOVES  # too little to count as motion
    true = before + motion
    read = before + 0.5 * motion
    reading = Reading(read, true, np.repeat(np.arange(10), 20), true, before, before, before)
    rows = {row.name: row for row in reading_rows("x", reading, "made up")}
    assert rows["x_moving/share"].value == pytest.approx(0.5)
    assert rows["x_moving/share"].ceilings["real"] == pytest.approx(1.0)
    assert rows["x_moving/cm"].value == pytest.approx(2.0)
    assert (rows["x_moving/cm"].n, rows["x_moving/cm"].floors["stays"]) == (100, pytest.approx(4.0))
    off, spread = np.square(read - true).sum(), np.square(true - true.mean(0)).sum()
    assert rows["x/r2"].value == pytest.approx(1 - off / spread)
    assert rows["x/cm"].floors["arm"] == rows["x/cm"].floors["stays"] > rows["x/cm"].value
    assert rows["x/r2"].floors["arm"] == pytest.approx(1 - np.square(motion).sum() / spread)
    assert rows["x/cm"].value == pytest.approx(1.0 + 0.25 / 4)


@pytest.mark.parametrize(
    ("cameras", "drawn", "keys"),
    [
        (("pixels",), ("laptop",), ["pixels"]),
        (("phone",), ("phone",), ["pixels"]),
        (("phone", "pixels"), ("laptop", "phone"), ["phone", "pixels"]),
        (("phone", "wrist"), ("phone", "wrist"), ["pixels", "wrist"]),
    ],
)
def test_only_the_models_cameras_are_drawn(cameras: tuple[str, ...], drawn: tuple[str, ...], keys: list[str]) -> None:
    run = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(cameras=cameras)))
    world = own_cameras(run, find_world("so101/push")).make(8)  # type: ignore[arg-type]
    assert (world.cameras, views(run, world.cameras)) == (drawn, keys)  # type: ignore[arg-type]
    assert set(keys) <= set(world.observation())
