"""The training loop.

Everything random in step s (batch, dropout, SIGReg's directions) is a function of (seed, s), so a resumed run repeats
on a CPU exactly what the uninterrupted one did, from a checkpoint that holds weights and optimizer state alone. A loss or
gradient that is not finite stops the run *before* the optimizer step and names the windows.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepaflow.common.console import console, progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.data.scaling import change_statistics, column_statistics
from jepaflow.data.split import Split, split_episodes
from jepaflow.data.store import Store
from jepaflow.data.windows import Window, Windows, check_match, prefetch
from jepaflow.training.calibrate import calibrate
from jepaflow.training.checkpoint import restore_newest, save_checkpoint
from jepaflow.training.config import DatasetConfig, OptimConfig, TrainConfig
from jepaflow.training.device import choose_compile, choose_device, choose_precision, moved, pinned, prepare
from jepaflow.training.health import health
from jepaflow.training.initial import begin_from, inherited
from jepaflow.training.log import TrainingLog
from jepaflow.training.objective import Losses, ObjectiveConfig, backward
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig, Scaler
from jepaflow.worldmodel.presets import preset

COLOURS = 14
"""in the codebook of --loss.colour"""
COLOUR_WINDOWS = 64
"""training windows that they are chosen on"""


def model_config(config: TrainConfig, store: Store) -> JEPAConfig:
    """The model that ``config`` asks for, on this store.

    Raises:
        JepaflowError: when the store's frames are not of the preset's size.
    """
    wanted = preset(config.preset)
    if store.image_size != wanted.image_size:
        raise JepaflowError(
            f"{store.path} has frames of {store.image_size} px, the preset {config.preset} takes {wanted.image_size}. "
            f"Convert with --image-size {wanted.image_size}, or choose another preset."
        )
    return preset(
        config.preset,
        cameras=config.cameras,
        action_dim=store.dim("action"),
        proprio_dim=store.dim("proprio") if config.proprio else 0,
        proprio_dropout=config.proprio_dropout if config.proprio else 0.0,
        block=config.block,
        history=config.history,
        action_change=config.action_change,
        prefix=config.prefix,
        inverse=config.loss.inverse > 0,
        grounding=config.loss.grounding > 0,
        colours=COLOURS if config.loss.colour > 0 else 0,
        latent_dim=config.latent_dim or wanted.latent_dim,
    )


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero; a pure function of the step."""
    warmup = max(1, round(config.optim.warmup * config.steps))
    if step < warmup:
        return config.optim.lr * (step + 1) / warmup
    share = (step - warmup) / max(1, config.steps - warmup)
    return config.optim.lr * 0.5 * (1 + math.cos(math.pi * share))


def make_optimizer(model: JEPA, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW, all weights in one kernel; weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.optim.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.optim.lr, fused=True)


class Trainer:
    """Trains one run; made anew for a fresh start or a resumption.

    Args:
        config: the run.
        run: its folder.

    Raises:
        JepaflowError: when the data do not suit the model.
    """

    def __init__(self, config: TrainConfig, run: Path) -> None:
        if not config.dataset.path:
            raise JepaflowError("No dataset. Give a store with --dataset.path X.h5 (made by jepaflow convert).")
        self.config, self.run = config, run
        self.stores = [Store(path) for path in config.dataset.path]
        check_match(self.stores, config.proprio)
        self.splits = [self._split(store) for store in self.stores]
        self.device, why_device = choose_device(config.device)
        self.precision, why_precision = choose_precision(config.precision, self.device)
        torch.manual_seed(config.seed)
        self.model = JEPA(model_config(config, self.stores[0])).to(self.device)
        self._fit_scalers()
        compiled, why_compile = choose_compile(config.compile, self.device)
        prepare([self.model.encoder, self.model.predictor], self.device, self.precision, compiled)
        self.optimizer = make_optimizer(self.model, config)
        self.windows = self._windows([s.train for s in self.splits])
        self.batches = self.windows.batches_per_epoch(config.batch_size)
        if self.batches == 0:
            raise JepaflowError(
                f"There are {len(self.windows)} training windows, fewer than one batch. Use a smaller --batch-size."
            )
        self.val = self._val_batches()
        if self.model.config.colours:
            self._fit_colours()
        self.step = 0
        self.deadline = math.inf  # of time.monotonic
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))
        console.print(
            f"{self.model!r}\n{self.device} ({why_device}), {str(self.precision)[6:]} ({why_precision}), "
            f"{'compiled' if compiled else 'not compiled'} ({why_compile}), {len(self.windows):,} windows"
        )

    def _split(self, store: Store) -> Split:
        dataset = self.config.dataset
        return split_episodes(store.num_episodes, dataset.val_fraction, dataset.split_seed, dataset.episodes)

    def _windows(self, episodes: list[tuple[int, ...]], cache_bytes: int | None = None) -> Windows:
        config = self.config
        return Windows(self.stores, episodes, config.frames, config.block, config.cameras, config.proprio, cache_bytes)

    def _val_batches(self) -> list[Window]:
        """A fixed sample of held-out windows; empty when no episode is held out or long enough."""
        try:
            windows = self._windows([s.val for s in self.splits], cache_bytes=0)
        except JepaflowError:
            console.print("No held-out episode is long enough for a window: health will not be measured.")
            return []
        order = windows.order(self.config.dataset.split_seed, 0)
        size = min(self.config.batch_size, len(order))
        count = min(self.config.val_batches, len(order) // size)
        return [windows.batch(order[i * size : (i + 1) * size]) for i in range(count)]

    def _fit_scalers(self) -> None:
        columns = {"action": self.model.action_scaler}
        if self.config.proprio:
            columns["proprio"] = self.model.proprio_scaler
        for column, scaler in columns.items():
            assert isinstance(scaler, Scaler)
            mean, std = column_statistics(self.stores, [s.train for s in self.splits], column)
            if any(s.val for s in self.splits):
                column_statistics(self.stores, [s.val for s in self.splits], column)  # refuses what is not finite
            scaler.mean.copy_(torch.from_numpy(mean))
            scaler.std.copy_(torch.from_numpy(std))
        if self.config.action_change:
            mean, std = change_statistics(self.stores, [s.train for s in self.splits], "action")
            self.model.change_scaler.mean.copy_(torch.from_numpy(mean))
            self.model.change_scaler.std.copy_(torch.from_numpy(std))

    def _fit_colours(self) -> None:
        """Choose the colours on training frames; weights that are loaded later bring their own."""
        order = self.windows.order(self.config.dataset.split_seed, 0)
        frames = self.windows.batch(order[:COLOUR_WINDOWS]).pixels
        self.model.colours.fit(frames.flatten(0, 1), self.config.dataset.split_seed)

    def read(self, step: int) -> Window:
        """The batch of a step: a pure function of (seed, step)."""
        epoch, i = divmod(step, self.batches)
        known = self._order  # read once: the prefetching thread and calibration may be in different epochs
        if known[0] != epoch:
            self._order = known = (epoch, self.windows.order(self.config.seed, epoch))
        size = self.config.batch_size
        return self.windows.batch(known[1][i * size : (i + 1) * size])

    def _update(self, step: int, window: Window) -> tuple[Losses, float]:
        """One optimizer step, unless something is not finite."""
        self.model.train()
        torch.manual_seed(self.config.seed * 1_000_003 + step)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        if not bool(window.blocks.isfinite().all()):
            self._refuse("An action", window, ~window.blocks.flatten(1).isfinite().all(1))
        window = moved(window, self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        parts = backward(self.model, window, self.config.loss, generator, self.config.accumulate, self.precision)
        length = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip)
        total, norm = torch.stack([parts.total, length]).tolist()  # the one place where the GPU is waited for
        if not math.isfinite(total):
            self._refuse(f"The loss of step {step}", window, ~parts.latents.flatten(1).isfinite().all(1))
        if not math.isfinite(norm):
            self._refuse(f"The gradient of step {step}", window, torch.zeros(len(window.where), dtype=torch.bool))
        self.optimizer.step()
        return parts, norm

    def _refuse(self, what: str, window: Window, bad: torch.Tensor) -> None:
        """Stop before the optimizer step, naming the windows."""
        guilty = window.where[bad.cpu().numpy()] if bool(bad.any()) else window.where[:3]
        places = "; ".join(self.windows.place(where) for where in guilty[:3])
        raise JepaflowError(
            f"{what} is not finite. The weights were not changed. Windows: {places}{' …' if len(guilty) > 3 else ''}. "
            "Run jepaflow doctor on the dataset; if it is clean, lower --optim.lr and go on with --resume."
        )

    def resume(self) -> int:
        """Continue from the newest checkpoint that loads; returns its step, 0 when there is none."""
        self.step = restore_newest(self.run, self.model, self.optimizer)
        return self.step

    def begin(self, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Take the weights that the configuration names, if it does; returns what ``data.json`` must remember of them.

        Args:
            before: what it remembers already, when a run is begun for the second time.

        Raises:
            JepaflowError: as `begin_from`.
        """
        if self.config.init is None:
            return []
        held_out = [store.fingerprint(e) for store, split in zip(self.stores, self.splits) for e in split.val]
        return [begin_from(self.model, self.config.init, held_out, before)]

    def save(self) -> Path:
        """Save a checkpoint of the present step."""
        return save_checkpoint(self.run, self.step, self.model, self.optimizer, self.config.keep)

    def _recent(self) -> Iterator[Window]:
        """The last training batches, for calibration; a pure function of the step."""
        return (self.read(step) for step in range(max(0, self.step - self.config.calibration_batches), self.step))

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.steps

    def fit(self) -> dict[str, float]:
        """Train to the last step, or to the first that ends after ``deadline``; returns the last health figures.

        Stopped early, a run saves a checkpoint, and ends after its resumption with the weights of one that never stopped.
        """
        config, last = self.config, {}
        waited, begin, since = 0.0, time.perf_counter(), self.step
        with TrainingLog(self.run, self.step) as log, progress("Train", config.steps) as advance:
            advance(self.step)
            batches = prefetch(lambda step: pinned(self.read(step), self.device), self.step, config.steps)
            while self.step < config.steps:
                asked = time.perf_counter()
                step, window = next(batches)
                waited += time.perf_counter() - asked
                parts, norm = self._update(step, window)
                self.step = step + 1
                values: dict[str, float] = {}
                late = time.monotonic() >= self.deadline
                if self._due(config.log_every):
                    elapsed = time.perf_counter() - begin
                    frames = (self.step - since) * config.batch_size * config.frames
                    values = _log_values(parts, norm, learning_rate(step, config))
                    values |= {"frames_per_s": frames / elapsed, "waiting_for_data": waited / elapsed}
                    waited, begin, since = 0.0, time.perf_counter(), self.step
                if self._due(config.val_every) or self._due(config.save_every) or late:
                    pause = time.perf_counter()
                    calibrate(self.model, self._recent())
                    if self.val and self._due(config.val_every):
                        last = health(self.model, self.val)
                        values |= last
                    begin += time.perf_counter() - pause
                if values:
                    log.write(self.step, values)
                    advance(0, note=_note(values | last))
                if self._due(config.save_every) or late:
                    self.save()  # after the log: a run that dies in between repeats the step instead of missing its line
                advance(1)
                if late:
                    break
            batches.close()
        return last


def _log_values(parts: Losses, norm: float, rate: float) -> dict[str, float]:
    values = {
        name: float(getattr(parts, name).detach())
        for name in ("total", "prediction", "sigreg", "rollout", "inverse", "colour")
    }
    return {f"loss/{k}": v for k, v in values.items()} | {"grad_norm": norm, "lr": rate}


def _note(values: dict[str, float]) -> str:
    parts = [f"loss {values['loss/total']:.3f}"] if "loss/total" in values else []
    if "val/skill" in values:
        parts.append(f"skill {values['val/skill']:.2f} rank {values.get('val/effective_rank', 0):.1f}")
    if "frames_per_s" in values:
        parts.append(f"{values['frames_per_s']:.0f} frames/s, {values['waiting_for_data']:.0%} waiting for data")
    return " · ".join(parts)


def _data_record(store: Store, episodes: tuple[int, ...]) -> dict[str, Any]:
    """What the run must remember of a store that may be moved, renamed or converted anew before the run is judged."""
    return {
        "image_fit": store.meta.get("image_fit"),
        "fps": store.fps,
        "train": [store.fingerprint(episode) for episode in episodes],
    }


def _saved(config: TrainConfig) -> dict[str, Any]:
    """The configuration as JSON; store paths absolute, so that the run works from any folder."""
    values = asdict(config)
    values["dataset"]["path"] = [str(Path(p).resolve()) for p in config.dataset.path]
    values["cameras"] = list(config.cameras)
    values["init"] = None if config.init is None else str(config.init.resolve())
    return values


def train(config: TrainConfig, run: Path, resume: bool = False, minutes: float | None = None) -> Trainer:
    """Start or resume a run in folder ``run`` and train it to its last step, or for so many minutes (at least one step).

    Raises:
        JepaflowError: when the folder holds another run, or the configuration differs from the one resumed.
    """
    begin, saved_path = time.monotonic(), run / "config.json"
    if minutes is not None and not minutes > 0:
        raise JepaflowError(f"--minutes is {minutes:g}; it must be positive.")
    if saved_path.exists():
        if not resume:
            raise JepaflowError(
                f"{run} holds a run already. Add --resume to continue it, or choose another --output-dir."
            )
        config = _resumed_config(config, read_json(saved_path))
    trainer = Trainer(config, run)
    split = {"train": [list(s.train) for s in trainer.splits], "val": [list(s.val) for s in trainer.splits]}
    if resume and (run / "split.json").exists() and read_json(run / "split.json") != split:
        raise JepaflowError(
            f"The stores of {run} have changed since it began: its split of episodes no longer fits. Train a new run."
        )
    step = trainer.resume() if resume else 0
    record: list[dict[str, Any]] = [_data_record(store, s.train) for store, s in zip(trainer.stores, trainer.splits)]
    record += inherited(run) if step else trainer.begin(inherited(run) if resume else [])
    write_json(run / "split.json", split)
    write_json(run / "data.json", record)
    write_json(saved_path, _saved(config))
    if resume:
        console.print(
            f"Resumed at step {step} of {config.steps}." if step else "There is no checkpoint to resume: starts anew."
        )
    if minutes is not None:
        trainer.deadline = begin + 60 * minutes
    trainer.fit()
    return trainer


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested configuration → {"optim.lr": …}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


CHANGEABLE = {
    "optim.lr",
    "device",
    "precision",
    "compile",
    "log_every",
    "val_every",
    "save_every",
    "keep",
    "dataset.path",
}
"""What may be given anew on resuming; everything else comes from the run."""


def _resumed_config(given: TrainConfig, saved: dict[str, Any]) -> TrainConfig:
    """The saved configuration with the changeable flags that were given; other flags must agree with it."""
    default, asked, merged = _leaves(_saved(TrainConfig())), _leaves(_saved(given)), _leaves(saved)
    for key, value in asked.items():
        if value == default[key] or value == merged.get(key):
            continue
        flag = f"--{key.replace('_', '-')}"
        if key not in CHANGEABLE:
            raise JepaflowError(
                f"{flag} differs from the run that is resumed ({value} ≠ {merged.get(key)}). Drop the flag or start a new run."
            )
        console.print(f"{flag} is now {value}; it was {merged.get(key)}.")
        merged[key] = value
    group = {
        name: {k.split(".", 1)[1]: v for k, v in merged.items() if k.startswith(f"{name}.")}
        for name in ("dataset", "loss", "optim")
    }
    dataset = DatasetConfig(**{**group["dataset"], "path": tuple(Path(p) for p in group["dataset"]["path"])})
    parts = {"dataset": dataset, "loss": ObjectiveConfig(**group["loss"]), "optim": OptimConfig(**group["optim"])}
    flat = {key: value for key, value in merged.items() if "." not in key}
    init = None if merged.get("init") is None else Path(merged["init"])
    return TrainConfig(**{**flat, "cameras": tuple(merged["cameras"]), "init": init, **parts})
