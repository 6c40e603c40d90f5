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


def written(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is written: an adapter that uses nothing of format version 4 is of version 3.

    So earlier packages read it, and it is the very file that they would have written.
    """
    if config["second_recogniser"] is not None:
        return dict(config)
    earlier = {key: value for key, value in config.items() if key != "second_recogniser"}
    return earlier | {"format_version": 3}


def write_config(model: Any, folder: Path) -> None:
    """Write `config.json` of an adapter, in the form that diffusers gives it."""
    model.save_config(folder)
    file = folder / "config.json"
    config = written(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def header(config: Mapping[str, Any]) -> dict[str, str]:
    """The safetensors header of an adapter: the configuration, without what diffusers adds for itself."""
    own = {key: value for key, value in written(config).items() if not key.startswith("_")}
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
