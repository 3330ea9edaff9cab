"""Runs a study's cells on Ray: on all cores of this machine, or on a cluster whose machines share the study's folder.

Ray is an extra and not imported before it is asked for. A cell is one task that holds nothing but its job: a worker that
dies costs the cell that it was at, which Ray gives to another worker; a driver that dies costs those in flight, and the same
command goes on. Results come in the order in which they are finished; the study puts them in its own. Each task has one core
and as many threads, so that its figures do not depend on how many run beside it.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jepaflow.common.errors import JepaflowError
from jepaflow.studies.cells import Cell, Result

RETRIES = 3
"""Workers that a cell may lose before the study gives up."""


def import_ray() -> Any:
    """The package.

    Raises:
        JepaflowError: when the extra is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise JepaflowError("--ray needs Ray. Install it with: pip install 'jepaflow[ray]'") from error


@dataclass(frozen=True)
class Cluster:
    """Somewhere to run cells; of the shape of ``map``, in the order in which they are finished.

    Attributes:
        address: ``local`` starts workers here, ``auto`` joins the cluster that runs here, else a cluster's address.
        workers: cells at a time when local; None: one for each core.
        gpu_fraction: share of a GPU that each cell is given; 0: none.
    """

    address: str = "local"
    workers: int | None = None
    gpu_fraction: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.gpu_fraction <= 1:
            raise JepaflowError(f"--gpu-fraction is {self.gpu_fraction:g}; it must be between 0 and 1.")
        if self.workers is not None and self.workers < 1:
            raise JepaflowError(f"--workers is {self.workers}; it must be at least 1.")

    def __call__(self, job: Callable[[Cell], Result], cells: Sequence[Cell]) -> Iterator[Result]:
        """Run all cells.

        Raises:
            JepaflowError: a cell's own, or when there is no cluster, or a cell has lost too many workers.
        """
        ray = import_ray()
        self._join(ray)
        task = ray.remote(num_cpus=1, num_gpus=self.gpu_fraction, max_retries=RETRIES)(_alone)
        waiting = {task.remote(job, cell): cell for cell in cells}
        try:
            while waiting:
                finished, _ = ray.wait(list(waiting), num_returns=1)
                yield self._taken(ray, finished[0], waiting.pop(finished[0]))
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)

    def _join(self, ray: Any) -> None:
        if ray.is_initialized():
            return
        local = self.address == "local"
        told: dict[str, Any] = {"include_dashboard": False, "num_cpus": self.workers} if local else {}
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="error", **told)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise JepaflowError(
                f"No Ray cluster answers at {self.address!r} ({str(error).splitlines()[0]}). Start one with ray start --head, "
                "or say --ray local."
            ) from error

    def _taken(self, ray: Any, reference: Any, cell: Cell) -> Result:
        try:
            result: Result = ray.get(reference)
            return result
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, JepaflowError):
                raise JepaflowError(str(error.cause)) from error
            raise
        except ray.exceptions.RayError as error:
            raise JepaflowError(
                f"Cell {cell.title} lost {RETRIES + 1} workers ({type(error).__name__}). Is there memory enough? Give "
                "fewer --workers; what is finished is kept."
            ) from error


def _alone(job: Callable[[Cell], Result], cell: Cell) -> Result:
    """Run a cell on a worker, on one thread."""
    import torch

    torch.set_num_threads(1)
    return job(cell)
