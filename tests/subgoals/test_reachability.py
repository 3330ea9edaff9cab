"""Reachability: the head's answers in bulk are the head's, calibration mends what it says, figures are the known ones."""

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.reach_figures import (
    auc_row,
    ece_row,
    expected_calibration_error,
    reach_pairs,
    reliability,
)
from jepaflow.subgoals.reachability import Calibration, Reachability
from jepaflow.worldmodel.distance import DistanceConfig, TemporalDistance

from .test_landmarks import latents_of


@pytest.fixture
def head() -> TemporalDistance:
    """An untrained head that scales its latents."""
    torch.manual_seed(0)
    head = TemporalDistance(DistanceConfig(6, cap=8, hidden=16, depth=2)).eval()
    head.latent_scaler.mean.copy_(torch.randn(6))
    head.latent_scaler.std.copy_(torch.rand(6) + 0.5)
    return head


def test_bulk_answers_are_the_heads_own(head: TemporalDistance) -> None:
    a, b = torch.randn(5, 6), torch.randn(7, 6)
    i, j = torch.cartesian_prod(torch.arange(5), torch.arange(7)).T
    own = head.logits(a[:, None], b[None]).log_softmax(-1).flatten(0, 1)
    found = Reachability(head).log_probabilities(a, b, i, j)
    assert torch.allclose(found, own, atol=1e-5)
    assert np.allclose(Reachability(head).within(found, 3), own.exp()[:, :4].sum(1).detach(), atol=1e-5)
    assert Reachability(head).log_probabilities(a, b, i[:0], j[:0]).shape == (0, 9)


def test_steps_are_a_quantile_linear_between_bins(head: TemporalDistance) -> None:
    p = torch.tensor(
        [[0.1, 0.4, 0.5, 0, 0, 0, 0, 0, 0], [0.6, 0, 0, 0, 0, 0, 0, 0, 0.4], [0, 0, 0, 0, 0, 0, 0, 0, 1.0]]
    )
    steps = Reachability(head).steps(torch.log(p + 1e-30), 0.3)
    assert steps == pytest.approx([0.5, 0.0, 7.3], abs=1e-5)
    a, b = torch.randn(2, 1, 6), torch.randn(1, 3, 6)
    own = Reachability(head).between(a, b)
    assert own.shape == (2, 3)
    log_p = head.logits(a[1, 0], b[0, 2]).log_softmax(-1).detach()
    assert own[1, 2].item() == pytest.approx(float(Reachability(head).steps(log_p[None])[0]), abs=1e-4)


@pytest.mark.parametrize("h", [0, 8, 20])
def test_distances_that_the_head_does_not_tell_apart_are_refused(head: TemporalDistance, h: int) -> None:
    with pytest.raises(JepaflowError, match="1 to 7 model steps"):
        Reachability(head).within(torch.zeros(1, 9), h)


def test_calibration_is_isotonic_regression() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(4000)
    label = (rng.random(4000) < said**2).astype(float)
    fitted = Calibration.fit(said, label)
    reference = IsotonicRegression().fit(said, label).predict(said)
    assert (np.diff(fitted(np.linspace(0, 1, 200))) >= 0).all()
    assert np.abs(fitted(said) - reference).mean() < 0.03
    assert expected_calibration_error(fitted(said), label) < 0.03 < expected_calibration_error(said, label)


def test_calibration_of_few_pairs_and_of_none() -> None:
    assert Calibration.fit(np.array([0.3]), np.array([1.0]))(np.array([0.0, 1.0])).tolist() == [1.0, 1.0]
    with pytest.raises(JepaflowError, match="no pair"):
        Calibration.fit(np.array([]), np.array([]))


def test_the_calibration_error_of_what_is_known() -> None:
    label = np.array([1.0, 0.0, 1.0, 0.0])
    assert expected_calibration_error(np.full(4, 0.5), label) == 0.0
    assert expected_calibration_error(np.ones(4), label) == pytest.approx(0.5)
    said, true, share = reliability(np.array([0.05, 0.05, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    assert said == pytest.approx([0.05, 0.975])
    assert true == pytest.approx([0.5, 1.0])
    assert share == pytest.approx([0.5, 0.5])


def test_pairs_are_of_the_kinds_they_say(tmp_path) -> None:
    z = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    latents = latents_of(tmp_path, [40, 50], z)
    pairs = reach_pairs(latents, 400, 10, np.random.default_rng(0), pool=5 / 90)
    episode = latents.corpus.episode
    same = episode[pairs.a] == episode[pairs.b]
    assert same[pairs.kind == 0].all()
    assert not same[pairs.kind > 0].any()
    assert ((pairs.b - pairs.a)[pairs.kind == 0] <= 10).all()
    gap = (z[torch.from_numpy(pairs.a)] - z[torch.from_numpy(pairs.b)]).norm(dim=1).numpy()
    for a, b, own in zip(pairs.a[pairs.kind == 2], pairs.b[pairs.kind == 2], gap[pairs.kind == 2]):
        others = (z[episode != episode[a]] - z[a]).norm(dim=1)
        assert own <= float(others.sort().values[4]) + 1e-5, (a, b)
    assert 150 < (pairs.kind == 0).sum() <= 200


def test_rows_carry_area_error_and_floors() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 600).astype(float)
    p = np.clip(0.5 + 0.3 * (2 * label - 1) + 0.2 * rng.standard_normal(600), 0.01, 0.99)
    latent = rng.random(600)
    episodes = np.arange(600) // 20
    area = auc_row("reach/made/auc", p, latent, label, episodes, "h 3")
    assert area.value == pytest.approx(roc_auc_score(label, p))
    assert area.floors == {"latent": pytest.approx(roc_auc_score(label, latent)), "chance": 0.5}
    assert area.low <= area.value <= area.high
    error = ece_row("reach/made/ece", p, label, {"base_rate": np.full(600, label.mean())}, episodes, "h 3")
    assert error.value == pytest.approx(expected_calibration_error(p, label))
    assert error.floors["base_rate"] == pytest.approx(0.0, abs=1e-9)
    assert error.low <= error.high
