"""The plain references compute what jepaflow computes: ratios compare like with like."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.plan_setup import OurPlanner, awake, compare, made_scene, plain_planner
from benchmarks.reference.dino_wm import DinoSize, DinoWM
from benchmarks.reference.lewm_planning import LewmPlanner, Scene, Search
from benchmarks.reference.plain_model import PlainJEPA
from benchmarks.reference.plain_step import plain_loss
from jepaflow.cli.benchmark import Budget
from jepaflow.data.windows import Window
from jepaflow.training.objective import ObjectiveConfig, losses
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.presets import PRESETS, preset
from tests.training.tiny_run import TINY

CPU = torch.device("cpu")
VIT = replace(TINY, image_size=12, encoder=EncoderConfig("vit", width=6, patch=4, depth=2, heads=2))
CONFIGS = {"tiny": TINY, "vit": VIT, **{name: preset(name) for name in PRESETS if preset(name).image_size < 200}}
BUDGET = Budget(samples=40, iterations=6, horizon=4, repeats=1)


@pytest.mark.parametrize("name", CONFIGS)
def test_plain_twin_encodes_and_predicts_the_same(name: str) -> None:
    model = awake(CONFIGS[name], CPU)
    plain, scene = PlainJEPA.of(model), made_scene(model.config, 3, CPU)
    blocks = torch.randn(1, 3, model.config.block, model.config.action_dim)
    with torch.no_grad():
        z = model.encode(scene.frames)
        torch.testing.assert_close(plain.encode(scene.frames), z)
        torch.testing.assert_close(plain.predict(z, blocks), model.predict(z, blocks))


def test_plain_twin_of_the_published_size_has_its_parameters() -> None:
    assert sum(p.numel() for p in PlainJEPA(preset("paper")).parameters()) == 18_034_478


def test_plain_and_our_step_have_the_same_loss_and_gradients() -> None:
    config = replace(TINY, predictor=replace(TINY.predictor, dropout=0.0))
    model = JEPA(config).train()
    plain = PlainJEPA.of(model)
    window = Window(
        torch.randint(0, 255, (6, 4, 1, 8, 8, 3), dtype=torch.uint8),
        torch.randn(6, 4, 2, 2),
        None,
        np.zeros((6, 3), np.int64),
    )
    loss = ObjectiveConfig(directions=16)
    ours = losses(model, window, loss, torch.Generator().manual_seed(1)).total
    other = plain_loss(plain, window, loss.sigreg, loss.directions, torch.Generator().manual_seed(1))
    ours.backward(), other.backward()
    torch.testing.assert_close(ours, other)
    theirs = dict(plain.named_parameters())
    assert len(theirs) == sum(1 for _ in model.parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("history", [3, 8])
@pytest.mark.parametrize("seen", [1, 3])
def test_plain_planning_finds_the_same_elites_and_plan(seen: int, history: int) -> None:
    model = awake(replace(TINY, history=history), CPU)
    ours = OurPlanner(model, BUDGET, made_scene(model.config, seen, CPU), "float32")
    found = compare(ours, plain_planner(model, BUDGET), seed=5)
    assert found.iterations == found.same_elites == BUDGET.iterations
    assert found.cost_difference < 1e-4 and found.answer_difference < 1e-4 and found.tie == 0.0


def test_other_weights_find_other_elites() -> None:
    """The comparison can fail."""
    scene = made_scene(TINY, 3, CPU)
    ours = OurPlanner(awake(TINY, CPU, seed=0), BUDGET, scene)
    found = compare(ours, plain_planner(awake(TINY, CPU, seed=1), BUDGET))
    assert found.same_elites < found.iterations and found.cost_difference > 1e-2 and found.tie > 1e-3


def test_plain_planning_improves_and_encoding_anew_changes_nothing() -> None:
    model = PlainJEPA.of(awake(TINY, CPU))
    scene = made_scene(TINY, 2, CPU)
    search = Search(30, 5, 3, 5)
    plans = [
        LewmPlanner(model, replace(search, encode_each_iteration=again)).plan(scene, torch.Generator().manual_seed(0))
        for again in (False, True)
    ]
    torch.testing.assert_close(plans[0].mean, plans[1].mean)
    assert plans[0].mean.shape == (1, 3, TINY.block, TINY.action_dim)
    best = [float(costs.topk(5, largest=False).values.mean()) for costs in plans[0].costs]
    assert best[-1] < best[0]


def test_plain_planning_takes_environments_one_after_the_other() -> None:
    """Each plans from its own history to its own goal: the second's plan is what it finds alone with what noise is left."""
    model = PlainJEPA.of(awake(TINY, CPU))
    one, two = made_scene(TINY, 2, CPU, 0), made_scene(TINY, 2, CPU, 1)
    both = Scene(*(torch.cat([getattr(one, name), getattr(two, name)]) for name in ("frames", "past", "goal")))
    planner = LewmPlanner(model, Search(20, 2, 3, 4))
    generator = torch.Generator().manual_seed(3)
    alone = [planner.plan(scene, generator).mean for scene in (one, two)]
    torch.testing.assert_close(torch.cat(alone), planner.plan(both, torch.Generator().manual_seed(3)).mean)


def test_patch_tokens_see_their_frame_and_the_ones_before() -> None:
    size = DinoSize(patches=4, width=6, action_width=2, depth=2, heads=2, dim_head=3, mlp=8)
    model = DinoWM(size, entries=5).eval()
    x, blocks = torch.randn(1, 3, 4, 6), torch.randn(1, 3, 5)
    with torch.no_grad():
        before = model.predict(x, blocks)
        later, within = x.clone(), x.clone()
        later[:, 2] += 1
        within[:, 1, 3] += 1
        assert torch.equal(model.predict(later, blocks)[:, :2], before[:, :2])
        assert not torch.allclose(model.predict(within, blocks)[:, 1, 0], before[:, 1, 0])
    costs = model.price(x, blocks[:, :2], x[:, 0], torch.randn(3, 4, 5))
    assert costs.shape == (3,) and len(set(costs.tolist())) == 3


def test_patch_tokens_are_counted() -> None:
    """Twice the products with weights, and what attention adds, as in the published size."""
    size = DinoSize(patches=4, width=6, action_width=2, depth=1, heads=2, dim_head=3, mlp=8)
    linears = 2 * 12 * (8 * 18 + 6 * 8 + 8 * 8 + 8 * 8)
    assert size.predicted(3) == linears + 2 * 2 * 12 * 12 * 6
