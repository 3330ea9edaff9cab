"""Factors of variation: each can be fixed and is seen in the state or the picture; draws keep what is fixed."""

from typing import Any

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.desk import DISTRACTORS
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.factors import FACTORS, PALETTE, Factors

VALUES: dict[str, tuple[Any, Any]] = {
    "object.color": ("green", "purple"),
    "object.size": (0.8, "1.1"),
    "object.place": ("0.2,-0.05", (0.25, 0.0)),
    "object.yaw": (0.0, "40"),
    "bin.color": ("white", "green"),
    "light.level": (0.3, 0.7),
    "light.place": (-90.0, 120.0),
    "table.color": ("0.3,0.4,0.5", (0.8, 0.8, 0.8)),
    "camera.laptop": ("0.02,0,0.01", (-0.02, 0.0, 0.0)),
    "camera.phone": ((0.0, 0.02, 0.0), "0,-0.03,0"),
    "distractors": ("1", 3),
    "obstacle": ("wall", "post"),
    "arm.pose": (0.0, 0.1),
}
"""Two values of every factor, as a person or a program gives them."""


def look(name: str, value: Any) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the named state and the pictures of seed 0 with one factor fixed."""
    env = ArmEnv(image_size=64, renderer="ray", fix={name: value})
    seen, info = env.reset(seed=0)
    return dict(zip(env.state_names, info["state"].tolist(), strict=True)), seen


def test_every_factor_has_values_here() -> None:
    assert set(VALUES) == set(FACTORS)


@pytest.mark.parametrize("name", list(FACTORS))
def test_a_fixed_factor_is_in_the_state_and_in_the_picture(name: str) -> None:
    (one, seen_one), (two, seen_two) = (look(name, value) for value in VALUES[name])
    assert any(one[key] != two[key] for key in one)
    keys = {"camera.laptop": ["pixels"], "camera.phone": ["phone"]}.get(name, ["pixels", "phone"])
    for key in keys:
        changed = (np.abs(seen_one[key].astype(int) - seen_two[key]) > 8).any(-1)
        assert changed.sum() >= 4, f"{name} does not show in {key}"


def test_what_is_fixed_has_that_value() -> None:
    env = ArmEnv(
        image_size=8,
        fix={
            "object.color": "green",
            "object.size": 1.1,
            "object.place": "0.2,-0.05",
            "object.yaw": "30",
            "bin.color": "white",
            "light.level": 0.3,
            "table.color": "0.3,0.4,0.5",
            "camera.phone": "0,0.02,0.01",
        },
        vary=("all",),
    )
    for seed in range(5):
        _, info = env.reset(seed=seed)
        state = dict(zip(env.state_names, info["state"].tolist(), strict=True))
        cube = [state[f"cube0_{word}"] for word in ("red", "green", "blue")]
        assert cube == pytest.approx(PALETTE["green"])
        assert [state[f"bin0_{word}"] for word in ("red", "green", "blue")] == pytest.approx(PALETTE["white"])
        assert state["cube0_half"] == pytest.approx(1.1 * env.arm.workplace.cube)
        assert (state["cube0_x"], state["cube0_y"]) == pytest.approx((0.2, -0.05), abs=2e-3)
        assert np.degrees(state["cube0_yaw"]) == pytest.approx(30, abs=3)
        assert state["light_level"] == pytest.approx(0.3)
        assert [state[f"table_{word}"] for word in ("red", "green", "blue")] == pytest.approx([0.3, 0.4, 0.5])
        assert [state[f"phone_shift_{axis}"] for axis in "xyz"] == pytest.approx([0.0, 0.02, 0.01])
        assert "green" in env.task and "white" in env.task


def test_only_what_is_varied_differs() -> None:
    env = ArmEnv(image_size=8, vary=("light", "camera.phone"), fix={"light.level": 0.6})
    states = []
    for seed in range(6):
        _, info = env.reset(seed=seed)
        states.append(dict(zip(env.state_names, info["state"].tolist(), strict=True)))
    table = {name: len({state[name] for state in states}) for name in env.state_names}
    assert table["light_x"] == table["phone_shift_x"] == 6
    assert table["light_level"] == table["laptop_shift_x"] == table["cube0_half"] == table["table_red"] == 1
    assert table["cube0_x"] == table["qpos_0"] == 6, "places and poses are always drawn"


def test_draws_cover_their_ranges_and_skip_what_is_fixed() -> None:
    factors, rng = Factors(("all",), {"obstacle": "post", "camera.phone": (0.0, 0.0, 0.1)}), np.random.default_rng(0)
    draws = [factors.draw(rng) for _ in range(300)]
    assert {draw["obstacle"] for draw in draws} == {"post"}
    assert {draw["camera.phone"] for draw in draws} == {(0.0, 0.0, 0.1)}
    assert {draw["object.color"] for draw in draws} == set(PALETTE)
    assert {draw["distractors"] for draw in draws} == set(range(DISTRACTORS + 1))
    for name, low, high in (("object.size", 0.8, 1.15), ("light.level", 0.25, 0.75), ("light.place", -180.0, 180.0)):
        values = np.array([draw[name] for draw in draws])
        assert low <= values.min() < low + 0.1 * (high - low) and high - 0.1 * (high - low) < values.max() <= high
    assert all(0.0 <= number <= 1.0 for draw in draws for number in draw["table.color"])


def test_words_choose_groups() -> None:
    assert Factors(("camera",)).varied == {"camera.laptop", "camera.phone"}
    assert Factors(("all",)).varied == set(FACTORS)
    assert Factors(("object.color",)).varied == {"object.color"}
    assert Factors(("all",), {"obstacle": "none"}).varied == set(FACTORS) - {"obstacle"}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("colour", "red", "there is no factor 'colour' to fix. Choose among: object.color"),
        ("object.color", "pink", "object.color cannot be 'pink'. Give one of red, blue"),
        ("object.size", "big", "object.size cannot be 'big'. Give"),
        ("object.size", 9, "object.size cannot be '9'. Give a number from 0.6 to 1.3"),
        ("object.size", "nan", "object.size cannot be 'nan'. Give a number"),
        ("object.place", "0.2", "object.place cannot be '0.2'. Give 2 numbers"),
        ("object.place", "a,b", "object.place cannot be 'a,b'. Give"),
        ("object.place", 0.2, "object.place cannot be '0.2'. Give"),
        ("distractors", 7, "distractors cannot be '7'. Give a whole number from 0 to 3"),
        ("camera.phone", [0, 0, 5], "camera.phone cannot be '[0, 0, 5]'. Give 3 numbers from -0.2 to 0.2"),
        ("obstacle", ["wall"], "obstacle cannot be '['wall']'. Give one of"),
        ("distractors", "1.5", "distractors cannot be '1.5'. Give a whole number"),
        ("obstacle", "tree", "obstacle cannot be 'tree'. Give one of none, wall, post, both"),
    ],
)
def test_what_cannot_be_fixed_is_said(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(JepaflowError) as caught:
        ArmEnv(image_size=8, fix={name: value})
    assert str(caught.value).startswith(sentence)
    assert "could not" not in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_factor_cannot_vary() -> None:
    with pytest.raises(JepaflowError, match=r"there is no factor 'colour' to vary. Choose among: all, object\.color"):
        ArmEnv(image_size=8, vary=("colour",))
