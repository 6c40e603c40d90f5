"""Any checkpoint by its name: in diffusers' layout, or a community checkpoint in one file."""

from pathlib import Path
from typing import Any

from emoji_adapter.pipelines.base import EmojiDiffPipeline


def open_pipeline(checkpoint: str, *, config: str | None = None, **kwargs: Any) -> Any:
    """The text-to-image pipeline of a checkpoint.

    Args:
        checkpoint: "micro", a folder or a Hub id; or a `.safetensors` file, or a link to one on the Hub.
        config: of a file, see `EmojiDiffPipeline.from_single_file`; of no use to the others.
        **kwargs: of `EmojiDiffPipeline.from_pretrained` and `from_single_file`, such as dtype.

    Raises:
        WeightsNotFoundError, WeightsFormatError, InputError: see there.
    """
    path = Path(checkpoint.partition("?")[0])
    if path.is_file() or (path.suffix == ".safetensors" and not path.is_dir()):
        return EmojiDiffPipeline.from_single_file(checkpoint, config=config, **kwargs)
    return EmojiDiffPipeline.from_pretrained(checkpoint, **kwargs)
