"""Threads of onnxruntime."""

import pytest

from emoji_adapter.faces.providers import session_options


@pytest.mark.parametrize(
    ("told", "threads", "expected"),
    [("3", None, 3), ("3", 1, 1), (None, None, 0), (None, 2, 2), ("4,2", None, 0)],
)
def test_networks_run_on_as_many_threads_as_torch_is_told(monkeypatch, told, threads, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert session_options(threads).intra_op_num_threads == expected
