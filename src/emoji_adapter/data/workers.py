"""Spreading work over processes: results in order, in the calling process when no worker is asked for."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from emoji_adapter.data.examine import (
    Examined,
    Examiner,
    ExamineSettings,
    examine_in_worker,
    start_worker,
)
from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.data.manifest import Refusal
from emoji_adapter.errors import DataError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@runtime_checkable
class ExamineMany(Protocol):
    """Looks at pictures and yields the results in the order given."""

    def __call__(self, sources: list[SourcePicture]) -> Iterator[Examined | Refusal]:
        """Look at the pictures."""
        ...


@contextmanager
def examiners(settings: ExamineSettings, workers: int) -> Iterator[ExamineMany]:
    """Give a function that looks at many pictures.

    Args:
        settings: what to use and how to cut.
        workers: processes; 0 = do it in this one. They are spawned, so they hold no copy of a CUDA context.

    Raises:
        WeightsNotFoundError: a model is missing.
        DataError: a process was killed.
    """
    examiner = Examiner(settings)
    if workers == 0:
        yield lambda sources: map(examiner.examine, sources)
        return
    examiner.warm_up()
    context = multiprocessing.get_context("spawn")
    with _single_threaded():
        pool = ProcessPoolExecutor(workers, context, initializer=start_worker, initargs=(settings,))
        try:
            yield lambda sources: pool.map(examine_in_worker, sources, chunksize=8)
        except BrokenProcessPool as error:
            raise DataError(
                f"One of {workers} worker processes was killed, perhaps for want of memory. Run the command "
                "again with fewer --workers; it goes on where it stopped."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Children inherit one thread each: the variables are read when their libraries load."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def default_workers() -> int:
    """As many processes as there are cores for this one, less one; none on a machine of one or two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores - 1 if cores > 2 else 0
