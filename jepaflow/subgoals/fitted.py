"""What System 2 knows of a run, fitted once and kept in ``RUN/subgoals/``: landmarks, graph, flows, and their figures.

Four files, each whole or absent: ``landmarks.safetensors`` (and a list for people), ``graph.safetensors``,
``flow.safetensors`` and ``subgoals.json`` (settings and figures, written last: without it nothing is fitted). A
stage whose settings have not changed is not repeated, an interrupted training of the flows goes on, and nothing that was
fitted before is touched until all that replaces it is there.

Whether edges' probabilities are true is measured on training episodes that the heads were not trained on, against the
time that the data took; that is an upper bound of what is needed, so a head that is right looks too bold.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy import ndarray

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.subgoals.aside import set_aside
from jepaflow.subgoals.build import BuildConfig, build_graph
from jepaflow.subgoals.chains import chain_graph
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow, load_flow, save_flow
from jepaflow.subgoals.gflownet import GFlowNetConfig, train
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.landmarks import LandmarkConfig, Landmarks, choose_landmarks
from jepaflow.subgoals.reach_figures import expected_calibration_error
from jepaflow.subgoals.reachability import Calibration, Reachability
from jepaflow.subgoals.towards import towards
from jepaflow.training.checkpoint import Run
from jepaflow.training.head_metrics import auc
from jepaflow.training.head_pairs import distance_pairs
from jepaflow.training.heads import Heads, load_heads
from jepaflow.training.latents import Latents, cached_latents, weights_digest

PAIRS = 8_000
"""pairs that reachability is judged on"""


@dataclass(frozen=True)
class SubgoalsConfig:
    """How System 2 is fitted; the defaults take about two minutes on one core."""

    landmarks: LandmarkConfig = field(default_factory=LandmarkConfig)
    build: BuildConfig = field(default_factory=BuildConfig)
    flow: GFlowNetConfig = field(
        default_factory=lambda: GFlowNetConfig(steps=1600, goals=4, walks=32, betas=(0.7, 3.0), lr=2e-3)
    )
    horizon: int = 32
    """K, most sub-goals of a plan"""
    hidden: int = 128
    depth: int = 2
    held_out: float = 0.1
    """share of the landmarks that are never a goal in training: `verify` asks about them"""
    avoid_from: int | None = None
    """frames where the simulator's state is above one half in this column or a later one are no landmarks (the maze: 4, doors
    that are shut)"""

    def __post_init__(self) -> None:
        if min(self.horizon, self.hidden, self.depth) < 1 or not 0 <= self.held_out < 1:
            raise JepaflowError(
                "The sub-goals' horizon, hidden and depth must be at least 1, and held_out at least 0 and below 1."
            )
        if self.avoid_from is not None and self.avoid_from < 0:
            raise JepaflowError(f"There is no state column {self.avoid_from}. Give --avoid-from as 0 or more.")


@dataclass(frozen=True, eq=False)
class Subgoals:
    """System 2 of a run, ready to plan."""

    landmarks: Landmarks
    graph: Graph
    reach: Reachability
    flow: NeuralFlow
    config: SubgoalsConfig
    held_out: Bool[ndarray, " N"]
    """landmarks that were no goal in training"""
    report: dict[str, Any]


def folder_of(run: Path) -> Path:
    """Return where a run's sub-goals are kept."""
    return run / "subgoals"


def fit_subgoals(
    run: Run, config: SubgoalsConfig, dataset: tuple[Path, ...] = (), device: str | torch.device = "cpu"
) -> Subgoals:
    """Fit what is not there yet.

    Args:
        run: with heads.
        config: settings.
        dataset: where the run's stores lie now; empty = where they lay.
        device: where the flows are trained, the one stage that gains by a GPU; what is fitted is the same.

    Raises:
        JepaflowError: there are no heads, too few frames, or no goal that can be reached.
    """
    heads, folder = load_heads(run.path), folder_of(run.path)
    train_latents, _ = cached_latents(run, dataset)
    reach, block = Reachability(heads.distance), run.model.config.block
    have, wanted = _stages(folder), _wanted(asdict(config), _marks(run, heads))

    def kept(stage: str) -> bool:
        return have.get(stage) == wanted[stage] and (folder / f"{stage}.safetensors").is_file()

    if all(kept(stage) for stage in wanted):
        return load_subgoals(run)
    old_landmarks = kept("landmarks")
    old_graph = old_landmarks and kept("graph") and "report" in have
    if old_landmarks:
        landmarks = Landmarks.load(folder / "landmarks.safetensors")
    else:
        allowed = None if config.avoid_from is None else _allowed(train_latents, config.avoid_from)
        landmarks = choose_landmarks(train_latents, config.landmarks, allowed)
    if old_graph:
        graph, report = Graph.load(folder / "graph.safetensors"), have["report"]
    else:
        if config.build.like > 0:
            graph, shape = chain_graph(landmarks, block, config.build)
        else:
            graph, shape = build_graph(landmarks, reach, train_latents, block, config.build)
        report = shape | judged(set_aside(run.path, train_latents), reach, config.build.within, block)
    flow = _fit_flow(graph, config, folder / "flow.partial", wanted["flow"], device)
    write_json(folder / "subgoals.json", {})  # while files of two fits lie side by side, nothing is fitted
    if not old_landmarks:
        landmarks.save(folder / "landmarks.safetensors")
    if not old_graph:
        graph.save(folder / "graph.safetensors")
    save_flow(folder / "flow.safetensors", flow)
    write_json(folder / "subgoals.json", wanted | {"report": report, "config": asdict(config)})
    (folder / "flow.partial").unlink(missing_ok=True)
    return load_subgoals(run)


def load_subgoals(run: Run) -> Subgoals:
    """Read what `fit_subgoals` left. Says so where the run's distance head is another than the one that the graph was built by.

    Raises:
        JepaflowError: nothing was fitted, it is damaged, or it is of another model.
    """
    folder = folder_of(run.path)
    have = _stages(folder)
    if "flow" not in have:
        raise JepaflowError(f"{folder} holds no sub-goals. Fit them first: jepaflow subgoals fit {run.path}")
    heads = load_heads(run.path)
    try:
        config, report = _config_from(have["config"]), dict(have["report"])
        wanted = _wanted(have["config"], _marks(run, heads))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JepaflowError(
            f"{folder / 'subgoals.json'} is damaged ({error}). Remove the folder and fit anew."
        ) from error
    if have.get("landmarks") != wanted["landmarks"]:
        raise JepaflowError(
            f"The sub-goals in {folder} are of another model than the run's. Fit them anew: jepaflow subgoals fit {run.path}"
        )
    if have.get("graph") != wanted["graph"]:
        console.print(
            f"The graph in {folder} was built by other heads than the run has now. Fit it anew: jepaflow subgoals fit {run.path}"
        )
    graph, landmarks = Graph.load(folder / "graph.safetensors"), Landmarks.load(folder / "landmarks.safetensors")
    flow = load_flow(folder / "flow.safetensors")
    if not np.array_equal(landmarks.z.numpy(), graph.features) or flow.config.features != graph.features.shape[1]:
        raise JepaflowError(f"The files in {folder} do not belong together. Remove the folder and fit anew.")
    return Subgoals(
        landmarks, graph, Reachability(heads.distance), flow, config, _held_out(graph.nodes, config), report
    )


def judged(aside: Latents, reach: Reachability, h: int, block: int) -> dict[str, Any]:
    """Return how true P(within h) is on episodes that the heads were not trained on (`set_aside`)."""
    pairs = distance_pairs(aside.corpus, PAIRS, reach.head.config.cap, block, 0.2, np.random.default_rng(1))
    a, b = (aside.z[torch.from_numpy(rows)] for rows in (pairs.a, pairs.b))
    said, true = reach.pairs_within(a, b, h), ((pairs.steps <= h) & (pairs.same > 0)).astype(float)
    table = Calibration.fit(said, true)
    return {
        "reach_ece": expected_calibration_error(said, true),
        "reach_auc": auc(said, true),
        "reach_pairs": len(said),
        "reach_table": [table.said.round(4).tolist(), table.true.round(4).tolist()],
    }


def _fit_flow(
    graph: Graph, config: SubgoalsConfig, partial: Path, about: str, device: str | torch.device
) -> NeuralFlow:
    """Train the flows towards all goals that are not held out."""
    torch.manual_seed(config.flow.seed)
    model = NeuralFlow(FlowConfig(graph.features.shape[1], config.horizon, config.hidden, config.depth))
    model.fit_scaler(torch.from_numpy(graph.features))
    goals = np.flatnonzero(~_held_out(graph.nodes, config))
    train(model.to(device), [towards(graph, goals, device=device)], config.flow, partial, about)
    return model.cpu()


def _held_out(nodes: int, config: SubgoalsConfig) -> Bool[ndarray, " N"]:
    chosen = np.zeros(nodes, bool)
    count = min(round(config.held_out * nodes), nodes - 1)
    chosen[np.random.default_rng(config.flow.seed).permutation(nodes)[:count]] = True
    return chosen


def _allowed(latents: Latents, first: int) -> Bool[ndarray, " n"]:
    """Return which rows' simulator state is at most one half from column ``first`` on."""
    corpus = latents.corpus
    found = np.zeros(len(corpus), bool)
    for number, store in enumerate(corpus.stores):
        if "state" not in store.columns or first >= store.dim("state"):
            raise JepaflowError(f"{store.path} has no state column {first}. Leave --avoid-from out.")
        mine = corpus.store_of == number
        found[mine] = (store.read("state", corpus.row[mine])[:, first:] <= 0.5).all(1)
    return found


def _marks(run: Run, heads: Heads) -> list[str]:
    """Return digests of the model and of the heads."""
    distance = _digest(asdict(heads.inverse.config) | {"heads": _weights(heads.distance)})
    return [weights_digest(run.model), distance]


def _wanted(config: dict[str, Any], marks: list[str]) -> dict[str, str]:
    """Return a digest of what each stage depends on; settings as they are, or were, written."""
    landmarks = _digest([marks[0], config["landmarks"], config["avoid_from"]])
    graph = _digest([landmarks, marks[1], config["build"]])
    sizes = [config[name] for name in ("horizon", "hidden", "depth", "held_out")]
    return {"landmarks": landmarks, "graph": graph, "flow": _digest([graph, config["flow"], sizes])}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _weights(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for _, value in sorted(module.state_dict().items()):
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _stages(folder: Path) -> dict[str, Any]:
    path = folder / "subgoals.json"
    kept = read_json(path) if path.is_file() else {}
    if not isinstance(kept, dict):
        raise JepaflowError(f"{path} is damaged. Remove the folder and fit anew.")
    return kept


def _config_from(values: dict[str, Any]) -> SubgoalsConfig:
    parts = {"landmarks": LandmarkConfig, "build": BuildConfig, "flow": GFlowNetConfig}
    made = {key: kind(**_tuples(values[key])) for key, kind in parts.items()}
    return SubgoalsConfig(**{**values, **made})


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
