"""The arithmetic of ratios, exponents and limits; no figure of a clock is judged."""

import pytest
import torch

from benchmarks.limits import Limits, copy_rate, gemm_rate, measure
from benchmarks.pairs import Pairs, alternate, growth_row, ratio_row, slope, timed, value_row
from benchmarks.rows import choose
from jepaflow.common.errors import JepaflowError

CPU = torch.device("cpu")


def test_pairs_alternate_and_so_does_who_goes_first() -> None:
    called: list[str] = []

    def measured(name: str, seconds: float) -> float:
        called.append(name)
        return seconds

    pairs = alternate(lambda: measured("a", 2.0), lambda: measured("b", 6.0), 3)
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert pairs == Pairs((2.0,) * 3, (6.0,) * 3) and pairs.ratios == [3.0] * 3


def test_a_ratio_is_the_median_of_pairwise_ratios() -> None:
    row = ratio_row("speed/x", Pairs((1.0, 2.0, 1.0), (4.0, 4.0, 9.0)), "what")
    assert (row.value, row.low, row.high, row.n, row.unit) == (4.0, 2.0, 9.0, 3, "ratio")
    row = value_row("speed/y", [3.0, 1.0, 2.0], "ms", "what")
    assert (row.value, row.low, row.high) == (2.0, 1.0, 3.0)


def test_exponents_are_found() -> None:
    assert slope([1, 10, 100], [2, 20, 200]) == pytest.approx(1.0)
    assert slope([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2.0)
    seconds = iter([9, 9, 9, 1, 2, 4, 1, 4, 16])  # what is called first warms up and does not count
    row = growth_row("samples", [1, 2, 4], [lambda: next(seconds)] * 3, 2, "what")
    assert (row.low, row.high) == (pytest.approx(1.0), pytest.approx(2.0)) and 1.0 < row.value < 2.0
    assert row.name == "speed/scaling/samples" and "2: 3e+03" in row.note


def test_timing_counts_calls() -> None:
    called: list[int] = []
    assert timed(lambda: called.append(1), CPU, 4)() >= 0.0
    assert len(called) == 4


def test_limits_are_measured_and_said() -> None:
    limits = measure(CPU, [(2, 3, 4)], seconds=0.001, megabytes=1)
    assert limits.float32 > 0 and limits.bf16 > 0 and limits.copy > 0 and limits.threads == torch.get_num_threads()
    assert [row.name for row in limits.rows()] == [f"speed/limit/{x}" for x in ("gemm_float32", "gemm_bf16", "copy")]
    assert gemm_rate(torch.float32, [(2, 2, 2)], CPU, 0.0) > 0 and copy_rate(CPU, 1, 0.0) > 0
    said = Limits(100e9, 1e9, 1.0, 2, "cpu").share(50e9)
    assert said == "50.0 GFLOP/s, 50% of float32's measured GEMM rate"
    assert "5% of bf16's" in Limits(100e9, 1e12, 1.0, 2, "cpu").share(50e9)


def test_rows_are_chosen_by_name() -> None:
    makers = {"a": 1, "b": 2}
    assert choose(makers, ()) == [1, 2] and choose(makers, ("b",)) == [2]
    with pytest.raises(JepaflowError, match=r"no row 'c'.*a, b"):
        choose(makers, ("b", "c"))
