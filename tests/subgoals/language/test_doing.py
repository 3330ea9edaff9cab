"""The doer learns what recordings did next; its commander looks, and tries again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language import deeds
from jepaflow.subgoals.language.clause import Clause
from jepaflow.subgoals.language.deeds import DeedCommander
from jepaflow.subgoals.language.doing import (
    CHUNK,
    MANNERS,
    Doer,
    DoerConfig,
    Lesson,
    lesson_of,
    load_doer,
    manner_of,
    save_doer,
    scale_doer,
    train_doer,
)
from jepaflow.subgoals.language.grounding import Labelled
from jepaflow.subgoals.language.hands import A_PUSH, FAST, JUDGED, LONG, PACE, TOUCHES, Hands
from jepaflow.subgoals.language.lessons import Part
from jepaflow.subgoals.language.pointing import Pointer
from jepaflow.subgoals.language.pushing import SHORT, Pusher, Pushes, beyond, known_of, teach_rest, train_pusher
from jepaflow.subgoals.language.request import Request
from jepaflow.subgoals.language.resting import USUAL
from jepaflow.subgoals.language.touching import Looks, Reaches, Touch, train_touch
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig
from jepaflow.training.latents import Latents
from tests.subgoals.language.test_commander import BLUE, PUT, RED, RIGHT, START, Eyes, commander

JOINTS, DIM = 3, 4


def doer(**changes: object) -> Doer:
    config = DoerConfig(
        **{"hidden": 64, "steps": 500, "batch": 128, "lr": 3e-3, "noise": 0.0, "dropout": 0.0, **changes}
    )  # type: ignore[arg-type]
    return Doer(DIM, Pointer(4, 2, 1, JOINTS, 3, hidden=4), config).eval()


def lesson(rows: int, seed: int) -> tuple[Latents, Lesson]:
    """Recordings whose arm goes to where the hand points."""
    rng = np.random.default_rng(seed)
    goal = rng.normal(size=(rows, JOINTS)).astype(np.float32) * 20
    now = rng.normal(size=(rows, JOINTS)).astype(np.float32) * 20
    row, one = np.arange(rows), np.zeros(rows, np.int64)
    corpus = Corpus([], np.zeros((1, 2), np.int64), np.array([rows]), one, row, one, row, goal, now)
    latents = Latents(corpus, torch.from_numpy(rng.normal(size=(rows, DIM))).float())
    return latents, Lesson(row, row, np.concatenate([goal, 0 * goal], 1))


def test_it_learns_to_go_where_the_hand_points() -> None:
    torch.manual_seed(0)
    made = doer()
    scale_doer(made, lesson(2000, 0)[0])
    train_doer(made, *lesson(2000, 0))
    latents, new = lesson(100, 1)
    proprio = latents.corpus.proprio
    assert proprio is not None
    aim = torch.cat([made.standard(one) for one in np.split(new.aim, 2, 1)], 1)
    said = made.act(latents.z, aim, proprio)
    wanted = latents.corpus.actions
    assert said.shape == (100, CHUNK, JOINTS)
    assert np.abs(said[:, 0] - wanted).mean() < 0.3 * np.abs(proprio - wanted).mean()
    # Past the end of a clause the last action stays.
    assert np.abs(said[:, -1] - wanted).mean() < 0.3 * np.abs(proprio - wanted).mean()


def test_every_hold_is_a_lesson_in_hindsight() -> None:
    gripper = [90.0] * 5 + [10.0] * 9 + [90.0] * 5 + [10.0] * 20 + [90.0] * 60
    proprio = np.stack([np.arange(99.0), np.zeros(99), gripper], 1).astype(np.float32)
    row, one = np.arange(99), np.zeros(99, np.int64)
    corpus = Corpus([], np.array([[0, 7]]), np.array([99]), one, row, one, row, proprio, proprio)
    episodes = Labelled(np.zeros(1, int), np.array([7]), np.array([99]), ((),), np.array([True]))
    made = lesson_of(corpus, episodes, 50.0)
    assert made is not None
    assert made.rows.tolist() == [*range(15), *range(14, 70)]
    assert made.last.tolist() == [14] * 15 + [69] * 56
    assert made.aim[0].tolist() == [5, 0, 10, 14, 0, 90] and made.aim[-1].tolist() == [19, 0, 10, 39, 0, 90]
    assert lesson_of(corpus, replace(episodes, done=np.array([False])), 50.0) is None
    pushed = replace(episodes, clauses=((Clause("push", BLUE, RIGHT),),))
    assert lesson_of(corpus, pushed, 50.0) is None  # a hand that shuts to push holds nothing


def test_hands_go_back_when_they_shut_on_nothing_or_opened_and_are_pointed_anew_there() -> None:
    made = doer()
    made.middle.fill_(50.0)
    made.empty.fill_(15.0)
    home = np.array([[0.0, 0.0, 40.0]], np.float32)
    frames, z, pair, row = (
        np.zeros((1, 1, 64, 64, 3), np.uint8),
        torch.zeros(1, DIM),
        np.array([[1, 2]]),
        np.zeros(1, int),
    )
    hands = Hands(made, home)

    def at(pan: float, gripper: float) -> np.ndarray:
        return hands.act(row, z, frames, np.array([[pan, 0, gripper]], np.float32), pair)

    at(0, 40)  # half shut from the beginning, which is no grasp
    aim = hands.aim.clone()
    assert not hands.back[0] and not hands.shut[0]
    at(20, 90)
    at(30, 30)
    assert hands.shut[0] and not hands.back[0]
    way = at(30, 5)  # it shut on nothing: straight back
    assert hands.back[0]
    assert way[0, :2].tolist() == [[27.5, 0, 7.5], [25, 0, 10]]
    hands.aim += 1
    at(3, 40)
    assert not hands.back[0] and torch.equal(hands.aim, aim)
    for gripper in (90, 30, 30, 90, 90):
        at(30, gripper)
        assert not hands.back[0]
    at(30, 90)  # the deed's last looks are over
    assert hands.back[0] and hands.put[0]
    for _ in range(JUDGED - 1):
        assert at(0, 90)[0, :, 2].tolist() == [90.0] * CHUNK  # open while what was put down is judged
    assert hands.put[0]
    at(0, 90)
    assert not hands.put[0] and hands.back[0]
    at(0, 40)
    assert not hands.back[0]
    for _ in range(LONG + 1):
        at(30, 90)
        assert not hands.back[0]
    at(30, 90)
    assert hands.back[0]


def asked_of(hands: Hands, manner: str, joints: np.ndarray) -> np.ndarray:
    hands.doer.manner.fill_(MANNERS.index(manner))
    one, frames = np.zeros(1, int), np.zeros((1, 1, 64, 64, 3), np.uint8)
    return hands.act(one, torch.zeros(1, DIM), frames, joints[None].astype(np.float32), np.array([[1, 2]]))[0]


def test_a_hand_that_reaches_goes_straight_there_stays_and_points_anew_in_time() -> None:
    hands = Hands(doer(), np.zeros((1, 3), np.float32))
    for line in (hands.doer.pointer.touches.where.line, hands.doer.pointer.touches.where.bend[2]):
        torch.nn.init.zeros_(line.weight)
        torch.nn.init.zeros_(line.bias)
    hands.doer.pointer.mean.copy_(torch.tensor([30.0, -1.0, 0.0]))  # wherever anything shows, it is touched there
    asked_of(hands, "reach", np.zeros(3))
    way = asked_of(hands, "reach", np.zeros(3))
    assert way[:, 0].tolist() == [PACE * step for step in range(1, CHUNK + 1)] and way[:, 1].tolist() == [-1.0] * CHUNK
    one, far = np.zeros(1, int), np.zeros((1, 3), np.float32)
    assert hands.arrived(one, hands.touch).tolist() == [True] and hands.arrived(one, far).tolist() == [False]
    hands.doer.pointer.touches.usual.fill_(-10.0)  # it is never as sure
    assert hands.arrived(one, hands.touch).tolist() == [False]
    for _ in range(TOUCHES):
        assert asked_of(hands, "reach", hands.touch[0]).tolist() == [hands.touch[0].tolist()] * CHUNK
    asked_of(hands, "reach", hands.touch[0])
    assert hands.back[0] and not hands.put[0] and not hands.arrived(one, hands.touch)[0]


def test_a_hand_that_pushed_goes_back_the_way_it_came() -> None:
    hands = Hands(doer(), np.zeros((1, 3), np.float32))
    way = [np.zeros(3), np.array([40.0, 0, 0]), np.array([80.0, 0, 0]), np.array([80.0, 40, 0])]
    asked_of(hands, "push", np.zeros(3))  # hands begin on their way back
    assert not hands.back[0]
    for joints in (*way[1:], *way[-1:] * (A_PUSH - len(way) + 2)):
        asked_of(hands, "push", joints)
        assert not hands.back[0]
    back = asked_of(hands, "push", way[3])
    assert hands.back[0] and not hands.put[0]
    assert back[:, 0].tolist() == [80.0] * CHUNK and back[:2, 1].tolist() == [40 - FAST, 40 - 2 * FAST]
    asked_of(hands, "push", way[3])  # something holds it
    back = asked_of(hands, "push", way[3])
    assert back[0].tolist() == [80 - FAST, 40 - FAST, 0]  # what it does not reach it leaves out
    back = asked_of(hands, "push", way[1])
    assert back[0].tolist() == [40 - FAST, 0, 0]
    asked_of(hands, "push", np.zeros(3))
    assert not hands.back[0]
    hands.forget()
    asked_of(hands, "push", way[1])
    assert hands.back[0]  # something else is asked for


def test_a_hand_that_pushed_goes_back_the_way_it_came_whatever_is_asked_for_next() -> None:
    hands = Hands(doer(), np.zeros((1, 3), np.float32))
    for joints in (np.zeros(3), np.array([40.0, 0, 0]), np.array([40.0, 40, 0])):
        asked_of(hands, "push", joints)
    hands.forget()
    back = asked_of(hands, "put", np.array([40.0, 40, 0]))
    assert hands.back[0] and back[0].tolist() == [40, 40 - FAST, 0]
    hands = Hands(doer(), np.zeros((1, 3), np.float32))
    asked_of(hands, "put", np.zeros(3))
    hands.forget()
    back = asked_of(hands, "put", np.array([40.0, 40, 0]))
    assert back[0].tolist() == [40 - PACE, 40 - PACE, 0]


def test_a_place_is_moved_on_away_from_its_thing() -> None:
    spots = torch.tensor([[0.0, 0, 0.1, 0.1, 0.3, 0.4, 0.1, 0.1]])  # two views; in one the thing lies in the middle
    further = beyond(spots)
    assert further[0, :4].tolist() == spots[0, :4].tolist() and further[0, 6:].tolist() == spots[0, 6:].tolist()
    torch.testing.assert_close(further[0, 4:6], torch.tensor([0.3, 0.4]) * (0.5 + SHORT) / 0.5)


def test_how_things_come_to_a_place_is_what_recordings_did_there() -> None:
    parts = [
        Part(0, 0, 9, 0, 2, "push"),
        Part(0, 0, 9, 0, 2, "put"),
        Part(0, 0, 9, 1, 2, "push"),
        Part(0, 0, 9, 0, 3, "reach"),
    ]
    assert [MANNERS[number] for number in manner_of(parts, 4)[2:]] == ["push", "reach"]


def test_a_pusher_steers_by_where_thing_and_place_show() -> None:
    """Recordings whose first joint follows the way from thing to place, whatever the joints say."""
    torch.manual_seed(0)
    thing, place = torch.rand(1500, 2) * 2 - 1, torch.rand(1500, 2) * 2 - 1
    here, pointer = torch.randn(1500, JOINTS), Pointer(3, 2, 1, JOINTS, 4)
    away = torch.zeros(1500, CHUNK, JOINTS)
    away[:, :, 0] = (place - thing)[:, :1]
    pusher = Pusher(1, JOINTS, CHUNK, hidden=64)
    now, begun = torch.cat([thing, torch.ones(1500, 1)], 1), torch.cat([thing, place], 1)
    known = known_of(pointer, here, here, now, begun)
    train_pusher(pusher, known[:1200], away[:1200], FitConfig(400, 3e-3, 0.01), batch=128)
    with torch.no_grad():
        said = pusher(known[1200:])
    assert said.shape == (300, CHUNK, JOINTS)
    assert float((said - away[1200:]).abs().mean()) < 0.3 * float(away[1200:].abs().mean())


def test_what_lies_on_a_place_is_learned_from_where_things_were_left() -> None:
    """Things that are pushed along the columns and left within .2 of their places; hidden half of the way."""
    rng, n, looks = np.random.default_rng(0), 200, 30
    place = rng.uniform(-0.6, 0.6, (n, 1, 2))
    left = place + 0.2 * (angle := rng.normal(size=(n, 1, 2))) / np.linalg.norm(angle, axis=2, keepdims=True) * 0.5
    start = left + rng.choice([-0.8, 0.8], (n, 1, 1)) * [0, 1]
    share = np.clip(np.arange(looks) / 20, 0, 1)[None, :, None]
    thing = torch.from_numpy(start + (left - start) * share).float().flatten(0, 1)
    heat = torch.from_numpy(np.tile(np.where((np.arange(looks) > 5) & (np.arange(looks) < 12), 0.1, 1.0), n)).float()
    begun = torch.from_numpy(np.concatenate([start[:, 0], place[:, 0]], 1)).float().repeat_interleave(looks, 0)
    rows = np.arange(n * looks) * 2
    pushes = Pushes(
        rows, rows, np.repeat(rows.reshape(n, looks)[:, -1], looks), torch.cat([thing, heat[:, None]], 1), begun, 0.1
    )
    pointer = Pointer(3, 2, 1, JOINTS, 4)
    teach_rest(pointer, pushes, FitConfig(600, 3e-3, 0.001))
    at = torch.from_numpy(rng.uniform(-0.6, 0.6, (100, 2))).float()
    with torch.no_grad():
        on, beside = pointer.rest(at + torch.tensor([0.05, 0.05]), at), pointer.rest(at + torch.tensor([0.0, 0.5]), at)
    assert pointer.rest.taught and not Pointer(3, 2, 1, JOINTS, 4).rest.taught
    at_last = (each.view(n, looks, 2)[:, -3:].flatten(0, 1) for each in (thing, begun[:, 2:]))
    last = pointer.rest(*at_last)
    usual = pointer.rest.usual
    assert float((on + usual > 0).float().mean()) > 0.95 and float((beside + usual < 0).float().mean()) > 0.95
    assert usual > 0 and float((last >= 0).float().mean()) == pytest.approx(1 - USUAL, abs=0.01)
    before = {name: value.clone() for name, value in pointer.rest.state_dict().items()}
    still = Pushes(
        rows, rows, rows[-1:].repeat(len(rows)), pushes.now, pushes.begun, 10.0
    )  # nothing was ever elsewhere
    teach_rest(pointer, still, FitConfig(10, 3e-3, 0.0))
    assert all(torch.equal(value, before[name]) for name, value in pointer.rest.state_dict().items())


def test_surer_looks_count_more_and_old_ones_fade() -> None:
    """Where the thing shows at 1 the look is worthless; the joints that touch are what it shows."""
    torch.manual_seed(0)
    touch, n, g = Touch(1, 2), 3000, torch.Generator().manual_seed(1)
    goal, hidden = torch.rand(n, 2, generator=g) * 2 - 1, torch.rand(n, generator=g) < 0.5
    at = torch.where(hidden[:, None], torch.rand(n, 2, generator=g) * 2 - 1, goal)
    heat = torch.where(hidden, 2.0, 10.0)[:, None]
    last = torch.arange(n) % 5 == 4
    train_touch(touch, Reaches(at, heat, torch.zeros(n, 2), goal, last), FitConfig(600, 5e-3, 0.001))
    here, row = torch.zeros(1, 2), np.zeros(1, int)
    clear, dim = torch.tensor([[0.5, -0.5]]), torch.tensor([[-0.5, 0.5]])
    with torch.no_grad():
        doubts = [float(touch.doubt(one, torch.tensor([[heat]]), here)) for one, heat in ((clear, 10.0), (dim, 2.0))]
        assert doubts[0] < doubts[1] - 1
        where = touch(clear)[0]
    looks = Looks(2, 2)
    looks.begin(row)
    assert float(looks.see(touch, row, clear, torch.tensor([[10.0]]), here)[0, 0]) == pytest.approx(float(where[0]))
    assert float(looks.doubt[0]) == pytest.approx(doubts[0]) and float(looks.doubt[1]) > doubts[0]
    for _ in range(3):
        found = looks.see(touch, row, dim, torch.tensor([[2.0]]), here)
    assert float((found[0] - where).abs().max()) < 0.3  # three dim looks hardly move it
    for _ in range(40):
        found = looks.see(touch, row, dim, torch.tensor([[2.0]]), here)
    with torch.no_grad():
        assert torch.allclose(found, touch(dim), atol=0.05)  # but what was seen long ago is forgotten


def test_a_doer_is_kept_whole(tmp_path: Path) -> None:
    made = doer()
    assert load_doer(tmp_path) is None
    save_doer(tmp_path, made)
    loaded = load_doer(tmp_path)
    assert loaded is not None and loaded.config == made.config
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in loaded.state_dict().items())
    path = tmp_path / "language" / "doer.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(JepaflowError, match=r"^[^\n]* is damaged, or no doer of this version [^\n]*$"):
        load_doer(tmp_path)


def test_sizes_are_checked() -> None:
    with pytest.raises(JepaflowError, match="at least 1"):
        DoerConfig(steps=0)


def deed_commander(goal: float = 5.5) -> DeedCommander:
    other, _ = commander(goal)
    return DeedCommander(other.graph, other.marks, other.proposer, other.reach, other.known, other.config)


def look(system: DeedCommander, eyes: Eyes, blocks: int, done) -> None:
    for block in range(blocks):
        eyes.done = np.array([done(block)])
        system.look(START)


def test_a_clause_ends_when_it_is_believed_and_is_tried_again_when_it_takes_too_long(monkeypatch) -> None:
    monkeypatch.setattr(deeds, "PATIENT", 10)
    system, eyes = deed_commander(), Eyes(1)
    system.command(START, eyes, [PUT])
    assert system.doing()[0] == [0] and system.doing()[1].tolist() == [[1, 2]]
    look(system, eyes, 60, lambda block: block > 30)
    kinds = [event.kind for event in system.events[0]]
    assert kinds.count("not done") >= 1 and kinds[-1] == "done" and system.believed.all()
    assert system.doing()[0] == []


def test_what_no_recording_shows_is_tried_all_the_same() -> None:
    system = deed_commander(goal=99.0)
    system.command(START, Eyes(1), [PUT])
    assert not system.ended.any() and system.doing()[0] == [0]


def test_a_touch_is_believed_where_the_hand_arrived_and_for_good() -> None:
    system, eyes = deed_commander(), Eyes(1)
    clauses = (Clause("reach", RED), Clause("put", BLUE, RIGHT))
    eyes.of = lambda some, desk: np.array([float(clause.verb == "reach") for clause in some])  # type: ignore[method-assign]
    system.command(START, eyes, [Request(clauses, ((0, 1),))])
    system.part[0], system.turn[0] = (0, 1), 0
    look(system, eyes, 10, lambda block: True)
    assert not system.was_done[0] and system.chances(0).tolist() == [0.0, 0.0]
    system.arrived[0] = True
    look(system, eyes, 3, lambda block: True)
    eyes.of = lambda some, desk: np.zeros(len(some))  # type: ignore[method-assign]
    assert system.was_done[0] == {0} and system.chances(0).tolist() == [1.0, 0.0]


def test_clauses_are_done_in_their_order() -> None:
    system, eyes = deed_commander(), Eyes(1)
    both = Request((PUT.must[0], Clause("put", BLUE, RIGHT)), ((0, 1),))
    system.command(START, eyes, [both])
    assert system.doing()[1].tolist() == [[1, 2]]
    look(system, eyes, 20, lambda block: True)
    assert system.doing()[1].tolist() == [[0, 3]] and not system.ended[0]
