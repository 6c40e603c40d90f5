"""Budgets and interruptions."""

import os
import signal

import pytest

from emoji_adapter.training import pace
from emoji_adapter.training.pace import Pace, interruptible


def test_without_a_budget_the_plan_stays():
    plan = Pace(None, lambda: None)
    assert [plan.plan(step, 500) for step in (20, 120, 121)] == [500, 500, 500]


def test_a_budget_lowers_the_steps_to_what_fits(monkeypatch):
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    plan = Pace(
        2.0, lambda: None
    )  # begins at 0 s, step 20 at 10 s, step 120 at 20 s: 0.1 s a step, 100 s left
    assert plan.plan(20, 100_000) == 100_000
    assert plan.plan(120, 100_000) == 120 + int(0.93 * 100 / 0.1)


def test_the_first_ctrl_c_is_a_request_and_the_second_an_interrupt():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
