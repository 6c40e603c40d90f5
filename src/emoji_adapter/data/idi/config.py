"""Settings of IDI, from the packaged recipe or any YAML. No tensor library."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from emoji_adapter.config import GUIDANCE, load_config, recipe_path
from emoji_adapter.errors import InputError

HARMLESS = frozenset({"shards"})
"""Settings that may change between a run and its resumption: they touch no shard that is there."""

ADDED = {"precision": "fp32"}
"""Settings that rounds begun by earlier versions do not name, with what they were."""


@dataclass(frozen=True)
class Thresholds:
    """What a triplet must reach. All are our choice: the paper names no filter.

    The scale of a cosine depends on the face pack: the same person rarely lies below 0.4 with buffalo_l.
    """

    identity: float = 0.5
    """Least cosine of target and identity photo."""
    leak: float = 0.3
    """Largest cosine of target and template."""
    expression: float = 0.06
    """Largest mean |difference| of the teacher's 52 blendshapes of target and template. Two different
    expressions of the micro-world lie 0.12 apart on average; EmojiDiff's best result is 0.054."""
    cycle: float | None = None
    """Largest mean |difference| of pixels after swapping back; None = not checked."""

    def __post_init__(self) -> None:
        for name in ("identity", "leak"):
            if not -1 <= getattr(self, name) <= 1:
                raise InputError(
                    f"thresholds.{name} is a cosine and lies in [-1, 1], got {getattr(self, name)}."
                )
        for name in ("expression", "cycle"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"thresholds.{name} is a distance in [0, 1], got {value}.")


@dataclass(frozen=True)
class IdiConfig:
    """Everything that decides a round; on a CPU the same settings and portraits give the same bytes."""

    round: int = 1
    """Number of the round, from 1; each begins from the adapter that the round before it trained."""
    seed: int = 0
    """Seed of every draw; the draws of a shard depend on (seed, round, shard) only."""
    shards: int = 8
    """Number of shards. More may be asked for later."""
    shard_size: int = 256
    """Attempts per shard: what a killed run loses at most. Those that pass the filters are kept."""
    checkpoint: str = "micro"
    """Stable Diffusion checkpoint: "micro", a folder, or a Hub id."""
    adapter: str = "micro"
    """Adapter that renders the expressions: that of the last round, or the base adapter."""
    pack: str = "micro"
    """Face pack, the one that the adapter was trained with."""
    teacher: str = "micro"
    """Blendshape teacher that compares the expressions."""
    swapper: str | None = "micro"
    """Face swapper, "micro" or an .onnx file; None keeps the rendered identity."""
    prompts: tuple[str, ...] = ()
    """Prompts to draw from; none = the captions of the portraits, so that the style of the target has
    nothing to do with the template's."""
    steps: int = 25
    """Denoising steps."""
    guidance: float | None = None
    """Classifier-free guidance scale; None = 1.4 with the checkpoint "micro", where it was chosen, else the
    stock pipeline's default."""
    identity_scale: float = 1.0
    """Strength of the identity branch while rendering."""
    expression_scale: float = 1.0
    """Strength of the expression branch while rendering."""
    batch: int = 32
    """Pictures rendered at a time."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the rendering; bf16 is many times faster on a GPU and takes half the memory."""
    min_face: int = 32
    """Smallest face in pixels of a portrait."""
    detector_size: int | None = None
    """Side that pictures are brought to for detection; None = the pack's default."""
    refused_pictures: int = 8
    """Refused attempts of a shard whose pictures are kept for the contact sheet."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """What a triplet must reach."""

    def __post_init__(self) -> None:
        if self.guidance is None and self.checkpoint == "micro":  # the number is what rounds record
            object.__setattr__(self, "guidance", GUIDANCE)
        for name in ("round", "shards", "shard_size", "steps", "batch"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}.")
        if self.seed < 0 or self.refused_pictures < 0:
            raise InputError(
                f"seed and refused_pictures must be at least 0, got {self.seed} and {self.refused_pictures}."
            )
        if self.swapper is None and self.thresholds.cycle is not None:
            raise InputError("The cycle check swaps back: it needs a swapper. Unset thresholds.cycle.")


def load_idi(recipe: str | Path, overrides: Iterable[str] = ()) -> IdiConfig:
    """Read a packaged recipe by name, or a YAML file, with `key=value` overrides.

    Raises:
        InputError: no such recipe or file, an unknown key, or a value out of range.
    """
    folder = Path(str(resources.files("emoji_adapter") / "data" / "idi" / "recipes"))
    return load_config(IdiConfig, recipe_path(recipe, folder), overrides)
