"""The doer: System 1 for a clause. Which actions bring the named thing to the named place, on this very desk.

A plan over landmarks shows System 1 the desks of other episodes: the right deed, with the cubes elsewhere; walked so, the hand
closes beside the cube. The doer is an inverse-dynamics head whose goal is a pointing hand instead of a frame: the
joints at which the hand would close on the thing and open over the place, as the pointer sees them (`pointing`), beside the
joints and the latent now. The plan says which clause comes when, and the seer whether it is done; the doer knows one clause.

Design decisions:
- Words do not enter, only places: the latent need not hold a colour, and a pair that was never named together needs
  nothing new.
- Actions are learned relative to the joints now, in chunks of `CHUNK`; the first block of a chunk is executed.
- Blurred inputs in training, or small errors pile up in closed loop.

Legend: n rows, D latent, V views, T things (objects, then places), J joints (as many as actions), H numbers of a hand,
c steps of a chunk.
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

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.subgoals.language.clause import Thing
from jepaflow.subgoals.language.grounding import Language, folder_of, labelled
from jepaflow.subgoals.language.lessons import Part, parts_of
from jepaflow.subgoals.language.pointing import Pointer, grasps_of, train_pointer
from jepaflow.training.checkpoint import Run
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.training.latents import Latents, cached_latents
from jepaflow.worldmodel.colours import choose_colours

CHUNK = 10
"""c"""
COLOURS, DESKS = 14, 300
"""in the pointer's codebook; start frames that it is chosen on"""
HUES = {"red": (0.85, 0.08, 0.08), "blue": (0.1, 0.2, 0.85), "green": (0.1, 0.6, 0.2), "purple": (0.5, 0.15, 0.6)}
"""what colour words mean (RGB); others are learned from grasps alone"""


@dataclass(frozen=True)
class DoerConfig:
    """How the doer is trained; the defaults take about eight minutes on one core, the pointer included."""

    hidden: int = 512
    steps: int = 3000
    batch: int = 512
    lr: float = 1e-3
    noise: float = 0.03
    dropout: float = 0.1
    every: int = 3
    """control steps between the frames learned from"""
    pointer_steps: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.hidden, self.steps, self.batch, self.every, self.pointer_steps)
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

    def __init__(self, dim: int, pointer: Pointer, config: DoerConfig) -> None:
        super().__init__()
        self.config, self.pointer = config, pointer
        joints, width = pointer.sizes["joints"], config.hidden
        inputs = dim + 7 * joints + pointer.sizes["views"]
        self.net = nn.Sequential(
            nn.Linear(inputs, width), nn.GELU(), nn.Dropout(config.dropout),
            nn.Linear(width, width), nn.GELU(), nn.Dropout(config.dropout),
            nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, CHUNK * joints),
        )  # fmt: skip
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("scale", torch.ones(joints))

    def forward(self, scaled: Float[Tensor, "n D"], hand: Float[Tensor, "n H"]) -> Float[Tensor, "n c J"]:
        """Return actions relative to the joints now, in their deviations."""
        here, *there = hand[:, : 4 * self.scale.numel()].chunk(4, 1)
        told = torch.cat([scaled, hand, *(one - here for one in there)], 1)
        found: Tensor = self.net(told).unflatten(1, (CHUNK, -1))
        return found

    @torch.no_grad()
    def seen(self, frames: UInt8[ndarray, "n V S S 3"]) -> tuple[Float[Tensor, "n T V2"], Float[Tensor, "n T V"]]:
        """Return where everything is in frames, and how sharply it is seen."""
        pieces = np.array_split(frames, -(-len(frames) // 64))
        centres, sharp = zip(*(self.pointer.centres(self.pointer.maps(some)) for some in pieces), strict=True)
        return torch.cat(centres), torch.cat(sharp)

    @torch.no_grad()
    def hand(
        self,
        start: Float[Tensor, "n T V2"],
        frames: UInt8[ndarray, "n V S S 3"],
        joints: Float[ndarray, "n J"],
        thing: Int[ndarray, " n"],
        place: Int[ndarray, " n"],
    ) -> Float[Tensor, "n H"]:
        """Point.

        Args:
            start: where everything was when it all began (`seen`).
            frames: now.
            joints: now, in the dataset's units.
            thing, place: numbers among the things.
        """
        point, each = self.pointer, torch.arange(len(frames))
        one, other = torch.from_numpy(thing), torch.from_numpy(place)
        now, sharp = self.seen(frames)
        here = (torch.from_numpy(joints).float() - point.mean) / point.std
        grasps = [point.joints(at[each, one], False) for at in (start, now)]
        return torch.cat([here, *grasps, point.joints(start[each, other], True), sharp[each, one]], 1)

    @torch.no_grad()
    def act(
        self, z: Float[Tensor, "n D"], hand: Float[Tensor, "n H"], joints: Float[ndarray, "n J"]
    ) -> Float[ndarray, "n c J"]:
        """Return actions in the dataset's units."""
        away = self((z - self.mean) / self.std, hand) * self.scale
        return np.asarray((away + torch.from_numpy(joints).float()[:, None]).numpy())


@dataclass(frozen=True, eq=False)
class Lesson:
    """Frames in which clauses are being done."""

    rows: Int[ndarray, " n"]
    """of the latents"""
    last: Int[ndarray, " n"]
    """row at which the clause is done, of each"""
    hand: Float[Tensor, "n H"]


def lesson_of(doer: Doer, latents: Latents, cameras: tuple[str, ...], parts: Sequence[Part]) -> Lesson:
    """Point, in every few frames of the parts."""
    corpus = latents.corpus
    assert corpus.proprio is not None
    rows, hands = [], []
    with progress("Point at what was moved", len(parts)) as advance:
        for part in parts:
            some = np.arange(part.first, part.last + 1, doer.config.every)
            frames = corpus.frames(np.append(part.start, some), cameras)
            start, _ = doer.seen(frames[:1])
            thing, place = (np.full(len(some), number) for number in (part.thing, part.place))
            begun = start.expand(len(some), *start.shape[1:])
            hands.append(doer.hand(begun, frames[1:], corpus.proprio[some], thing, place))
            rows.append(some)
            advance(1)
    last = np.concatenate([np.full(len(some), part.last) for some, part in zip(rows, parts, strict=True)])
    return Lesson(np.concatenate(rows), last, torch.cat(hands))


def train_doer(doer: Doer, latents: Latents, lesson: Lesson) -> None:
    """Train the doer, with a trained pointer, on what the recordings did next; past the clause's end the last action stays."""
    config, corpus = doer.config, latents.corpus
    assert corpus.proprio is not None
    doer.mean.copy_(latents.z.mean(0))
    doer.std.copy_(latents.z.std(0).clamp_min(1e-6))
    doer.scale.copy_(torch.from_numpy(corpus.actions.std(0)).clamp_min(1e-3))
    z = (latents.z[torch.from_numpy(lesson.rows)] - doer.mean) / doer.std
    ahead = np.minimum(lesson.rows[:, None] + np.arange(CHUNK), lesson.last[:, None])
    away = torch.from_numpy(corpus.actions[ahead] - corpus.proprio[lesson.rows][:, None]) / doer.scale

    def loss(step: int) -> Tensor:
        g = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        some = torch.randint(len(z), (config.batch,), generator=g)
        told = (x + config.noise * torch.randn(x.shape, generator=g) for x in (z[some], lesson.hand[some]))
        return F.smooth_l1_loss(doer(*told), away[some], beta=0.1)

    fit(doer.net, loss, FitConfig(config.steps, config.lr, 0.01), "Train the doer")
    doer.eval()


def make_pointer(things: Sequence[Thing], corpus: Corpus, cameras: tuple[str, ...], parts: Sequence[Part]) -> Pointer:
    """Return an untrained pointer whose heat maps begin where the things' names say.

    Raises:
        JepaflowError: the run's recordings have no joints.
    """
    if corpus.proprio is None or corpus.proprio.shape[1] != corpus.actions.shape[1]:
        raise JepaflowError("Pointing needs observation.state, with one joint for each action. Train with --proprio.")
    pointer = Pointer(len(things), len(cameras), corpus.proprio.shape[1], COLOURS)
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
    parts = parts_of(latents.corpus, language, labelled(latents.corpus.stores, latents.corpus.where))
    pointer = make_pointer(language.seer.things(), latents.corpus, language.cameras, parts)
    train_pointer(
        grasps_of(pointer, latents.corpus, language.cameras, parts), pointer, config.pointer_steps, seed=config.seed
    )
    doer = Doer(latents.z.shape[1], pointer, config).eval()
    train_doer(doer, latents, lesson_of(doer, latents, language.cameras, parts))
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
