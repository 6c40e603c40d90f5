"""Control during a part of the steps only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback

from emoji_adapter.errors import InputError


@dataclass(frozen=True)
class ControlWindow:
    """The share of the steps during which identity and expression act.

    Step i of n, counted from 0, is one of them if start <= i / n < end.

    Args:
        start: share of the steps that pass before control sets in, in [0, 1).
        end: share of the steps after which it stops, in (start, 1].
    """

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.start < self.end <= 1.0:
            raise InputError(
                "control_start and control_end are shares of the steps with 0 <= start < end <= 1, got "
                f"{self.start} and {self.end}. 0 and 1 control all steps."
            )

    @property
    def whole(self) -> bool:
        """Whether every step is controlled."""
        return (self.start, self.end) == (0.0, 1.0)

    def covers(self, step: int, steps: int) -> bool:
        """Whether control acts in a step, counted from 0."""
        return self.start * steps <= step < self.end * steps

    def narrow(self, arguments: dict[str, Any], plain: dict[str, Any] | None) -> None:
        """Makes the `cross_attention_kwargs` of a stock call act inside the window only.

        The user's own callback is called first, with what it asked for.

        Args:
            arguments: of the stock `__call__`, by name; changed in place.
            plain: the `cross_attention_kwargs` of the other steps.
        """
        if self.whole:
            return
        controlled = arguments["cross_attention_kwargs"]
        callback = arguments.get("callback_on_step_end")
        if isinstance(callback, PipelineCallback | MultiPipelineCallbacks):
            arguments["callback_on_step_end_tensor_inputs"] = callback.tensor_inputs
        arguments["cross_attention_kwargs"] = controlled if self.start == 0.0 else plain
        arguments["callback_on_step_end"] = self._switch(callback, controlled, plain)

    def _switch(
        self, callback: Callable[..., Any] | None, controlled: dict[str, Any], plain: dict[str, Any] | None
    ) -> Callable[..., Any]:
        def on_step_end(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> Any:
            outputs = tensors if callback is None else callback(pipeline, step, timestep, tensors)
            active = self.covers(step + 1, pipeline.num_timesteps)
            pipeline._cross_attention_kwargs = controlled if active else plain
            return outputs

        return on_step_end
