"""The pipelines of a table: one a checkpoint, whose adapter is exchanged."""

from typing import Any

import torch

from emoji_adapter.pipelines.opening import open_pipeline


class Pipelines:
    """Gives the pipeline of a checkpoint and an adapter; what was last asked for stays loaded.

    Args:
        checkpoint: taken where a row names none.
        adapter: likewise.
        device: where the models go.
        dtype: number format of the checkpoint's networks.
        config: of a checkpoint in one file, see `open_pipeline`.
    """

    def __init__(
        self,
        checkpoint: str,
        adapter: str,
        device: str = "cpu",
        *,
        dtype: torch.dtype = torch.float32,
        config: str | None = None,
    ):
        self.checkpoint, self.adapter, self.device = checkpoint, adapter, device
        self._how: dict[str, Any] = {"dtype": dtype, "config": config}
        self._pipes: dict[str, Any] = {}
        self._loaded: dict[str, str] = {}

    def __call__(self, checkpoint: str | None = None, adapter: str | None = None) -> Any:
        """A pipeline; None means the table's own.

        Raises:
            WeightsNotFoundError: something is not there; what was loaded before stays.
            AdapterFormatError, AdapterMismatchError: the adapter cannot be used.
        """
        checkpoint, adapter = checkpoint or self.checkpoint, adapter or self.adapter
        if checkpoint not in self._pipes:
            pipe = open_pipeline(checkpoint, **self._how).to(self.device)
            pipe.set_progress_bar_config(disable=True)
            self._pipes[checkpoint] = pipe
        pipe = self._pipes[checkpoint]
        if self._loaded.get(checkpoint) != adapter:
            pipe.load_emoji_adapter(adapter)
            self._loaded[checkpoint] = adapter
        return pipe
