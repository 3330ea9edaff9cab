"""Imagining many plans from one situation, each thing computed once.

The answer is `JEPA.rollout`'s. What all plans share (the tokens seen, up to the last) is a matter of the situation: their
keys and values are computed when it is met. A plan then costs one new token per step, as long as the context still holds
all tokens; its earlier keys and values are kept. Positions are learned and absolute, so from the step on at which the
window slides every token of it stands elsewhere and has to be computed anew: a model whose context is as long as history
and plan together (``--history``) never gets there. In the last layer only the newest token is carried through, and what an
action does to a layer (AdaLN) is computed once, wherever in the window the action stands.

Legend: E environments, R plans, H frames seen, N blocks, K control steps, A action size, D latent.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from jepaflow.worldmodel.attention import attend
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.predictor import AdaLNLayer

Part = TypeVar("Part", bound=nn.Module)

KeysValues = tuple[Tensor, Tensor]
"""[rows heads tokens d] each."""


class Imaginer:
    """A model made ready to imagine.

    Args:
        model: in eval mode; its weights must not change afterwards.
        bf16: multiply in bfloat16 (sums of a token's layers stay float32).

    Raises:
        ValueError: the model answers several steps in one pass (``prefix`` > 1): `JEPA.rollout` does that.
    """

    def __init__(self, model: JEPA, bf16: bool = False) -> None:
        if model.config.prefix > 1:
            raise ValueError("a model that imagines several steps in one pass shares nothing between steps")
        self.model, self.bf16 = model, bf16
        # Copies in bfloat16 are made here, once: autocast alone would cast all weights in every iteration of a search.
        ready = _multiplying_in_bf16 if bf16 else _as_it_is
        self.predictor, self.action_encoder = ready(model.predictor), ready(model.action_encoder)
        self.pred_proj = ready(model.pred_proj)
        self.layers: list[AdaLNLayer] = list(self.predictor.layers)  # type: ignore[arg-type]

    def meet(self, z: Float[Tensor, "E H D"], past: Float[Tensor, "E H-1 K A"]) -> Imagination:
        """Take in a situation: the latents seen and the blocks executed between them."""
        return Imagination(self, z, past)

    def autocast(self) -> torch.autocast:
        """Return the context in which to compute."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False)


class Imagination:
    """One situation per environment, in which plans are imagined."""

    def __init__(self, imaginer: Imaginer, z: Float[Tensor, "E H D"], past: Float[Tensor, "E H-1 K A"]) -> None:
        self._by, self._window = imaginer, imaginer.model.config.history
        self._z, self._past = z[:, -self._window :], past[:, max(0, z.shape[1] - self._window) :]
        self._shared: dict[int, list[KeysValues]] = {}

    def rollout(self, owner: Int[Tensor, " R"], future: Float[Tensor, "R N K A"]) -> Float[Tensor, "R N D"]:
        """Imagine the blocks of each plan in the situation of its environment `owner`."""
        with self._by.autocast():
            seen, steps = self._z.shape[1], future.shape[1]
            actions = _Actions(self._by, self._past[:, -1:][owner], future, seen + steps - 1 > self._window)
            tokens, kept = [self._z[:, -1][owner]], None
            for step in range(steps):
                end = seen + step
                begin = max(0, end - self._window)
                if begin or kept is None:  # the window has moved: all of it that differs between plans is new
                    kept = [(k[owner], v[owner]) for k, v in self._keys_values(begin)]
                    first = max(begin, seen - 1)
                else:
                    first = end - 1
                x = (
                    torch.stack(tokens[first - seen + 1 :], 1)
                    + self._by.predictor.position[:, first - begin : end - begin]
                )
                modulations = actions.modulations(first - seen + 1, step + 1, bare=first == begin)
                forecast, kept = self._step(x, modulations, kept)
                tokens.append(forecast)
        return torch.stack(tokens[1:], 1)

    def _step(
        self, x: Float[Tensor, "R T D"], modulations: list[Tensor], kept: list[KeysValues]
    ) -> tuple[Float[Tensor, "R D"], list[KeysValues]]:
        """Return the forecast after the last of the new tokens, and the keys and values with theirs."""
        grown = []
        for layer, modulation, (keys, values) in zip(self._by.layers, modulations, kept, strict=True):
            q, k, v = layer.project(x, modulation)
            keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
            grown.append((keys, values))
            if layer is self._by.layers[-1]:
                q, x, modulation = q[:, :, -1:], x[:, -1:], modulation[:, -1:]
            x = layer.advance(x, attend(q, keys, values, causal=True), modulation)
        return self._by.pred_proj(self._by.predictor.norm(x[:, -1])).float(), grown

    def _keys_values(self, begin: int) -> list[KeysValues]:
        """Return each layer's keys and values of the tokens that all plans share in the window that starts at `begin`."""
        if begin not in self._shared:
            x = self._z[:, begin:-1]
            count = x.shape[1]
            x = x + self._by.predictor.position[:, :count]
            told = self._by.model.scale_blocks(self._past[:, begin:]) if count else None
            condition = x if told is None else self._by.action_encoder(told)
            found = []
            for layer in self._by.layers:
                modulation = layer.modulate(condition)
                q, k, v = layer.project(x, modulation)
                found.append((k, v))
                x = layer.advance(x, attend(q, k, v, causal=True), modulation)
            self._shared[begin] = found
        return self._shared[begin]


class _Actions:
    """What each block of each plan does to each layer.

    Args:
        by: the model.
        before: the block before the first, none if none was executed.
        future: the plans.
        again: keep what was computed, the window will slide and ask again.
    """

    def __init__(
        self, by: Imaginer, before: Float[Tensor, "R P K A"], future: Float[Tensor, "R N K A"], again: bool
    ) -> None:
        self._by, self._again = by, again
        told = by.model.scale_blocks(torch.cat([before, future], 1))[:, before.shape[1] :]
        self._conditions = by.action_encoder(told)
        # The first block of a window is told as if nothing were known of the one before it.
        self._differs = by.model.config.action_change
        self._future = future
        self._known: dict[tuple[int, bool], list[Tensor]] = {}

    def modulations(self, begin: int, end: int, bare: bool) -> list[Tensor]:
        """Return each layer's modulation [R T 6D] of blocks `begin` to `end`; `bare`: the first has none before it."""
        each = [self._one(n, bare and n == begin and self._differs) for n in range(begin, end)]
        return each[0] if len(each) == 1 else [torch.cat(parts, 1) for parts in zip(*each, strict=True)]

    def _one(self, n: int, bare: bool) -> list[Tensor]:
        if (n, bare) in self._known:
            return self._known[n, bare]
        condition = self._conditions[:, n : n + 1]
        if bare:
            condition = self._by.action_encoder(self._by.model.scale_blocks(self._future[:, n : n + 1]))
        found = [layer.modulate(condition) for layer in self._by.layers]
        if self._again:
            self._known[n, bare] = found
        return found


def _as_it_is(module: Part) -> Part:
    return module


def _multiplying_in_bf16(module: Part) -> Part:
    """Return a copy whose linear layers hold bfloat16 weights."""
    copied = copy.deepcopy(module)
    for part in copied.modules():
        if isinstance(part, nn.Linear):
            part.to(torch.bfloat16)
    return copied
