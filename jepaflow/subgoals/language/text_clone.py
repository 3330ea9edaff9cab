"""The baseline that reads the sentence itself: behaviour cloning conditioned on the text embedding, as VLAs are.

It has the world model's encoder, untrained, trained end to end on the frames of the same training episodes, and is as large as the
world model. The sentence's frozen token features are pooled by attention; they scale and shift the encoder's feature maps after
each stage (FiLM, as BC-Z and RT-1 do) and enter the policy once more. It answers with a chunk of actions, relative to
where the joints are if the actions are absolute joint targets. It learns from the episodes that did their task
sentence, and from paraphrases of that sentence, as many optimisation frames as the world model. What the seer is
not told (pairs of a cube and a bin that are held out) it is not told either.

Legend: B environments, K steps of a chunk, A action, P state, L tokens, F features of a token.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, write_json
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row, commit, hardware
from jepaflow.subgoals.language.encoders import make_encoder
from jepaflow.subgoals.language.text_encoder import TextEncoder
from jepaflow.subgoals.language.told import Told, told_episodes
from jepaflow.training.checkpoint import Run
from jepaflow.training.cloning import SEEING, parameters
from jepaflow.training.corpus import Corpus, open_corpora
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.training.heads import answers_with_changes
from jepaflow.worldmodel.encoder import ConvNet
from jepaflow.worldmodel.head_layers import perceptron
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig, Scaler

FILE = "text_clone"
SCALER_ROWS = 20_000
CALIBRATION_BATCHES = 8
JUDGED = 4_000
"""held-out frames that the error is measured on"""


@dataclass(frozen=True)
class TextCloneConfig:
    """How the clone is trained."""

    encoder: str = "auto"
    """of sentences: auto, minilm or hashed"""
    chunk: int = 10
    """K, control steps that it answers with"""
    steps: int | None = None
    """optimizer steps; as many as the run's when not given"""
    batch_size: int | None = None
    """frames in a step; as many as the run's when not given"""
    paraphrases: int = 24
    """ways to say each episode's task, its own sentence among them"""
    text_dim: int = 128
    hold_out: bool = True
    """leave the held-out pairs' episodes out, as the seer does"""
    seed: int = 0
    save_seconds: float = 60.0
    """time between saves of an unfinished training"""

    def __post_init__(self) -> None:
        given = [size for size in (self.steps, self.batch_size) if size is not None]
        if min(self.chunk, self.paraphrases, self.text_dim, *given) < 1 or self.seed < 0:
            raise JepaflowError("A text clone's sizes and steps must be at least 1, its seed not negative.")


class TextClone(nn.Module):
    """A policy from pixels and a sentence's token features.

    Args:
        config: the world model's sizes.
        features: F.
        text_dim: size of a pooled sentence.
        chunk: K.
        hidden: width of the policy.
        relative: answer relative to the state.
    """

    def __init__(
        self, config: JEPAConfig, features: int, text_dim: int, chunk: int, hidden: int, relative: bool
    ) -> None:
        super().__init__()
        self.config = config
        self.sizes = {"features": features, "text_dim": text_dim, "chunk": chunk, "hidden": hidden}
        self.relative = relative
        self.eyes = JEPA(config)
        for name in [name for name, _ in self.eyes.named_children() if name not in SEEING]:
            delattr(self.eyes, name)
        self.asked = nn.Linear(features, 4)
        self.said = nn.Sequential(nn.Linear(4 * features, text_dim), nn.GELU(), nn.Linear(text_dim, text_dim))
        self.films = nn.ModuleDict()
        for name, channels in self._stages():
            film = nn.Linear(text_dim, 2 * channels)
            nn.init.zeros_(film.weight)
            nn.init.zeros_(film.bias)
            self.films[name] = film
        answer = chunk * config.action_dim
        self.policy = perceptron(config.latent_dim + text_dim, hidden, answer, 3)
        self.answer_scaler = Scaler(answer)
        self.text_scaler = Scaler(1)

    def _stages(self) -> list[tuple[str, int]]:
        """Name and channels of the encoder's stages that sentences modulate."""
        if not isinstance(self.eyes.encoder, ConvNet):
            return []
        trunk = self.eyes.encoder.trunk
        after = [(str(i), layer) for i, layer in enumerate(trunk) if not isinstance(layer, nn.Conv2d)]
        channels = [*self.config.encoder.channels, *[self.config.encoder.channels[-1]] * self.config.encoder.blocks]
        return [(name, size) for (name, _), size in zip(after, channels, strict=True)]

    def pool(self, features: Float[Tensor, "B L F"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B T"]:
        """One vector for each sentence: four attentions over its tokens."""
        x = self.text_scaler(features)
        weight = self.asked(x).masked_fill(~mask[..., None], -1e9).softmax(1)
        pooled: Tensor = self.said((weight.transpose(1, 2) @ x).flatten(1))
        return pooled

    def forward(
        self,
        pixels: UInt8[Tensor, "B V S S 3"],
        proprio: Float[Tensor, "B P"] | None,
        said: Float[Tensor, "B T"],
    ) -> Float[Tensor, "B KA"]:
        """Answer in z-scores."""
        hooks = []
        for name, film in self.films.items():
            scale, shift = film(said)[:, :, None, None].chunk(2, 1)
            stage = self.eyes.encoder.get_submodule(f"trunk.{name}")
            hooks.append(stage.register_forward_hook(_modulated(1 + scale, shift)))
        try:
            z = self.eyes.encode(pixels[:, None], None if proprio is None else proprio[:, None])[:, 0]
        finally:
            for hook in hooks:
                hook.remove()
        answer: Tensor = self.policy(torch.cat([z, said], 1))
        return answer

    def wanted(self, plan: Float[Tensor, "B K A"], proprio: Float[Tensor, "B P"] | None) -> Float[Tensor, "B KA"]:
        """What it should answer for the actions that were executed, in z-scores."""
        answer: Tensor = self.answer_scaler(self._moved(plan, proprio).flatten(1))
        return answer

    def _moved(self, plan: Tensor, proprio: Tensor | None) -> Tensor:
        return plan - proprio[:, None] if self.relative and proprio is not None else plan

    def actions(self, answer: Float[Tensor, "B KA"], proprio: Float[Tensor, "B P"] | None) -> Float[Tensor, "B K A"]:
        """Turn z-scores into actions in dataset units, not clipped."""
        plan = (answer * self.answer_scaler.std + self.answer_scaler.mean).view(len(answer), -1, self.config.action_dim)
        return plan + proprio[:, None] if self.relative and proprio is not None else plan


def _modulated(scale: Tensor, shift: Tensor) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    return lambda _module, _given, out: out * scale + shift


class TextPolicy:
    """The clone with its text encoder: ``policy(frames, proprio, sentence)``.

    Args:
        clone: trained, in eval mode.
        encoder: the one that it was trained with.
    """

    def __init__(self, clone: TextClone, encoder: TextEncoder) -> None:
        self.clone, self.encoder = clone, encoder

    @torch.no_grad()
    def __call__(
        self,
        frames: UInt8[ndarray, "B V S S 3"],
        proprio: Float[ndarray, "B P"] | None,
        sentence: str | Sequence[str],
    ) -> Float[ndarray, "B K A"]:
        """Return the next K actions of each environment, dataset units, not clipped.

        Args:
            frames: what the run's cameras show, in its order.
            proprio: robot states; needed exactly when the run has them as input.
            sentence: one for all environments, or one for each.

        Raises:
            JepaflowError: states are missing, or there are not as many sentences as environments.
        """
        said = [sentence] * len(frames) if isinstance(sentence, str) else list(sentence)
        if len(said) != len(frames):
            raise JepaflowError(f"{len(said)} sentences were given for {len(frames)} environments. Give one for each.")
        if self.clone.config.proprio_dim and proprio is None:
            raise JepaflowError("The text clone was trained with observation.state: give it the robot's state.")
        device = self.clone.eyes.device
        if not said:
            return np.zeros((0, self.clone.sizes["chunk"], self.clone.config.action_dim), np.float32)
        different = list(dict.fromkeys(said))
        read = self.encoder.encode(different)
        pooled = self.clone.pool(read.features.to(device), read.mask.to(device))
        pooled = pooled[[different.index(one) for one in said]]
        told = bool(self.clone.config.proprio_dim)
        state = torch.from_numpy(np.asarray(proprio, np.float32)).to(device) if told else None
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(device)
        return self.clone.actions(self.clone(pixels, state, pooled), state).cpu().numpy()


def train_text_clone(run: Run, config: TextCloneConfig, command: str, dataset: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Train a text clone of the run's size, save it in its folder, return what ``text_clone.json`` says.

    Args:
        run: the run; its weights are not used.
        config: training.
        command: what a reader types to make it again, for the record.
        dataset: where the run's stores lie now; empty = where they lay.

    Raises:
        JepaflowError: for stores without actions or not the run's, and where no episode did a task sentence.
    """
    begin, device, encoder = time.monotonic(), run.model.device, make_encoder(config.encoder)
    train, val = open_corpora(run, dataset)
    told = told_episodes(train, encoder, config.paraphrases, config.hold_out, config.seed)
    if not len(told.rows):
        raise JepaflowError("No training episode did a task sentence. Record some that did, each with its sentence.")
    torch.manual_seed(config.seed)
    relative = train.proprio is not None and answers_with_changes(train, "auto")
    shape = (encoder.dim, config.text_dim, config.chunk)
    clone = TextClone(run.model.config, *shape, _equal_width(run.model.config, shape, relative), relative)
    _fit_scalers(clone, train, told, run, config.seed)
    clone.to(device)
    steps, batch = config.steps or int(run.config["steps"]), config.batch_size or _run_frames(run)
    loss = _loss(clone, train, told, batch, config.seed)
    optim = run.config["optim"]
    fitting = FitConfig(steps, optim["lr"], optim["weight_decay"], optim["clip"])
    about = json.dumps([asdict(config), steps, batch, encoder.name, clone.sizes, len(told.rows)], sort_keys=True)
    partial = run.path / f"{FILE}.partial"
    fit(clone, loss, fitting, "Train the text clone", partial, about, config.save_seconds)
    _calibrate(clone, loss, range(max(0, steps - CALIBRATION_BATCHES), steps))
    clone.cpu()
    held = told_episodes(val, encoder, 1, False, config.seed)
    rows = _figures(clone, val, held, config.seed)
    save_text_clone(run.path, clone, encoder.name)
    partial.unlink(missing_ok=True)
    record = {
        "command": command,
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "seconds": round(time.monotonic() - begin, 1),
        "training": {**asdict(config), "encoder": encoder.name, "steps": steps, "batch_size": batch},
        "episodes": int(told.episodes),
        "frames": len(told.rows),
        "parameters": {"text_clone": parameters(clone), "world_model": parameters(run.model)},
        "rows": [asdict(row) for row in rows],
    }
    write_json(run.path / f"{FILE}.json", record)
    return record


def _run_frames(run: Run) -> int:
    """Frames in a step of the run."""
    loss = run.config["loss"]
    ahead = int(loss["rollout_steps"]) if loss["rollout"] else 1
    return max(2, int(run.config["batch_size"]) * (int(run.config["history"]) + ahead))


def _equal_width(config: JEPAConfig, shape: tuple[int, int, int], relative: bool) -> int:
    """The policy's hidden width that makes clone and world model equally large, as nearly as can be; at least 16."""
    with torch.device("meta"):
        size = parameters(JEPA(config))
        widths = range(16, 2049, 8)
        low, high = 0, len(widths) - 1
        while low < high:
            middle = (low + high) // 2
            large = parameters(TextClone(config, *shape, widths[middle], relative)) >= size
            low, high = (low, middle) if large else (middle + 1, high)
        return widths[low]


def _fit_scalers(clone: TextClone, corpus: Corpus, told: Told, run: Run, seed: int) -> None:
    """Statistics of chunks and of token features; those of the state are the run's."""
    some = np.random.default_rng([seed, 12]).choice(told.rows, min(SCALER_ROWS, len(told.rows)), replace=False)
    plan, state = _plan(corpus, some, clone.sizes["chunk"]), _state(corpus, some)
    values = clone._moved(plan, state).flatten(1)
    std = values.std(0, correction=0)
    clone.answer_scaler.mean.copy_(values.mean(0))
    clone.answer_scaler.std.copy_(torch.where(std <= 1e-5, torch.ones_like(std), std))
    clone.text_scaler.std.copy_(told.features[told.mask].float().std().view(1))
    if clone.config.proprio_dim:
        clone.eyes.proprio_scaler.load_state_dict(run.model.proprio_scaler.state_dict())


def _plan(corpus: Corpus, rows: Int[ndarray, " m"], chunk: int) -> Float[Tensor, "m K A"]:
    return torch.from_numpy(np.ascontiguousarray(corpus.plans(rows, chunk)))


def _state(corpus: Corpus, rows: Int[ndarray, " m"]) -> Float[Tensor, "m P"] | None:
    return None if corpus.proprio is None else torch.from_numpy(corpus.proprio[rows])


def _answers(
    clone: TextClone, corpus: Corpus, rows: Int[ndarray, " m"], said: Int[ndarray, " m"], told: Told
) -> tuple[Float[Tensor, "m KA"], Float[Tensor, "m KA"]]:
    """What the clone answers in some rows with some sentences, and what it should."""
    device = clone.eyes.device
    state = _state(corpus, rows)
    state = state if state is None else state.to(device)
    pixels = torch.from_numpy(corpus.frames(rows, clone.config.cameras)).to(device)
    different, back = np.unique(said, return_inverse=True)
    length = int(told.mask[different].sum(1).max())
    features = told.features[different, :length].float().to(device)
    pooled = clone.pool(features, told.mask[different, :length].to(device))[torch.from_numpy(back).to(device)]
    wanted = clone.wanted(_plan(corpus, rows, clone.sizes["chunk"]).to(device), state)
    return clone(pixels, state, pooled), wanted


def _loss(clone: TextClone, corpus: Corpus, told: Told, batch: int, seed: int) -> Callable[[int], Tensor]:
    """The loss of a step: Huber's, of z-scored chunks."""

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 13, step])
        at = rng.integers(0, len(told.rows), batch)
        answer, wanted = _answers(clone, corpus, told.rows[at], told.draw(at, rng), told)
        return F.huber_loss(answer.float(), wanted)

    return loss


@torch.no_grad()
def _calibrate(clone: TextClone, loss: Callable[[int], Tensor], steps: range) -> None:
    """Take BatchNorm's averages anew with the final weights."""
    norms = [module for module in clone.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for step in steps:
        loss(step)
    clone.eval()


@torch.no_grad()
def _figures(clone: TextClone, corpus: Corpus, told: Told, seed: int) -> list[Row]:
    """Squared error of chunks on held-out episodes, in z-scores; floors: the mean answer, another episode's sentence."""
    if not len(told.rows):
        return []
    rng = np.random.default_rng([seed, 14])
    at = rng.integers(0, len(told.rows), min(JUDGED, 8 * len(told.rows)))
    said, other = told.draw(at, rng), told.draw(rng.permutation(at), rng)
    errors, floors = [], []
    for some in np.array_split(np.arange(len(at)), max(1, len(at) // 256)):
        rows = told.rows[at[some]]
        answer, wanted = _answers(clone, corpus, rows, said[some], told)
        answer_other, _ = _answers(clone, corpus, rows, other[some], told)
        errors.append((answer - wanted).square().mean(1))
        floors.append(torch.stack([wanted.square().mean(1), (answer_other - wanted).square().mean(1)], 1))
    error, floor = torch.cat(errors).double().numpy(), torch.cat(floors).double().mean(0).tolist()
    episodes = corpus.episode[told.rows[at]]
    each = np.array([error[episodes == one].mean() for one in np.unique(episodes)])
    low, high = bootstrap(each, lambda drawn: float(drawn.mean()))
    value = float(each.mean())
    note = f"z-scored squared error of chunks of {clone.sizes['chunk']} steps, mean over held-out episodes that did their task"
    beside = {"mean": floor[0], "other_sentence": floor[1]}
    return [
        Row("text_clone/error", value, min(low, value), max(high, value), len(each), 1, "variance", beside, {}, note)
    ]


def save_text_clone(folder: Path, clone: TextClone, encoder: str) -> None:
    """Write ``text_clone.safetensors``: weights, and in the metadata the sizes and the text encoder's name."""
    about = {"model": asdict(clone.config), "sizes": clone.sizes, "relative": clone.relative, "encoder": encoder}
    tensors = {key: value.detach().cpu().contiguous() for key, value in sorted(clone.state_dict().items())}
    with atomic_path(folder / f"{FILE}.safetensors") as temporary:
        save_file(tensors, temporary, {"jepaflow_text_clone": json.dumps(about)})


def has_text_clone(folder: Path) -> bool:
    """Return whether a run has a text clone."""
    return (Path(folder) / f"{FILE}.safetensors").is_file()


def load_text_clone(folder: Path, device: str | torch.device = "cpu") -> TextPolicy:
    """Load the text clone of a run with its text encoder.

    Raises:
        JepaflowError: when there is none, it is damaged, or its text encoder is not installed.
    """
    path, again = Path(folder) / f"{FILE}.safetensors", f"jepaflow language clone {folder}"
    if not path.is_file():
        raise JepaflowError(f"{folder} has no text clone yet. Train one with: {again}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["jepaflow_text_clone"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (the file is no mapping)
        clone = TextClone(JEPAConfig.from_dict(about["model"]), **about["sizes"], relative=about["relative"])
        clone.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise JepaflowError(f"{path} is damaged ({error}). Train it anew: {again}") from error
    return TextPolicy(clone.to(device).eval().requires_grad_(False), make_encoder(about["encoder"]))
