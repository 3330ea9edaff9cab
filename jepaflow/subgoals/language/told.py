"""The frames of episodes that did what their task sentence says, and the ways to say it: what a text-conditioned clone learns from.

Clauses are read from the task string and each is paraphrased with the training's wordings, in the order of the string; a
sentence that is not understood stands for itself alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float16, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.data.store import Store
from jepaflow.subgoals.language.clause import Clause
from jepaflow.subgoals.language.grounding import done_episodes
from jepaflow.subgoals.language.paraphrase import held_in, paraphrase
from jepaflow.subgoals.language.request import Request, parse
from jepaflow.subgoals.language.text_encoder import TextEncoder
from jepaflow.training.corpus import Corpus

OWN = 0.25
"""share of the draws that take the episode's own sentence"""
LINKS = (", then ", " and then ", ". Then ", ", and after that ")


@dataclass(frozen=True, eq=False)
class Told:
    """r rows of a corpus, and q sentences for each of their episodes."""

    rows: Int[ndarray, " r"]
    task: Int[ndarray, " r"]
    """which list of sentences says what is done there"""
    sentences: Int[ndarray, "t q"]
    """numbers of sentences; the first of each list is the dataset's own"""
    features: Float16[Tensor, "s L F"]
    """of all different sentences"""
    mask: Bool[Tensor, "s L"]
    episodes: int

    def draw(self, at: Int[ndarray, " m"], rng: np.random.Generator) -> Int[ndarray, " m"]:
        """Draw a sentence for each of some rows."""
        which = rng.integers(0, self.sentences.shape[1], len(at)) * (rng.random(len(at)) >= OWN)
        said: ndarray = self.sentences[self.task[at], which]
        return said


def told_episodes(corpus: Corpus, encoder: TextEncoder, count: int, hold_out: bool, seed: int) -> Told:
    """Collect what a corpus tells.

    Args:
        corpus: episodes.
        encoder: reads the sentences.
        count: q, ways to say each task.
        hold_out: leave episodes out whose sentence has a held-out pair of a cube and a bin.
        seed: of the paraphrases.
    """
    done, rng = [done_episodes(store) for store in corpus.stores], np.random.default_rng([seed, 11])
    lists: dict[str, int] = {}
    texts: list[list[str]] = []
    rows, tasks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, (store, episode) in enumerate(corpus.where.tolist()):
        said = _sentence(corpus.stores[store], episode)
        if not said or not done[store][episode]:
            continue
        read = parse(said)
        must = read.must if isinstance(read, Request) and not read.avoid else ()
        if hold_out and not all(map(held_in, must)):
            continue
        if said not in lists:
            lists[said] = len(texts)
            texts.append([said, *(_retold(must, rng) if must else said for _ in range(count - 1))])
        mine = corpus.first[number] + np.arange(corpus.length[number])
        rows.append(mine)
        tasks.append(np.full(len(mine), lists[said]))
    different = list(dict.fromkeys(text for some in texts for text in some))
    place = {text: i for i, text in enumerate(different)}
    numbers = np.array([[place[text] for text in some] for some in texts], np.int64).reshape(-1, count)
    features, mask = _features(encoder, different)
    return Told(np.concatenate(rows), np.concatenate(tasks), numbers, features, mask, len(rows) - 1)


def _sentence(store: Store, episode: int) -> str:
    if not store.tasks or "task_index" not in store.columns:
        return ""
    first = store.ep_offset[episode : episode + 1]
    return store.tasks[int(np.ravel(store.read("task_index", first))[0])]


def _retold(clauses: Sequence[Clause], rng: np.random.Generator) -> str:
    parts = [paraphrase(clause, rng).rstrip(".?") for clause in clauses]
    link = LINKS[int(rng.integers(len(LINKS)))]
    if "." not in link:
        parts[1:] = [part if part.isupper() else part[0].lower() + part[1:] for part in parts[1:]]
    return link.join(parts) + "." * int(rng.random() < 0.5)


def _features(encoder: TextEncoder, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token features of sentences in half precision: thousands of them fit into memory."""
    parts = [encoder.encode(texts[start : start + 256]) for start in range(0, len(texts), 256)]
    length = max((part.mask.shape[1] for part in parts), default=1)
    features = torch.zeros(len(texts), length, encoder.dim, dtype=torch.float16)
    mask = torch.zeros(len(texts), length, dtype=torch.bool)
    for number, part in enumerate(parts):
        size = part.mask.shape
        features[256 * number : 256 * number + size[0], : size[1]] = part.features.half()
        mask[256 * number : 256 * number + size[0], : size[1]] = part.mask
    return features, mask
