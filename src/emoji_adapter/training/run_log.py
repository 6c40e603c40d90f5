"""The log of a run: a JSON line now and then; a resumed run forgets what came after its checkpoint."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.data.manifest import write_whole
from emoji_adapter.errors import TrainingError

FILE = "log.jsonl"


@dataclass
class RunLog:
    """Averages figures on their device and writes them now and then: nothing waits for the device in between.

    Attributes:
        path: the file of JSON lines.
    """

    path: Path
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _steps: int = 0
    _rows: int = 0
    _since: float = field(default_factory=time.perf_counter)

    @classmethod
    def open(cls, out: Path, step: int) -> "RunLog":
        """Open the log of the run in `out`, with the lines of later steps than `step` removed."""
        path = out / FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() and step else []
        kept = [line for line in lines if _step_of(line) <= step]
        write_whole(path, "".join(line + "\n" for line in kept))
        return cls(path)

    def add(self, rows: int, **figures: Tensor) -> None:
        """Take in one step's figures; tensors of one element, on any device."""
        for name, figure in figures.items():
            figure = figure.detach().float()
            self._sums[name] = self._sums[name] + figure if name in self._sums else figure
        self._steps += 1
        self._rows += rows

    def write(self, step: int, **more: Any) -> dict[str, Any]:
        """Write the averages since the last line.

        Raises:
            TrainingError: a figure is not a number.
        """
        names = list(self._sums)
        values = torch.stack([self._sums[name] for name in names]).tolist()
        figures = {name: value / self._steps for name, value in zip(names, values, strict=True)}
        seconds = time.perf_counter() - self._since
        line = {"step": step, **figures, "images_per_second": round(self._rows / seconds, 1), **more}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._sums, self._steps, self._rows, self._since = {}, 0, 0, time.perf_counter()
        if not all(math.isfinite(value) for value in figures.values()):
            raise TrainingError(
                f"Step {step}: the figures are no longer finite: {figures}. Begin again with a lower "
                "learning_rate, or with precision=fp32."
            )
        return line


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return math.inf
