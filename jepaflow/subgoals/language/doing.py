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
- One attempt is: look and point, do, go back to where the hand began (`Hands`). A hand that shut on nothing, that has opened, or that
  takes too long goes back at once, straight in the joints; there the arm hides nothing, so the seer judges and the pointer points anew.
  A hand that put something down stays open while it is judged, as in the recordings' last frames: seen with the hand half shut, as in
  their first frames, the seer says that nothing was done.
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
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.subgoals.language.grounding import Labelled, Language, folder_of, labelled
from jepaflow.subgoals.language.lessons import Part, empty_of, holds_of, middle_of, parts_of
from jepaflow.subgoals.language.pointing import Pointer, grasps_of, train_pointer
from jepaflow.subgoals.language.seeing import Seer
from jepaflow.training.checkpoint import Run
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.training.latents import Latents, cached_latents
from jepaflow.worldmodel.colours import choose_colours

CHUNK = 10
"""c"""
TAIL = 30
"""control steps after the hand opened that still belong to the deed: it withdraws"""
AFTER = 2
"""looks after the hand opened that are still the doer's: it lifts"""
LONG = 50
"""looks after which an attempt has failed: the longest deeds of recordings take as long"""
BACK = 20
"""looks after which a hand on its way back is as near as it gets"""
JUDGED = 14
"""looks after which the seer has seen enough of what was put down, the way back included"""
PACE, THERE = 2.5, 8.0
"""degrees: what a joint goes back in a control step, and from where on it is there"""
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
        found: Tensor = (torch.from_numpy(joints).float() - self.pointer.mean) / self.pointer.std
        return found

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


class Hands:
    """The hands of E environments, each at an attempt at moving one thing, or on its way back.

    Args:
        doer: trained.
        home: joints that they go back to, in the dataset's units.
    """

    def __init__(self, doer: Doer, home: Float[ndarray, "E J"]) -> None:
        size, joints = home.shape
        self.doer, self.home = doer, home.copy()
        self.aim = torch.zeros(size, 2 * joints)
        self.pair = np.full((size, 2), -1)
        self.looks = np.zeros(size, int)
        """since the attempt began, or the way back"""
        self.opened = np.zeros(size, int)
        """looks since the hand opened, from one on"""
        self.wide = np.zeros(size, bool)
        """whether it has opened to reach for something: a hand begins half shut"""
        self.shut = np.zeros(size, bool)
        """whether it has shut on something since"""
        self.put = np.zeros(size, bool)
        """whether it has put something down that is being judged"""
        self.back = np.ones(size, bool)
        """whether it is on its way back"""

    def act(
        self,
        rows: Int[ndarray, " n"],
        z: Float[Tensor, "n D"],
        frames: UInt8[ndarray, "n V S S 3"],
        joints: Float[ndarray, "n J"],
        pairs: Int[ndarray, "n 2"],
    ) -> Float[ndarray, "n c J"]:
        """Look once a block, and return the actions from now on, in the dataset's units.

        Args:
            rows: which environments are busy.
            z, frames, joints: theirs, now.
            pairs: numbers of thing and place among the things.
        """
        self._judge(rows, joints, pairs)
        self.put[rows] &= self.looks[rows] < JUDGED
        away = np.abs(joints - self.home[rows]).max(1)
        arrived = self.back[rows] & ~self.put[rows] & ((away < THERE) | (self.looks[rows] > BACK + JUDGED))
        if arrived.any():
            self.aim[rows[arrived]] = self.doer.pointer.point(frames[arrived], *pairs[arrived].T)
            for each in (self.back, self.looks, self.opened, self.wide, self.shut):
                each[rows[arrived]] = 0
        actions = self.doer.act(z, self.aim[rows], joints)
        ahead = PACE * np.arange(1, actions.shape[1] + 1)[:, None]
        way = np.clip((self.home[rows] - joints)[:, None], -ahead, ahead)
        way[self.put[rows], :, -1] = 0
        return np.where(self.back[rows][:, None, None], joints[:, None] + way, actions)

    def _judge(self, rows: Int[ndarray, " n"], joints: Float[ndarray, "n J"], pairs: Int[ndarray, "n 2"]) -> None:
        """Send hands back whose attempt is over, or that have something else to do."""
        now = joints[:, -1] < float(self.doer.middle)
        self.wide[rows] |= ~now
        self.shut[rows] |= self.wide[rows] & now
        opened = np.where(self.shut[rows] & ~now, self.opened[rows] + 1, 0)
        vain = self.shut[rows] & (joints[:, -1] < float(self.doer.empty))
        over = (opened > AFTER) | vain | (self.looks[rows] > LONG)
        over = ~self.back[rows] & (over | (pairs != self.pair[rows]).any(1))
        self.looks[rows] += 1
        self.looks[rows[over]] = 0
        self.back[rows] |= over
        self.put[rows] |= over & (opened > AFTER)
        self.opened[rows], self.pair[rows] = opened, pairs


@dataclass(frozen=True, eq=False)
class Lesson:
    """Frames in which something is being moved."""

    rows: Int[ndarray, " n"]
    """of the latents"""
    last: Int[ndarray, " n"]
    """row at which the deed is done, of each"""
    aim: Float[ndarray, "n J2"]
    """joints at which the hand closed and opened, in the dataset's units"""


def lesson_of(corpus: Corpus, episodes: Labelled, middle: float) -> Lesson:
    """Take every hold of the episodes that did what they say: from the opening before it to a little after its own.

    Args:
        corpus: recordings with joints.
        episodes: their sentences.
        middle: of the gripper's range.

    Raises:
        JepaflowError: the hand never held anything.
    """
    assert corpus.proprio is not None
    number = {tuple(each): e for e, each in enumerate(corpus.where.tolist())}
    done = zip(episodes.store[episodes.done].tolist(), episodes.episode[episodes.done].tolist(), strict=True)
    rows, last, aims = [], [], []
    for e in (number[each] for each in done if each in number):
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
    if not rows:
        raise JepaflowError(
            "No training episode that did its sentence closed its hand and opened it again. Record some."
        )
    return Lesson(np.concatenate(rows), np.concatenate(last), np.concatenate(aims))


def train_doer(doer: Doer, latents: Latents, lesson: Lesson) -> None:
    """Train the doer, with a trained pointer, on what the recordings did next; past the deed's end the last action stays."""
    config, corpus = doer.config, latents.corpus
    assert corpus.proprio is not None
    doer.mean.copy_(latents.z.mean(0))
    doer.std.copy_(latents.z.std(0).clamp_min(1e-6))
    doer.scale.copy_(torch.from_numpy(corpus.actions.std(0)).clamp_min(1e-3))
    z = (latents.z[torch.from_numpy(lesson.rows)] - doer.mean) / doer.std
    here = doer.standard(corpus.proprio[lesson.rows])
    aim = torch.cat([doer.standard(one) for one in np.split(lesson.aim, 2, 1)], 1)
    ahead = np.minimum(lesson.rows[:, None] + np.arange(CHUNK), lesson.last[:, None])
    away = torch.from_numpy(corpus.actions[ahead] - corpus.proprio[lesson.rows][:, None]) / doer.scale

    def loss(step: int) -> Tensor:
        g = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        some = torch.randint(len(z), (config.batch,), generator=g)
        told = (x + config.noise * torch.randn(x.shape, generator=g) for x in (z[some], here[some], aim[some]))
        return F.smooth_l1_loss(doer(*told), away[some], beta=0.1)

    fit(doer.net, loss, FitConfig(config.steps, config.lr, 0.01), "Train the doer")
    doer.eval()


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
    train_pointer(grasps_of(pointer, corpus, language.cameras, parts), pointer, config.pointer_steps, seed=config.seed)
    doer = Doer(latents.z.shape[1], pointer, config).eval()
    assert corpus.proprio is not None
    doer.middle.fill_(middle_of(corpus.proprio[:, -1]))
    doer.empty.fill_(empty_of(corpus.proprio[:, -1], parts))
    train_doer(doer, latents, lesson_of(corpus, episodes, float(doer.middle)))
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
        raise JepaflowError(
            f"{path} is damaged, or no doer ({error}). Fit it anew: jepaflow language fit {run}"
        ) from error
    return doer.eval()
