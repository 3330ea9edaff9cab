"""How good grounding is, each figure beside its floors: the reader on unseen wordings, the seer against the simulator's truth.

The simulator's state is used here and nowhere else. Without it (a user's own recordings) only what needs no truth is measured:
whether an episode's own final frame is found among those of the others by its sentence.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from jepaflow.common.intervals import bootstrap, wilson
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.sims.arms.factors import PALETTE
from jepaflow.sims.arms.so101 import SO101
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.grounding import Labelled, Language
from jepaflow.subgoals.language.others_words import others_rows
from jepaflow.subgoals.language.paraphrase import held_in, impossible, paraphrase, puts
from jepaflow.subgoals.language.pointing import Pointer
from jepaflow.subgoals.language.reading import Ground, confusion
from jepaflow.subgoals.reach_figures import expected_calibration_error
from jepaflow.training.head_metrics import auc

SENTENCES = 600
EVERY = 10
"""control steps between the frames that are judged"""
HIGH = 0.07
"""m above the table below which a cube is in a bin, on top of another one if need be"""


def reader_rows(grounds: Sequence[Ground], encoder: str, seed: int = 77) -> tuple[list[Row], Int[ndarray, "c k"]]:
    """Judge readers of several seeds on the test's wordings.

    Returns:
        Rows, and the confusion matrix of all nine pairs (rows) over the same, "something else" and "refused" (columns).
    """
    rng = np.random.default_rng(seed)
    seen, unseen = ([c for c in puts() if held_in(c) == which] for which in (True, False))
    sets = {
        "paraphrase": [(c, paraphrase(c, rng, "test")) for c in (seen * SENTENCES)[:SENTENCES]],
        "composition": [(c, paraphrase(c, rng, "test")) for c in (unseen * SENTENCES)[:SENTENCES]],
        "composition_known_wording": [(c, paraphrase(c, rng, "train")) for c in (unseen * SENTENCES)[:SENTENCES]],
    }
    odd = [impossible(rng, "test") for _ in range(SENTENCES)]
    last = "" if encoder == "minilm" else f"_{encoder}"
    rows, table = [], np.zeros((9, 11), np.int64)
    refused: list[float] = []
    for name, pairs in sets.items():
        read = [ground.read([said for _, said in pairs]) for ground in grounds]
        right = [float(np.mean([a == b for a, (b, _) in zip(one, pairs, strict=True)])) for one in read]
        no = [float(np.mean([a is None for a in one])) for one in read]
        refused += no if name == "paraphrase" else []
        note = f"whole clause right, refusals count as wrong ({np.mean(no):.3f}); {encoder}; interval over sentences"
        rows.append(_share(f"grounding/{name}{last}", right, len(pairs), {"chance": 1 / 9}, note))
        if name != "composition_known_wording":
            for one in read:
                table += confusion(one, [c for c, _ in pairs], puts())
    gone = [float(np.mean([a is None for a in ground.read(odd)])) for ground in grounds]
    note = f"impossible requests in unseen words, all kinds alike; {encoder}"
    rows.append(_share(f"grounding/refusal{last}", gone, len(odd), {"never": 0.0}, note))
    note = f"possible requests in unseen wordings that were refused; {encoder}"
    rows.append(_share(f"grounding/false_refusal{last}", refused, SENTENCES, {"always": 1.0}, note))
    return [*rows, *others_rows(grounds, encoder)], table


def _share(name: str, values: list[float], n: int, floors: dict[str, float], note: str) -> Row:
    mean = float(np.mean(values))
    low, high = wilson(round(mean * n), n)
    spread = f"; seeds {min(values):.3f} … {max(values):.3f}"
    return Row(name, mean, low, high, n, len(values), "fraction", floors, {}, note + spread)


def has_truth(store: Store) -> bool:
    """Whether a store says where cubes and bins are."""
    return {"cube0_x", "cube0_red", "bin0_red", "mocap_pos_0"} <= set(_names(store))


def _names(store: Store) -> list[str]:
    return list(store.meta.get("features", {}).get("state", {}).get("names") or []) if store.dim("state") else []


class Truth:
    """What the simulator says of frames of one store.

    Args:
        store: with a state of an arm's desk.
    """

    def __init__(self, store: Store) -> None:
        self.store, names = store, _names(store)
        self.at = {name: column for column, name in enumerate(names)}

    def _colour(self, state: ndarray, thing: str) -> str:
        rgb = state[[self.at[f"{thing}_{channel}"] for channel in ("red", "green", "blue")]]
        return min(PALETTE, key=lambda name: float(np.square(np.array(PALETTE[name]) - rgb).sum()))

    def things(self, state: Float[ndarray, " s"]) -> tuple[Thing, ...]:
        """Return cubes that are on the desk, then the bins."""
        cubes = [Thing(self._colour(state, f"cube{k}"), "cube") for k in range(4) if state[self.at[f"cube{k}_x"]] > 0]
        return (*cubes, *(Thing(self._colour(state, f"bin{k}"), "bin") for k in range(2)))

    def satisfied(self, states: Float[ndarray, "n s"], clause: Clause) -> Bool[ndarray, " n"]:
        """Return in which frames of one episode all cubes of the clause's colour lie, let go of, in its bin."""
        first, half = states[0], SO101.workplace.bin_half
        found = np.ones(len(states), bool)
        for cube in (k for k in range(4) if first[self.at[f"cube{k}_x"]] > 0):
            if Thing(self._colour(first, f"cube{cube}"), "cube") != clause.object:
                continue
            place = states[:, [self.at[f"cube{cube}_{axis}"] for axis in "xyz"]]
            inside = np.zeros(len(states), bool)
            for which in range(2):
                if clause.place is not None and self._colour(first, f"bin{which}") == clause.place.colour:
                    centre = first[[self.at[f"mocap_pos_{3 * which + axis}"] for axis in (0, 1)]]
                    inside |= (np.abs(place[:, :2] - centre) < half).all(1) & (place[:, 2] < HIGH)
            found &= inside & (states[:, self.at[f"cube{cube}_held"]] < 0.5)
        return found


def seer_rows(
    language: Language, stores: Sequence[Store], where: Int[ndarray, "e 2"], pointer: Pointer | None = None
) -> list[Row]:
    """Judge the seer on held-out episodes of stores with a truth: clauses possible on each desk, trained and held-out pairs apart.

    Args:
        language: fitted.
        stores: the run's.
        where: store and episode of each episode that was not trained on.
        pointer: says what is there, where there is one.
    """
    seer, found, presence = language.seer, [], []
    for order, (number, episode) in enumerate(where.tolist()):
        store = stores[number]
        if not has_truth(store):
            continue
        steps = np.unique(np.append(np.arange(0, store.ep_len[episode], EVERY), store.ep_len[episode] - 1))
        rows, truth = store.ep_offset[episode] + steps, Truth(store)
        states = store.read("state", rows)
        things = truth.things(states[0])
        first = store.pixels(rows[:1], language.cameras)
        start = seer.maps(first)
        said_there = seer.presence(start)[0] >= seer.absent.numpy() if pointer is None else pointer.there(first)[0]
        chance = seer.probabilities(
            start.expand(len(rows), -1, -1, -1, -1), seer.maps(store.pixels(rows, language.cameras))
        )
        for said, thing in zip(said_there, seer.things(), strict=True):
            presence.append((order, bool(said), thing in things, thing.kind == "bin"))
        for i, j in np.ndindex(len(seer.objects), len(seer.places)):
            clause = Clause("put", seer.objects[i], seer.places[j])
            if things.count(seer.objects[i]) == 1 and seer.places[j] in things:  # of several, which one is meant?
                true, n = truth.satisfied(states, clause), len(rows)
                last = np.arange(n) == n - 1
                columns = (
                    np.full(n, order),
                    chance[:, i, j],
                    true,
                    np.full(n, held_in(clause)),
                    last,
                    np.full(n, 3 * i + j),
                )
                found.append(np.stack([np.asarray(column, float) for column in columns], 1))
    if not found:
        return []
    table, rows_ = np.concatenate(found), []
    floors = {"chance": 0.5}
    for name, held in (("seen", 1.0), ("composition", 0.0)):
        mine = table[table[:, 3] == held]
        words = "pairs that were trained on" if held else "pairs whose episodes the seer never saw"
        for suffix, part, what in (
            ("", mine, f"frames every {EVERY} control steps"),
            ("_final", mine[mine[:, 4] > 0], "final frames"),
        ):
            note, base = (
                f"clauses possible on the desk, {what}; {words}; true in {part[:, 2].mean():.2f}",
                _majority(part),
            )
            stem = f"grounding/seen/{name}{suffix}"
            rows_.append(_row(f"{stem}/auroc", part, lambda t: auc(t[:, 1], t[:, 2]), "area", floors, note))
            rows_.append(_row(f"{stem}/accuracy", part, _right, "fraction", {"majority": base}, note))
            ece = _row(
                f"{stem}/ece", part, lambda t: expected_calibration_error(t[:, 1], t[:, 2]), "probability", {}, note
            )
            rows_.append(ece)
    for number in np.unique(table[:, 5]).astype(int):
        part = table[(table[:, 5] == number) & (table[:, 4] > 0)]
        i, j = divmod(number, 3)
        pair = f"{seer.objects[i].colour}_{seer.places[j].colour}"
        note = f"final frames; {'trained on' if part[0, 3] else 'held out'}"
        rows_.append(_row(f"grounding/seen/pair/{pair}", part, _right, "fraction", {"majority": _majority(part)}, note))
    return rows_ + _presence_rows(presence)


def _presence_rows(presence: Sequence[tuple[int, bool, bool, bool]]) -> list[Row]:
    """Judge what is said to be there: episode, said, truth and whether it is a bin, of each thing on each desk."""
    there, rows = np.array(presence, float), []
    for kind, is_bin in (("cube", 0.0), ("bin", 1.0)):
        mine = there[there[:, 3] == is_bin]
        for name, is_there in (("false_refusal", 1.0), ("refusal", 0.0)):
            part = mine[mine[:, 2] == is_there]
            note = f"{kind}s that are {'on the desk and said not to be' if is_there else 'not on the desk and said so'}"
            said = _row(
                f"grounding/presence/{kind}/{name}", part, lambda t: float((t[:, 1] == 0).mean()), "fraction", {}, note
            )
            rows.append(said)
    return rows


def _right(table: ndarray) -> float:
    return float(((table[:, 1] >= 0.5) == (table[:, 2] > 0)).mean())


def _majority(table: ndarray) -> float:
    share = float(table[:, 2].mean())
    return max(share, 1 - share)


def _row(
    name: str, table: ndarray, statistic: Callable[[ndarray], float], unit: str, floors: dict[str, float], note: str
) -> Row:
    """A statistic with an interval over whole episodes (first column)."""
    numbers = np.unique(table[:, 0])
    members = {number: np.flatnonzero(table[:, 0] == number) for number in numbers}
    low, high = bootstrap(
        numbers, lambda drawn: statistic(table[np.concatenate([members[number] for number in drawn])]), draws=200
    )
    value = statistic(table)
    return Row(name, value, min(low, value), max(high, value), len(table), 1, unit, floors, {}, note)


def retrieval_row(language: Language, stores: Sequence[Store], episodes: Labelled) -> Row | None:
    """Return how often an episode's own sentence is the likeliest of all sentences' clauses in its final frame (R@1)."""
    kept = episodes.take(episodes.done)
    if not len(kept.store):
        return None
    options, hits = list(dict.fromkeys(kept.clauses)), []
    for row in range(len(kept.store)):
        store = stores[kept.store[row]]
        first = store.ep_offset[kept.episode[row]]
        frames = store.pixels(np.array([first, first + kept.length[row] - 1]), language.cameras)
        maps = language.seer.maps(frames)
        chance = np.clip(language.seer.probabilities(maps[:1], maps[1:])[0], 1e-6, 1 - 1e-6)
        score = [_log_chance(language, chance, clauses) for clauses in options]
        hits.append(
            options[int(np.argmax(score))] == kept.clauses[row]
            or _same(options[int(np.argmax(score))], kept.clauses[row])
        )
    low, high = wilson(sum(hits), len(hits))
    note = f"the own sentence among {len(options)} different ones, by the final frame; done episodes only"
    return Row(
        "grounding/retrieval@1",
        float(np.mean(hits)),
        low,
        high,
        len(hits),
        1,
        "fraction",
        {"chance": 1 / len(options)},
        {},
        note,
    )


def _same(one: Sequence[Clause], other: Sequence[Clause]) -> bool:
    return set(one) == set(other)


def _log_chance(language: Language, chance: Float[ndarray, "O P"], clauses: Sequence[Clause]) -> float:
    """Log-probability that exactly these clauses hold."""
    seer, score = language.seer, np.log1p(-chance)
    for clause in clauses:
        if clause.object not in seer.objects or clause.where not in seer.places:
            return -np.inf
        at = seer.objects.index(clause.object), seer.places.index(clause.where)
        score[at] = np.log(chance[at])
    return float(score.sum())
