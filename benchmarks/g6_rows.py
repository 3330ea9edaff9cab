"""What `benchmarks.gate_g6` measures of a trained residual, and the rows that it makes of it.

Success of the best of n is 1 - (1 - p)^n where the automaton tells a plan's chance p under the prior exactly; from draws it is
the chance that n of them, without replacement, hold a success: the share among few draws put into that power would be too low.
Routes and log r are averaged over random choices of n among all draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.special import gammaln

from benchmarks.g6_grounds import Ground
from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row
from jepaflow.subgoals.rewards import Counted, Product
from jepaflow.subgoals.routes import routes
from jepaflow.subgoals.rtb import Posterior
from jepaflow.subgoals.walks import Walks

CHOICES = 50
"""random choices of n draws"""
QUERIES = 1000
"""that share the training's evaluations in the floor `rerank_paid`"""
JUDGED = 300
"""draws of policy and posterior for kl and tv"""


@dataclass(frozen=True)
class Cell:
    """Figures of one seed: per test task, and what training evaluated."""

    per_task: dict[str, ndarray]
    paid: int
    draws: int
    """of policy and prior, for each task"""


def measure(ground: Ground, posterior: Posterior, paid: int, draws: int, n: int, seed: int) -> Cell:
    """Judge a policy on the tasks that it was not trained on."""
    rng, count = np.random.default_rng((seed, 9)), ground.tests
    tasks = ground.tasks.some(np.arange(len(ground.tasks) - count, len(ground.tasks)))
    hidden = np.arange(len(ground.tasks) - count, len(ground.tasks))
    task, each = tasks.repeated(draws)
    own = Counted(ground.reward, tasks)
    found: dict[str, ndarray] = {}
    drawn = {
        "prior": posterior.prior.flows.sample(each.start, each.goal, rng),
        "rtb": posterior.sample(tasks, task, rng),
    }
    for name, walks in drawn.items():
        log_r = own.log(walks, task)
        good = ground.success(walks, hidden[task], log_r)
        found[f"{name}/p"] = good.reshape(count, draws).mean(1)
        found[f"{name}/log_r"], found[f"{name}/classes"] = _best(ground, walks, log_r, good, draws, n, rng)
        found[f"{name}/draw_log_r"] = log_r.reshape(count, draws).mean(1)
        if name == "prior":
            # A share of 0 among some draws is no share of 0: when catching up is asked, half a success is counted.
            found["prior/p_at_most"] = np.maximum(found["prior/p"], 0.5 / draws)
            found["resample/p"] = _resampled(log_r.reshape(count, draws), good.reshape(count, draws), n, rng)
            weight = np.exp(log_r).reshape(count, draws)
        else:
            base, ours = posterior.prior.flows.log_prob(walks, tasks.goal[task]), posterior.log_prob(walks, tasks, task)
            log_w = (base + log_r - ours).reshape(count, draws)
            weight = np.exp(log_w - log_w.max(1, keepdims=True))
            found["rtb/log_z"], found["rtb/log_z_is"] = log_w.mean(1), np.logaddexp.reduce(log_w, 1) - np.log(draws)
        found[f"{name}/ess"] = weight.sum(1) ** 2 / (weight**2).sum(1) / draws
        found[f"{name}/log_z_mean"] = np.logaddexp.reduce(log_r.reshape(count, draws), 1) - np.log(draws)
    if ground.automaton is not None:
        _exact(ground, posterior, hidden, rng, found)
    return Cell(found, paid, draws)


def _best(
    ground: Ground, walks: Walks, log_r: ndarray, good: ndarray, draws: int, n: int, rng: np.random.Generator
) -> tuple[ndarray, ndarray]:
    """Mean log r of the best of n, and distinct successful routes among n, for each task."""
    classes = routes(walks, ground.label)
    best, distinct = [], []
    for begin in range(0, len(walks), draws):
        part = slice(begin, begin + draws)
        chosen = np.array([rng.choice(draws, n, replace=False) for _ in range(CHOICES)])
        best.append(log_r[part][chosen].max(1).mean())
        counts: dict[tuple[int, ...], int] = {}
        for name, is_good in zip(classes[part], good[part], strict=True):
            if is_good:
                counts[name] = counts.get(name, 0) + 1
        k = np.array(list(counts.values()), float)
        # Chance that none of n draws without replacement is of a class with k among all draws.
        none = np.where(draws - k >= n, np.exp(_choose(draws - k, n) - _choose(np.full(len(k), float(draws)), n)), 0.0)
        distinct.append((1 - none).sum())
    return np.array(best), np.array(distinct)


def _choose(m: ndarray, n: float) -> ndarray:
    return np.asarray(gammaln(m + 1) - gammaln(np.maximum(m - n, 0) + 1))


def _resampled(log_r: ndarray, good: ndarray, n: int, rng: np.random.Generator) -> ndarray:
    """Success of one plan drawn by its reward among n of the prior's."""
    found = []
    for rewards, successes in zip(log_r, good, strict=True):
        chosen = np.array([rng.choice(len(rewards), n, replace=False) for _ in range(CHOICES)])
        weight = np.exp(rewards[chosen])
        found.append(((weight * successes[chosen]).sum(1) / weight.sum(1)).mean())
    return np.array(found)


def _exact(
    ground: Ground, posterior: Posterior, hidden: ndarray, rng: np.random.Generator, found: dict[str, ndarray]
) -> None:
    """Add what the product of graph and automaton tells."""
    assert ground.automaton is not None
    columns: dict[str, list[float]] = {
        key: [] for key in ("prior/p", "exact/p", "exact/log_z", "kl", "kl_prior", "tv", "tv_prior")
    }
    for which in hidden:
        product = Product(ground.flows, ground.automaton, ground.tasks, int(which))
        wanted = ground.automaton.log_r == 0
        columns["prior/p"].append(float(np.exp(product.log_ends[wanted]).sum()))
        columns["exact/p"].append(float(np.exp(product.log_ends[wanted] - product.log_z).sum()))
        columns["exact/log_z"].append(product.log_z)
        one, task = ground.tasks.some(np.array([which])), np.zeros(JUDGED, np.int64)
        ours = posterior.sample(one, task, rng)
        columns["kl"].append(float((posterior.log_prob(ours, one, task) - product.log_prob(ours)).mean()))
        true = product.sample(JUDGED, rng)
        log_true = product.log_prob(true)
        for name, log_p in (
            ("", posterior.log_prob(true, one, task)),
            ("_prior", ground.flows.log_prob(true, one.goal[task])),
        ):
            columns[f"tv{name}"].append(float(np.maximum(0, 1 - np.exp(log_p - log_true)).mean()))
        base = ground.flows.sample(one.start[task], one.goal[task], rng)
        columns["kl_prior"].append(float((ground.flows.log_prob(base, one.goal[task]) - product.log_prob(base)).mean()))
    found.update({key: np.array(values) for key, values in columns.items()})
    found["prior/p_at_most"] = found["prior/p"]


def of_n(p: ndarray, n: float) -> ndarray:
    """Success of the best of n, from each task's chance of one plan."""
    return np.asarray(1 - (1 - p) ** n)


def of_n_drawn(share: ndarray, n: float, draws: int) -> ndarray:
    """Success of the best of n, without bias, from the share of successes among more draws than n."""
    failed = draws - np.round(share * draws)
    if n > draws:
        raise JepaflowError(f"The best of {n:g} plans cannot be told from {draws} draws. Draw more.")
    return np.where(failed >= n, 1 - np.exp(_choose(failed, n) - _choose(np.full(len(share), float(draws)), n)), 1.0)


def break_even(prior: ndarray, goal: float, paid: float, n: int) -> float | None:
    """Queries from which the policy's training has paid: re-ranking with as many evaluations in all succeeds no more often.
    Below 1: within the first. None: re-ranking is as good without the training's evaluations.

    Args:
        prior: chance of one plan of the prior, for each task; at least, where it is not known.
        goal: mean success of the policy's best of n.
        paid: evaluations of the training.
        n: plans of a query that are evaluated.
    """
    if of_n(prior, n).mean() >= goal:
        return None
    more = n * 2.0 ** np.arange(0, 40, 0.05)
    enough = [m for m in more if of_n(prior, m).mean() >= goal]
    return paid / (enough[0] - n) if enough and enough[0] > n else 0.0


def rows_of(name: str, cells: list[Cell], n: int, about: str) -> list[Row]:
    """Make rows of the cells of all seeds."""
    seeds, keys = len(cells), cells[0].per_task
    all_ = {key: np.concatenate([cell.per_task[key] for cell in cells]) for key in keys}
    paid = float(np.mean([cell.paid for cell in cells]))
    note = f"best of {n} evaluated; {about}; training evaluated {paid:.0f} plans"
    prior, rtb, draws = all_["prior/p"], all_["rtb/p"], cells[0].draws
    best = of_n_drawn(rtb, n, draws)

    def of_prior(m: float) -> ndarray:
        return of_n(prior, m) if "exact/p" in all_ else of_n_drawn(prior, m, draws)

    prefix = f"gfn/g6/{name}"

    def row(key: str, values: ndarray, words: str, unit: str = "fraction", **bounds: dict[str, float]) -> Row:
        low, high = bootstrap(values, lambda v: float(v.mean()), draws=1000)
        return Row(f"{prefix}/{key}", float(values.mean()), low, high, len(values), seeds, unit, note=words, **bounds)

    floors = {
        "rerank": float(of_prior(n).mean()),
        "rerank_paid": float(of_prior(n + paid / QUERIES).mean()),
        "resample": float(all_["resample/p"].mean()),
    }
    ceilings = {"exact": float(of_n(all_["exact/p"], n).mean())} if "exact/p" in all_ else {}
    queries = break_even(all_["prior/p_at_most"], float(best.mean()), paid, n)
    gain = best - of_prior(n)
    low, high = bootstrap(gain, lambda v: float(v.mean()), draws=1000)
    note += f"; gain over re-ranking {gain.mean():+.3f} ({low:+.3f} to {high:+.3f}, paired)"
    ended = "re-ranking is as good: no number of queries" if queries is None else f"pays from {queries:.0f} queries"
    found = [
        row(
            "rtb",
            best,
            f"{note}; {ended}; rerank_paid: of {n} + training / {QUERIES}",
            floors=floors,
            ceilings=ceilings,
        ),
        row("rerank", of_prior(n), f"best of {n} evaluated plans of the prior"),
        row("resample", all_["resample/p"], f"one plan drawn by its reward among {n} of the prior's"),
        row(
            "one_plan",
            rtb,
            "a single plan, nothing evaluated",
            floors={"prior": float(prior.mean())},
            ceilings={"exact": float(all_["exact/p"].mean())} if "exact/p" in all_ else {},
        ),
        row(
            "log_r",
            all_["rtb/log_r"],
            f"of the best of {n}{_paired(all_)}",
            "nats",
            floors={"rerank": float(all_["prior/log_r"].mean())},
        ),
        row(
            "classes",
            all_["rtb/classes"],
            f"distinct successful routes among {n}",
            "routes",
            floors={"rerank": float(all_["prior/classes"].mean())},
        ),
        *_log_z_rows(row, all_),
    ]
    if queries is not None:
        each = [
            break_even(
                c.per_task["prior/p_at_most"], float(of_n_drawn(c.per_task["rtb/p"], n, draws).mean()), c.paid, n
            )
            for c in cells
        ]
        known = [q for q in each if q is not None] or [queries]
        words = f"{note}; low and high of the seeds; {len(cells) - len([q for q in each if q is not None])} seeds never"
        found.append(
            Row(f"{prefix}/break_even", queries, min(known), max(known), len(rtb), seeds, "queries", note=words)
        )
    return found


def _paired(all_: dict[str, ndarray]) -> str:
    gain = all_["rtb/log_r"] - all_["prior/log_r"]
    low, high = bootstrap(gain, lambda v: float(v.mean()), draws=1000)
    return f"; gain over re-ranking {gain.mean():+.3f} ({low:+.3f} to {high:+.3f}, paired)"


def _log_z_rows(row, all_: dict[str, ndarray]) -> list[Row]:  # type: ignore[no-untyped-def]
    best = all_.get("exact/log_z", all_["rtb/log_z_is"])
    against = "the exact one" if "exact/log_z" in all_ else "importance sampling by the policy"
    found = [
        row(
            "log_z_error",
            np.abs(all_["rtb/log_z"] - best),
            f"|log Z of the policy - {against}|",
            "nats",
            floors={
                "prior_is": float(np.abs(all_["prior/log_z_mean"] - best).mean()),
                "policy_is": float(np.abs(all_["rtb/log_z_is"] - best).mean()),
            },
        ),
        row("ess", all_["rtb/ess"], "share of the draws that count", floors={"prior": float(all_["prior/ess"].mean())}),
    ]
    if "kl" in all_:
        found.append(
            row(
                "kl",
                all_["kl"],
                "KL(policy || exact posterior)",
                "nats",
                floors={"prior": float(all_["kl_prior"].mean())},
            )
        )
        found.append(row("tv", all_["tv"], "from exact samples", floors={"prior": float(all_["tv_prior"].mean())}))
    return found
