"""Writing an adapter so that a file is either whole or not there."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

METADATA_KEY = "emoji_adapter.config"
"""Key of the safetensors header under which the whole configuration is kept as JSON."""


def header(config: Mapping[str, Any]) -> dict[str, str]:
    """The safetensors header of an adapter: the configuration, without what diffusers adds for itself."""
    own = {key: value for key, value in config.items() if not key.startswith("_")}
    return {"format": "pt", METADATA_KEY: json.dumps(own, sort_keys=True)}


def weight_name(variant: str | None = None) -> str:
    """Name of the weight file, as in diffusers."""
    return f"diffusion_pytorch_model{'.' + variant if variant else ''}.safetensors"


@contextmanager
def whole_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary sibling to write into; on success its files take their places, on failure it goes.

    A new folder appears all at once. In one that exists, each file is replaced at once and other files stay.
    """
    target = Path(folder).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        if not target.exists():
            os.rename(temporary, target)
            return
        for file in temporary.iterdir():
            os.replace(file, target / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
