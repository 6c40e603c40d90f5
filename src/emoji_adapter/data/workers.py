"""Spreading work over processes: results in order, in the calling process when no worker is asked for."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from emoji_adapter.data.examine import Examined, ExamineSettings, build_examiner
from emoji_adapter.data.folder import SourcePicture
from emoji_adapter.data.manifest import Refusal
from emoji_adapter.errors import DataError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Settings = TypeVar("Settings")
Job = TypeVar("Job")
Result = TypeVar("Result")
_worker: dict[str, Callable[[Any], Any]] = {}


ExamineMany = Callable[[Iterable[SourcePicture]], Iterator[Examined | Refusal]]
"""Looks at pictures and yields the results in the order given."""


@contextmanager
def examiners(settings: ExamineSettings, workers: int) -> Iterator[ExamineMany]:
    """Give a function that looks at many pictures, see `spread`.

    Args:
        settings: what to use and how to cut.
        workers: processes; 0 = do it in this one.
    """
    with spread(build_examiner, settings, workers) as examine_many:
        yield examine_many


@contextmanager
def spread(
    build: Callable[[Settings], Callable[[Job], Result]], settings: Settings, workers: int
) -> Iterator[Callable[[Iterable[Job]], Iterator[Result]]]:
    """Give a function that does many jobs and yields their results in the order given.

    With processes it takes all jobs at once and works while the caller still makes them; without, it does
    each when its result is asked for.

    Args:
        build: makes what does a job, once a process, and once here so that a missing model is found before
            any process is started; a function of a module.
        settings: for `build`.
        workers: processes; 0 = do it in this one. They are spawned, so they hold no copy of a CUDA context.

    Raises:
        WeightsNotFoundError: a model is missing.
        DataError: a process was killed.
    """
    do = build(settings)
    if workers == 0:
        yield lambda jobs: map(do, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with _single_threaded():
        pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(build, settings))
        try:
            yield lambda jobs: pool.map(_do, jobs, chunksize=8)
        except BrokenProcessPool as error:
            raise DataError(
                f"One of {workers} worker processes was killed, perhaps for want of memory. Run the command "
                "again with fewer --workers; it goes on where it stopped."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start(build: Callable[[Settings], Callable[[Any], Any]], settings: Settings) -> None:
    """Build this process's networks: the initializer of the pool."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    cv2.setNumThreads(1)
    _worker["do"] = build(settings)


def _do(job: Any) -> Any:
    """Do one job with this process's networks."""
    return _worker["do"](job)


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


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """As many processes as there are cores for this one, less one; none on a machine of one or two."""
    cores = usable_cores()
    return cores - 1 if cores > 2 else 0
