"""Grounding: what a sentence means, and which frames satisfy it; fitted once for a run and kept in ``RUN/language/``.

Three files, each whole or absent: ``reader.safetensors`` (`reading`), ``seer.safetensors`` (`seeing`) and ``language.json`` (settings,
things and figures, written last).

The seer learns from what a LeRobot dataset has: task sentences, start frames, final frames. It is assumed that a sentence
was done by the end of its episode. Where the dataset's folder lies beside the store and has an integer column
``behaviour``, only episodes labelled expert or failures are taken, all of them otherwise. Episodes whose
sentence holds a held-out pair are left out as if nobody had labelled them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, read_json, write_json
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.store import Store
from jepaflow.subgoals.language.automaton import PASSING
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.encoders import make_encoder
from jepaflow.subgoals.language.paraphrase import held_in
from jepaflow.subgoals.language.reading import Ground, Reader, ReaderConfig, train_reader
from jepaflow.subgoals.language.request import Request, parse
from jepaflow.subgoals.language.seeing import Seer, fit_codebook
from jepaflow.training.checkpoint import Run
from jepaflow.training.corpus import open_corpora
from jepaflow.training.fitting import FitConfig, fit

FINAL = 6
"""last frames of an episode that count as final, one control step apart"""
EARLY = 0.25
"""share of an episode in which nothing is done yet"""
BEFORE = 0.6
"""the same where something passes: it is done at the very end"""
EARLIES = 4
"""frames drawn from it, the start among them"""
NAMED_REFUSED = 0.03
"""of things that a sentence set aside names, the share that the threshold takes for absent"""
SHAKE = 2
"""cells by which desks are shifted in training, while it is learned what is there"""
CLIP = 8.0
"""log-odds beyond which a thing is no more there or absent"""
DONE = ("expert", "failures")
"""behaviours whose sentence is done"""


@dataclass(frozen=True)
class LanguageConfig:
    """How language is fitted; the defaults take about ten minutes on one core."""

    encoder: str = "auto"
    """auto, minilm or hashed"""
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    steps: int = 1500
    """of the seer"""
    batch: int = 32
    """episodes"""
    lr: float = 1e-2
    aside: float = 0.15
    """share of the episodes that probabilities are calibrated on"""
    hold_out: bool = True
    """leave the held-out pairs' episodes out; no for a robot that shall work"""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or not 0 < self.aside < 1 or self.lr <= 0 or self.seed < 0:
            raise JepaflowError(
                "steps and batch must be at least 1, aside between 0 and 1, lr positive, seed not negative."
            )


@dataclass(frozen=True, eq=False)
class Labelled:
    """Episodes with a sentence that puts things in places."""

    store: Int[ndarray, " e"]
    episode: Int[ndarray, " e"]
    """in its store"""
    length: Int[ndarray, " e"]
    clauses: tuple[tuple[Clause, ...], ...]
    done: Bool[ndarray, " e"]
    """whether the sentence was done, as far as the dataset says"""

    def take(self, keep: ndarray) -> "Labelled":
        """Return some of them."""
        rows = np.arange(len(self.store))[keep]
        clauses = tuple(self.clauses[row] for row in rows)
        return Labelled(self.store[rows], self.episode[rows], self.length[rows], clauses, self.done[rows])


@dataclass(frozen=True, eq=False)
class Language:
    """What a run knows of language."""

    ground: Ground
    seer: Seer
    cameras: tuple[str, ...]
    report: dict[str, Any]


def folder_of(run: Path) -> Path:
    """Return where a run's language is kept."""
    return run / "language"


def labelled(stores: Sequence[Store], where: Int[ndarray, "e 2"]) -> Labelled:
    """Read the sentences of episodes; those that put nothing anywhere are left out.

    Args:
        stores: the run's.
        where: store and episode of each.
    """
    rows: list[tuple[int, int, int, tuple[Clause, ...], bool]] = []
    done = [done_episodes(store) for store in stores]
    for number, episode in where.tolist():
        store = stores[number]
        if not store.tasks or "task_index" not in store.columns:
            continue
        first = store.ep_offset[episode : episode + 1]
        read = parse(store.tasks[int(np.ravel(store.read("task_index", first))[0])])
        if not isinstance(read, Request) or read.avoid or not read.must or any(c.where is None for c in read.must):
            continue
        rows.append((number, episode, int(store.ep_len[episode]), read.must, bool(done[number][episode])))
    known = {thing for row in rows for clause in row[3] for thing in _things(clause) if thing.colour}
    rows = [(*row[:3], tuple(_coloured(clause, known) for clause in row[3]), row[4]) for row in rows]
    numbers = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3)
    was_done = np.array([row[4] for row in rows], bool)
    return Labelled(numbers[:, 0], numbers[:, 1], numbers[:, 2], tuple(row[3] for row in rows), was_done)


def _things(clause: Clause) -> tuple[Thing, ...]:
    return (clause.object,) if clause.place is None else (clause.object, clause.place)


def _coloured(clause: Clause, known: set[Thing]) -> Clause:
    """A clause in which a thing without a colour has that of the only one of its kind that any sentence names."""
    full = []
    for thing in _things(clause):
        same = [other for other in known if other.kind == thing.kind]
        full.append(same[0] if not thing.colour and len(same) == 1 else thing)
    return Clause(clause.verb, *full)


def done_episodes(store: Store) -> Bool[ndarray, " E"]:
    """Whether each episode did its sentence: by the column ``behaviour`` of the folder beside the store, else yes."""
    everything, folder = np.ones(store.num_episodes, bool), store.path.with_suffix("")
    if not (folder / "meta" / "info.json").is_file():
        return everything
    labels = read_json(folder / "meta" / "info.json").get("features", {}).get("behaviour", {}).get("labels")
    if not labels:
        return everything
    dataset = LeRobotDataset(folder)
    numbers: dict[int, int] = {}
    for path in sorted((folder / "data").rglob("*.parquet")):
        table = dataset.table(path)
        if "behaviour" in table.column_names:
            pairs = (table["episode_index"].to_numpy(), table["behaviour"].to_numpy())
            numbers |= dict(zip(*(column.tolist() for column in pairs), strict=True))
    said = [numbers.get(store.source_episode(episode)) for episode in range(store.num_episodes)]
    return np.array([number is None or labels[number] in DONE for number in said])


def fit_language(run: Run, config: LanguageConfig | None = None, dataset: tuple[Path, ...] = ()) -> Language:
    """Train reader and seer, and keep them.

    Args:
        run: whose training episodes are learned from.
        config: settings.
        dataset: where the run's stores lie now; empty = where they lay.

    Raises:
        JepaflowError: no sentence says what shall lie where.
    """
    config = config or LanguageConfig()
    train, _ = open_corpora(run, dataset)
    episodes = labelled(train.stores, train.where)
    cameras = run.model.config.cameras
    seer, report = train_seer(train.stores, cameras, episodes, config)
    encoder = make_encoder(config.encoder)
    ground = train_reader(encoder, config.reader)
    folder = folder_of(run.path)
    write_json(folder / "language.json", {})
    (folder / "doer.safetensors").unlink(missing_ok=True)  # it counts things as the old seer did
    for name, module in (("reader", ground.reader), ("seer", seer)):
        with atomic_path(folder / f"{name}.safetensors") as temporary:
            save_file({key: value.contiguous() for key, value in module.state_dict().items()}, temporary)
    things = {"objects": [list(x) for x in seer.objects], "places": [list(x) for x in seer.places]}
    about = {"encoder": encoder.name, "cameras": list(cameras), "seer": seer.sizes, **things}
    write_json(folder / "language.json", {**about, "config": asdict(config), "report": report})
    return Language(ground, seer, cameras, report)


def load_language(run: Run) -> Language:
    """Read what `fit_language` left.

    Raises:
        JepaflowError: nothing was fitted, or it is damaged.
    """
    folder = folder_of(run.path)
    path = folder / "language.json"
    about = read_json(path) if path.is_file() else {}
    if not about:
        raise JepaflowError(f"{folder} holds no language. Fit it first: jepaflow language fit {run.path}")
    try:
        encoder = make_encoder(about["encoder"])
        reader = Reader(encoder.dim, about["config"]["reader"]["hidden"])
        objects, places = ([Thing(*x) for x in about[key]] for key in ("objects", "places"))
        seer = Seer(objects, places, **about["seer"])
        reader.load_state_dict(load_file(folder / "reader.safetensors"))
        seer.load_state_dict(load_file(folder / "seer.safetensors"))
        cameras, report = tuple(about["cameras"]), dict(about["report"])
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise JepaflowError(
            f"The language in {folder} is damaged ({error}). Fit it anew: jepaflow language fit {run.path}"
        ) from error
    return Language(Ground(reader.eval(), encoder), seer.eval(), cameras, report)


def train_seer(
    stores: Sequence[Store], cameras: tuple[str, ...], episodes: Labelled, config: LanguageConfig
) -> tuple[Seer, dict[str, Any]]:
    """Train the seer on labelled training episodes and calibrate it on those set aside; returns it and its figures."""
    if config.hold_out:
        episodes = episodes.take(np.array([all(map(held_in, clauses)) for clauses in episodes.clauses], bool))
    if len(episodes.store) < 4:
        raise JepaflowError("Fewer than four episodes have a sentence that puts a thing in a place. Record more.")
    rng = np.random.default_rng([config.seed, 8])
    torch.manual_seed(config.seed)
    said = [clause for clauses in episodes.clauses for clause in clauses]
    objects = sorted({clause.object for clause in said})
    places = sorted({clause.where for clause in said if clause.where is not None})
    seer = Seer(objects, places, len(cameras))
    frames = [_frames(stores, cameras, episodes, row, rng) for row in range(len(episodes.store))]
    # All clauses alike, or what is recorded most takes all colours.
    shown = rng.choice(len(frames), len(frames), p=rarity(episodes.clauses))
    fit_codebook(seer, np.concatenate([frames[row][::3] for row in shown]), config.seed)
    maps = torch.stack([seer.maps(each) for each in frames])
    true = torch.stack([truth_of(seer, clauses) for clauses in episodes.clauses])
    aside = rng.permutation(len(maps)) < max(1, round(config.aside * len(maps)))
    learn = torch.from_numpy(np.flatnonzero(~aside & episodes.done))
    if not len(learn):
        raise JepaflowError("No episode did its task. Record some that did.")
    often = rarity([episodes.clauses[row] for row in learn.tolist()])
    mask = torch.tensor(
        [[float(not config.hold_out or held_in(Clause("put", o, p))) for p in seer.places] for o in seer.objects]
    )
    naming = torch.cat([true.amax(2), true.amax(1)], 1)
    named = torch.from_numpy(np.flatnonzero(~aside))

    def loss(step: int) -> Tensor:
        draw = np.random.default_rng([config.seed, 9, step])
        some = learn[torch.from_numpy(draw.choice(len(learn), config.batch, p=often))]
        late = torch.from_numpy(EARLIES + draw.integers(0, FINAL, config.batch))
        early = torch.from_numpy(draw.integers(0, EARLIES, config.batch))
        start = maps[some, 0]
        logits = seer(torch.cat([start, start]), torch.cat([maps[some, late], maps[some, early]]))
        wanted = torch.cat([true[some], torch.zeros_like(true[some])])
        return (F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * mask).mean()

    def naming_loss(step: int) -> Tensor:
        draw = np.random.default_rng([config.seed, 10, step])
        some = named[torch.from_numpy(draw.integers(0, len(named), 2 * config.batch))]
        early = torch.from_numpy(draw.integers(0, EARLIES, len(some)))
        return F.binary_cross_entropy_with_logits(seer.naming(_shaken(maps[some, early], draw)), naming[some])

    fit(seer, loss, FitConfig(config.steps, config.lr, 0.01), "Train the seer")
    fit(seer.thing, naming_loss, FitConfig(2 * config.steps, config.lr, 0.01), "Learn what is there")
    seer.eval()
    kept = torch.from_numpy(np.flatnonzero(aside & episodes.done))
    _calibrate(seer, maps[kept], true[kept], mask > 0)
    _calibrate_naming(seer, maps[:, 0], naming, aside)
    return seer, {"episodes": len(learn), "set_aside": int(aside.sum()), "left_out_pairs": int((mask == 0).sum())}


def rarity(clauses: Sequence[tuple[Clause, ...]]) -> Float[ndarray, " e"]:
    """Return how often to draw each episode, so that all clauses come alike, however many episodes show them."""
    count = Counter(clause for some in clauses for clause in some)
    weight = np.array([np.mean([1 / count[clause] for clause in some]) for some in clauses])
    return np.asarray(weight / weight.sum())


def truth_of(seer: Seer, clauses: Sequence[Clause]) -> Float[Tensor, "O P"]:
    """Return 1 for the pairs that clauses name."""
    table = torch.zeros(len(seer.objects), len(seer.places))
    for clause in clauses:
        if clause.object in seer.objects and clause.where in seer.places:
            table[seer.objects.index(clause.object), seer.places.index(clause.where)] = 1
    return table


def _frames(
    stores: Sequence[Store], cameras: tuple[str, ...], episodes: Labelled, row: int, rng: np.random.Generator
) -> UInt8[ndarray, "n V S S 3"]:
    """Start, some early frames, the last frames."""
    store, length = stores[episodes.store[row]], int(episodes.length[row])
    share = BEFORE if all(clause.verb in PASSING for clause in episodes.clauses[row]) else EARLY
    early = np.append(0, rng.integers(0, max(1, int(share * length)), EARLIES - 1))
    late = np.maximum(0, length - 1 - np.arange(FINAL))
    rows = store.ep_offset[episodes.episode[row]] + np.concatenate([early, late])
    return np.asarray(store.pixels(rows, cameras))


@torch.no_grad()
def _calibrate(
    seer: Seer, maps: Float[Tensor, "e f V C G G"], true: Float[Tensor, "e O P"], mask: Bool[Tensor, "O P"]
) -> None:
    """Platt scaling on the set aside, in place: start and final frames of pairs that were trained on."""
    if not len(maps):
        return
    from sklearn.linear_model import LogisticRegression

    score, label = [], []
    for frame in range(maps.shape[1]):
        wanted = true if frame >= EARLIES else torch.zeros_like(true)
        score.append(seer(maps[:, 0], maps[:, frame])[:, mask].flatten())
        label.append(wanted[:, mask].flatten())
    x, y = torch.cat(score).numpy().reshape(-1, 1), torch.cat(label).numpy()
    if len(np.unique(y)) == 2:
        found = LogisticRegression(C=10.0).fit(x, y)
        seer.platt.copy_(torch.tensor([max(1e-3, float(found.coef_[0, 0])), float(found.intercept_[0])]))


def _shaken(maps: Float[Tensor, "B V C G G"], draw: np.random.Generator) -> Float[Tensor, "B V C G G"]:
    """Mirror and shift desks: what is there stays there."""
    if draw.random() < 0.5:
        maps = maps.flip(-1)
    rows, columns = draw.integers(-SHAKE, SHAKE + 1, 2).tolist()
    return maps.roll((rows, columns), (-2, -1))


@torch.no_grad()
def _calibrate_naming(
    seer: Seer, start: Float[Tensor, "e V C G G"], naming: Float[Tensor, "e T"], aside: Bool[ndarray, " e"]
) -> None:
    """P(named | there) is the mean of what is said where it was named, on the episodes set aside.

    A thing is absent below the value that parts the two heaps which what is said falls into (there or not, whatever was named), or
    below what hardly any named thing has, whichever is lower.
    """
    logits = seer.naming(start)
    kept = torch.from_numpy(aside)
    for thing in range(naming.shape[1]):
        mine = logits[kept & (naming[:, thing] > 0), thing].sigmoid()
        if len(mine):
            seer.named[thing] = mine.mean().clamp_min(1e-3)
            parted = parting(logits[:, thing].clamp(-CLIP, CLIP).double().numpy())
            least = min(float(mine.quantile(NAMED_REFUSED)), 1 / (1 + np.exp(-parted)))
            seer.absent[thing] = float(np.clip(least / float(seer.named[thing]), 0.02, 0.9))


def parting(values: Float[ndarray, " n"]) -> float:
    """Return the value that parts two heaps with the most variance between them (Otsu 1979); below all of them where there is one heap."""
    x = np.sort(values)
    n, total = len(x), x.cumsum()
    if n < 2 or x[-1] - x[0] < 1:
        return float(x[0] - 1)
    k = np.arange(1, n)
    between = (total[-1] / n - total[:-1] / k) ** 2 * k / (n - k)
    best = int(between.argmax())
    return float((x[best] + x[best + 1]) / 2)
