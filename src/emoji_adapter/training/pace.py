"""Fitting a run into a wall-clock budget, and ending it on Ctrl-C without losing a step."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

FIRST, LAST = 20, 120
"""Steps of a run between which its speed is measured; the first ones load and tune kernels."""
MARGIN = 0.93
"""Share of the remaining time that is planned for; the rest is for previews and checkpoints (our choice)."""


class Pace:
    """Plans the number of steps of a run once, from its speed.

    Args:
        minutes: budget from now on; None = no budget.
        wait: waits until the device has done its work.
    """

    def __init__(self, minutes: float | None, wait: Callable[[], None]):
        self.seconds = None if minutes is None else minutes * 60
        self.wait = wait
        self.begin = time.perf_counter()
        self.first = self.begin

    def plan(self, step: int, steps: int) -> int:
        """Return the steps to do in all; differs from `steps` at most once, after step number `LAST`.

        Args:
            step: steps done.
            steps: steps planned so far.
        """
        if self.seconds is None or step not in (FIRST, LAST):
            return steps
        self.wait()
        now = time.perf_counter()
        if step == FIRST:
            self.first = now
            return steps
        per_step = (now - self.first) / (LAST - FIRST)
        left = MARGIN * (self.seconds - (now - self.begin))
        return max(step + 1, min(steps, step + int(left / per_step)))


@dataclass
class Interrupt:
    """Whether the user has asked to stop."""

    requested: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turn the first Ctrl-C into a request that the loop answers after its step; a second acts at once."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.getsignal(signal.SIGINT)

    def request(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
