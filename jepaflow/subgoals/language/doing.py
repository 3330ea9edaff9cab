"""The doer: System 1 for a clause. Which actions bring the named thing to the named place, on this very desk.

A plan over landmarks shows System 1 the desks of other episodes: the right deed, with the cubes elsewhere; walked so, the hand
closes beside the cube. The doer is an inverse-dynamics head whose goal is a pointing hand instead of a frame: the
joints at which the hand would close on the thing and open over the place, as the pointer sees them (`pointing`), beside the
joints and the latent now. The plan says which clause comes when, and the seer whether it is done; the doer knows one clause.

Design decisions:
- Words do not enter, only places: the latent need not hold a colour, and a pair that was never named together needs
  nothing new.
- It is taught in hindsight: the goal of each hold in the episodes that did their sentence is where the hand did close and open,
  so that every deed there is a lesson, whatever was moved, and the doer obeys the pointing hand instead of the pointer's habits.
- An action is a step of its own plus a share of the way to where the hand closes, and of the way to where it opens: a network that
  has to copy the goal through its layers stops a few degrees short of it, and a cube is lost by five.
- One attempt is: look and point, do, go back to where the hand began (`hands`).
- What is pushed has a doer of its own (`pushing`); what is reached needs none: the hand goes straight to where the pointer points.
  Which of the three a place asks for is what the recordings did there (`manner`).
- Actions are learned relative to the joints now, in chunks of `CHUNK`; the first block of a chunk is executed.
- Blurred inputs in training, or small errors pile up in closed loop.

Legend: n rows, D latent, V views, T things (objects, then places), J joints (as many as actions), c steps of a chunk.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.subgoals.language.clause import Verb
from jepaflow.subgoals.language.grounding import Labelled, Language, folder_of, labelled
from jepaflow.subgoals.language.lessons import Part, empty_of, holds_of, middle_of, parts_of
from jepaflow.subgoals.language.pointing import FEWEST, Pointer, grasps_of, train_pointer
from jepaflow.subgoals.language.presence import see_starts
from jepaflow.subgoals.language.pushing import Pusher, known_of, pushes_of, teach_rest, train_pusher
from jepaflow.subgoals.language.seeing import Seer
from jepaflow.subgoals.language.touching import reaches_of, train_touch
from jepaflow.training.checkpoint import Run
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.training.latents import Latents, cached_latents
from jepaflow.worldmodel.colours import choose_colours

CHUNK = 10
"""c"""
TAIL = 30
"""control steps after the hand opened that still belong to the deed: it withdraws"""
MANNERS: tuple[Verb, ...] = ("put", "push", "reach")
"""how a thing comes to a place"""
SMALL_STEPS, SMALL_LR = 4000, 3e-3
"""of the fits to what the pointer sees"""
COLOURS, DESKS = 14, 300
"""in the pointer's codebook; start frames that it is chosen on"""
HUES = {"red": (0.85, 0.08, 0.08), "blue": (0.1, 0.2, 0.85), "green": (0.1, 0.6, 0.2), "purple": (0.5, 0.15, 0.6)}
"""what colour words mean (RGB); others are learned from grasps alone"""


@dataclass(frozen=True)
class DoerConfig:
    """How the doer is trained; the defaults take about ten minutes on one core, the pointer included."""

    hidden: int = 512
    steps: int = 4000
    batch: int = 512
    lr: float = 1e-3
    noise: float = 0.02
    dropout: float = 0.0
    pointer_steps: int = 1200
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.hidden, self.steps, self.batch, self.pointer_steps)
        if min(sizes) < 1 or self.lr <= 0 or self.seed < 0 or not 0 <= self.dropout < 1 or self.noise < 0:
            raise JepaflowError("The doer's sizes must be at least 1, lr positive, dropout below 1, seed not negative.")


class Doer(nn.Module):
    """Latent and pointing hand in, actions out.

    Args:
        dim: D.
        pointer: trained.
        config: settings.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor
    middle: Tensor
    empty: Tensor
    manner: Tensor

    def __init__(self, dim: int, pointer: Pointer, config: DoerConfig) -> None:
        super().__init__()
        self.config, self.pointer = config, pointer
        joints, width = pointer.sizes["joints"], config.hidden
        self.net = nn.Sequential(
            nn.Linear(dim + 5 * joints, width), nn.GELU(), nn.Dropout(config.dropout),
            nn.Linear(width, width), nn.GELU(), nn.Dropout(config.dropout),
            nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, 3 * CHUNK * joints),
        )  # fmt: skip
        self.pusher = Pusher(pointer.sizes["views"], joints, CHUNK)
        self.register_buffer("manner", torch.zeros(pointer.sizes["things"], dtype=torch.int64))
        """number in `MANNERS` of how things come to each place"""
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("scale", torch.ones(joints))
        self.register_buffer("middle", torch.zeros(()))
        self.register_buffer("empty", torch.full((), -np.inf))

    def forward(
        self, scaled: Float[Tensor, "n D"], here: Float[Tensor, "n J"], aim: Float[Tensor, "n J2"]
    ) -> Float[Tensor, "n c J"]:
        """Return actions relative to the joints now, in their deviations; joints are z-scored (`standard`)."""
        way = aim - here.repeat(1, 2)
        free, *shares = self.net(torch.cat([scaled, here, aim, way], 1)).unflatten(1, (3, CHUNK, -1)).unbind(1)
        ways = (way * (self.pointer.std / self.scale).repeat(2)).chunk(2, 1)
        found: Tensor = free
        for share, each in zip(shares, ways, strict=True):
            found = found + share.sigmoid() * each[:, None]
        return found

    def standard(self, joints: Float[ndarray, "n J"]) -> Float[Tensor, "n J"]:
        """Return joints in the pointer's deviations."""
        return self.pointer.standard(joints)

    @torch.no_grad()
    def act(
        self, z: Float[Tensor, "n D"], aim: Float[Tensor, "n J2"], joints: Float[ndarray, "n J"]
    ) -> Float[ndarray, "n c J"]:
        """Return actions in the dataset's units.

        Args:
            z: now.
            aim: where the hand is to close and to open (`Pointer.point`).
            joints: now, in the dataset's units.
        """
        away = self((z - self.mean) / self.std, self.standard(joints), aim) * self.scale
        return np.asarray((away + torch.from_numpy(joints).float()[:, None]).numpy())

    @torch.no_grad()
    def push(
        self,
        now: Float[Tensor, "n V3"],
        begun: Float[Tensor, "n V4"],
        joints: Float[ndarray, "n J"],
        before: Float[ndarray, "n J"],
    ) -> Float[ndarray, "n c J"]:
        """Return actions in the dataset's units that push what is seen now (`pushing.seen`) to its place (`pushing.begun`)."""
        known = known_of(self.pointer, self.standard(joints), self.standard(before), now, begun)
        away = self.pusher(known) * self.scale
        return np.asarray((away + torch.from_numpy(joints).float()[:, None]).numpy())


@dataclass(frozen=True, eq=False)
class Lesson:
    """Frames in which something is being moved."""

    rows: Int[ndarray, " n"]
    """of the latents"""
    last: Int[ndarray, " n"]
    """row at which the deed is done, of each"""
    aim: Float[ndarray, "n J2"]
    """joints at which the hand closed and opened, in the dataset's units"""


def lesson_of(corpus: Corpus, episodes: Labelled, middle: float) -> Lesson | None:
    """Take every hold of the episodes that did what they say: from the opening before it to a little after its own.

    Args:
        corpus: recordings with joints.
        episodes: their sentences.
        middle: of the gripper's range.

    Returns:
        None where nothing was put anywhere, or no hand ever held anything.
    """
    assert corpus.proprio is not None
    number = {tuple(each): e for e, each in enumerate(corpus.where.tolist())}
    done = np.array([all(c.verb == "put" for c in clauses) for clauses in episodes.clauses]) & episodes.done
    where = zip(episodes.store[done].tolist(), episodes.episode[done].tolist(), strict=True)
    rows, last, aims = [], [], []
    for e in (number[each] for each in where if each in number):
        first, end = int(corpus.first[e]), int(corpus.first[e] + corpus.length[e]) - 1
        holds = holds_of(corpus.proprio[first : end + 1, -1], middle)
        begin = first
        for shut, opened in holds:
            stop = min(first + opened + (TAIL if (shut, opened) == holds[-1] else 0), end)
            some = np.arange(begin, stop + 1)
            rows.append(some)
            last.append(np.full(len(some), stop))
            aims.append(np.tile(corpus.proprio[[first + shut, first + opened]].reshape(-1), (len(some), 1)))
            begin = first + opened
    return Lesson(np.concatenate(rows), np.concatenate(last), np.concatenate(aims)) if rows else None


def scale_doer(doer: Doer, latents: Latents) -> None:
    """Take the scales of latents and actions, in place."""
    doer.mean.copy_(latents.z.mean(0))
    doer.std.copy_(latents.z.std(0).clamp_min(1e-6))
    doer.scale.copy_(torch.from_numpy(latents.corpus.actions.std(0)).clamp_min(1e-3))


def train_doer(doer: Doer, latents: Latents, lesson: Lesson) -> None:
    """Train the doer, with a trained pointer, on what the recordings did next; past the deed's end the last action stays."""
    config = doer.config
    z, here, away = _told(doer, latents, lesson.rows, lesson.last)
    aim = torch.cat([doer.standard(one) for one in np.split(lesson.aim, 2, 1)], 1)

    def loss(step: int) -> Tensor:
        g = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        some = torch.randint(len(z), (config.batch,), generator=g)
        told = (x + config.noise * torch.randn(x.shape, generator=g) for x in (z[some], here[some], aim[some]))
        return F.smooth_l1_loss(doer(*told), away[some], beta=0.1)

    fit(doer.net, loss, FitConfig(config.steps, config.lr, 0.01), "Train the doer")
    doer.eval()


def _told(
    doer: Doer, latents: Latents, rows: Int[ndarray, " n"], last: Int[ndarray, " n"]
) -> tuple[Float[Tensor, "n D"], Float[Tensor, "n J"], Float[Tensor, "n c J"]]:
    """Return scaled latents and joints, and the actions from there on relative to the joints."""
    corpus = latents.corpus
    assert corpus.proprio is not None
    ahead = np.minimum(rows[:, None] + np.arange(CHUNK), last[:, None])
    away = torch.from_numpy(corpus.actions[ahead] - corpus.proprio[rows][:, None]) / doer.scale
    return (latents.z[torch.from_numpy(rows)] - doer.mean) / doer.std, doer.standard(corpus.proprio[rows]), away


def manner_of(parts: Sequence[Part], things: int) -> Int[Tensor, " T"]:
    """Return how things come to each place, as a number in `MANNERS`: as in most parts of the recordings."""
    count = torch.zeros(things, len(MANNERS))
    for part in parts:
        count[part.place, MANNERS.index(part.verb)] += 1
    return count.argmax(1)


def make_pointer(seer: Seer, corpus: Corpus, cameras: tuple[str, ...], parts: Sequence[Part]) -> Pointer:
    """Return an untrained pointer whose heat maps begin where the things' names say.

    Raises:
        JepaflowError: the run's recordings have no joints.
    """
    if corpus.proprio is None or corpus.proprio.shape[1] != corpus.actions.shape[1]:
        raise JepaflowError("Pointing needs observation.state, with one joint for each action. Train with --proprio.")
    things = seer.things()
    pointer = Pointer(len(things), len(seer.objects), len(cameras), corpus.proprio.shape[1], COLOURS)
    starts = np.unique([part.start for part in parts])[:DESKS]
    book = choose_colours(torch.from_numpy(corpus.frames(starts, cameras)), COLOURS)
    pointer.begin(book, [HUES.get(thing.colour) for thing in things])
    return pointer


def fit_doer(run: Run, language: Language, config: DoerConfig, dataset: tuple[Path, ...] = ()) -> Doer:
    """Train pointer and doer, and keep them in ``RUN/language/doer.safetensors``.

    Raises:
        JepaflowError: no joints, no clause that was done, or too few grasps.
    """
    torch.manual_seed(config.seed)
    latents, _ = cached_latents(run, dataset)
    corpus, episodes = latents.corpus, labelled(latents.corpus.stores, latents.corpus.where)
    parts = parts_of(corpus, language, episodes)
    pointer = make_pointer(language.seer, corpus, language.cameras, parts)
    assert corpus.proprio is not None
    pushed = sum(part.verb == "push" for part in parts)
    if not pushed or len(parts) - pushed >= FEWEST:
        grasps = grasps_of(pointer, corpus, language.cameras, parts)
        train_pointer(grasps, pointer, config.pointer_steps, seed=config.seed)
    else:  # hardly any hand says where anything lies: the hues that things are called by must do
        pointer.scale(torch.from_numpy(corpus.proprio))
    doer = Doer(latents.z.shape[1], pointer, config).eval()
    scale_doer(doer, latents)
    doer.middle.fill_(middle_of(corpus.proprio[:, -1]))
    doer.empty.fill_(empty_of(corpus.proprio[:, -1], [part for part in parts if part.verb == "put"]))
    doer.manner.copy_(manner_of(parts, len(doer.manner)))
    pointer.holds &= doer.manner == MANNERS.index("put")
    see_starts(pointer, corpus, language.cameras, parts)
    if (lesson := lesson_of(corpus, episodes, float(doer.middle))) is not None:
        train_doer(doer, latents, lesson)
    pointer_fit = FitConfig(SMALL_STEPS, SMALL_LR, 0.001)
    if (reaches := reaches_of(pointer.look, pointer.standard, corpus, language.cameras, parts)) is not None:
        train_touch(pointer.touches, reaches, pointer_fit, config.seed)
    block = run.model.config.block
    if (pushes := pushes_of(pointer, corpus, language.cameras, parts, block)) is not None:
        _, here, away = _told(doer, latents, pushes.rows, pushes.last)
        before, fitted = doer.standard(corpus.proprio[pushes.before]), FitConfig(config.steps, config.lr, 0.01)
        known = known_of(pointer, here, before, pushes.now, pushes.begun)
        teach_rest(pointer, pushes, pointer_fit, config.seed)
        train_pusher(doer.pusher, known, away, fitted, seed=config.seed)
    save_doer(run.path, doer)
    return doer


def save_doer(run: Path, doer: Doer) -> None:
    """Write weights and settings of a run's doer, whole or not at all."""
    tensors = {name: value.contiguous() for name, value in doer.state_dict().items()}
    kept = {"config": asdict(doer.config), "dim": len(doer.mean), "pointer": doer.pointer.sizes}
    with atomic_path(folder_of(run) / "doer.safetensors") as temporary:
        save_file(tensors, temporary, {"doer": json.dumps(kept)})


def load_doer(run: Path) -> Doer | None:
    """Read what `save_doer` wrote; None where there is none.

    Raises:
        JepaflowError: the file is damaged, or something else.
    """
    path = folder_of(run) / "doer.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            kept = json.loads((file.metadata() or {})["doer"])
            doer = Doer(kept["dim"], Pointer(**kept["pointer"]), DoerConfig(**kept["config"]))
            doer.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise JepaflowError(
            f"{path} is damaged, or no doer of this version ({why}). Fit it anew: jepaflow language fit {run}"
        ) from error
    return doer.eval()
