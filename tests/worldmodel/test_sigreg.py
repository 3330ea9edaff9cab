"""SIGReg against its formula, its gradient against autograd, and two processes against one."""

import multiprocessing
import socket

import pytest
import torch
import torch.distributed as dist

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.sigreg import epps_pulley, sigreg, subspace_basis


def plain(h: torch.Tensor) -> torch.Tensor:
    """The statistic written straight from the reference: 17 knots on [0, 3], weights 2dt inside and dt at the ends."""
    t = torch.linspace(0, 3, 17, dtype=h.dtype)
    dt = 3 / 16
    weights = torch.full((17,), 2 * dt, dtype=h.dtype)
    weights[0] = weights[-1] = dt
    weights = weights * torch.exp(-t.square() / 2)
    angle = h[..., None] * t  # [T, B, M, knots]
    error = (angle.cos().mean(1) - torch.exp(-t.square() / 2)).square() + angle.sin().mean(1).square()
    return ((error * weights).sum(-1) * h.shape[1]).mean()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (3, 8, 5), (4, 64, 33)])
def test_equals_the_formula_and_its_gradient(shape: tuple[int, int, int]) -> None:
    h = torch.randn(shape, requires_grad=True)
    reference = h.detach().double().requires_grad_()
    epps_pulley(h).backward()
    plain(reference).backward()
    torch.testing.assert_close(epps_pulley(h).double(), plain(reference), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(h.grad.double(), reference.grad, rtol=1e-3, atol=1e-6)


def test_gradient_is_scaled_by_the_outer_one() -> None:
    h = torch.randn(2, 8, 3, requires_grad=True)
    (3 * epps_pulley(h)).backward()
    tripled, h.grad = h.grad, None
    epps_pulley(h).backward()
    torch.testing.assert_close(tripled, 3 * h.grad)


def test_a_gaussian_scores_low_a_collapse_scores_high() -> None:
    generator = torch.Generator().manual_seed(0)
    gaussian = sigreg(torch.randn(512, 2, 16), generator)
    collapsed = sigreg(torch.zeros(512, 2, 16), generator)
    half = sigreg(torch.randn(512, 2, 16) * torch.tensor([1.0] * 8 + [0.0] * 8), generator)
    assert gaussian < 2 < half < collapsed


def test_directions_come_from_the_generator_alone() -> None:
    z = torch.randn(16, 2, 4)
    first = sigreg(z, torch.Generator().manual_seed(5))
    torch.randn(10)
    assert torch.equal(first, sigreg(z, torch.Generator().manual_seed(5)))
    assert not torch.equal(first, sigreg(z, torch.Generator().manual_seed(6)))


def test_subspaces_ask_nothing_across_them() -> None:
    basis = subspace_basis(16, 4)
    torch.testing.assert_close(basis.T @ basis, torch.eye(16), rtol=0, atol=1e-5)
    generator, own = (
        torch.Generator().manual_seed(0),
        torch.randn(512, 1, 4, generator=torch.Generator().manual_seed(1)),
    )
    repeated = own.repeat(1, 1, 4) @ basis.T  # every sub-space holds the same four numbers
    whole, apart = (sigreg(repeated, generator, 2048, count) for count in (1, 4))
    assert apart < 2 < 5 < whole
    assert sigreg(torch.zeros(512, 1, 16), generator, 64, 4) > 50  # a collapse is still seen


def test_subspaces_must_share_the_latent_out() -> None:
    with pytest.raises(JepaflowError, match="no 5 equal sub-spaces"):
        sigreg(torch.zeros(2, 1, 16), torch.Generator(), 8, 5)


def _rank(rank: int, port: int, z: torch.Tensor, out: "multiprocessing.Queue[tuple[int, float, list[float]]]") -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    mine = z.chunk(2)[rank].clone().requires_grad_()
    loss = sigreg(mine, torch.Generator().manual_seed(0), directions=32)
    loss.backward()
    out.put((rank, float(loss), mine.grad.flatten().tolist()))
    dist.destroy_process_group()


def test_two_processes_equal_one() -> None:
    """Averaged over ranks, as data-parallel training does, the gradient is that of the whole batch (le-wm issue 27)."""
    z = torch.randn(8, 2, 4)
    whole = z.clone().requires_grad_()
    loss = sigreg(whole, torch.Generator().manual_seed(0), directions=32)
    loss.backward()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    ranks = [context.Process(target=_rank, args=(rank, port, z, out)) for rank in range(2)]
    for process in ranks:
        process.start()
    results = sorted(out.get(timeout=120) for _ in ranks)
    for process in ranks:
        process.join()
    for _, value, _ in results:
        assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    gradient = (
        torch.cat([torch.tensor(g) for _, _, g in results]) / 2
    )  # what averaging over two ranks leaves of each sample's
    torch.testing.assert_close(gradient, whole.grad.flatten(), rtol=1e-4, atol=1e-7)
