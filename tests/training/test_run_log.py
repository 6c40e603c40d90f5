"""The log: averages, truncation on resumption, and loss of finiteness."""

import json

import pytest
import torch

from emoji_adapter.errors import TrainingError
from emoji_adapter.training.run_log import RunLog


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_line_is_the_mean_since_the_last_one(tmp_path):
    log = RunLog.open(tmp_path, 0)
    for loss in (1.0, 3.0):
        log.add(8, loss=torch.tensor(loss))
    log.write(2, learning_rate=0.1)
    log.add(8, loss=torch.tensor(10.0))
    log.write(3)
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [(2, 2.0), (3, 10.0)]
    assert lines(tmp_path)[0]["learning_rate"] == 0.1
    assert lines(tmp_path)[0]["images_per_second"] > 0


def test_a_resumed_run_forgets_later_lines_and_a_half_written_one(tmp_path):
    log = RunLog.open(tmp_path, 0)
    for step in (10, 20, 30):
        log.add(1, loss=torch.tensor(1.0))
        log.write(step)
    with log.path.open("a") as file:
        file.write('{"step": 4')
    RunLog.open(tmp_path, 20)
    assert [line["step"] for line in lines(tmp_path)] == [10, 20]


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    log = RunLog.open(tmp_path, 0)
    log.add(1, loss=torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match=r"Step 5: .*no longer finite"):
        log.write(5)
