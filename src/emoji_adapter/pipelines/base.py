"""The class that users name; it finds out which concrete pipeline fits."""

import importlib
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from emoji_adapter.checkpoints.locate import MICRO, locate
from emoji_adapter.errors import InputError, WeightsNotFoundError

_HUB_ARGUMENTS = ("revision", "token", "cache_dir", "local_files_only", "force_download")
_NUMBER_FORMAT = {"dtype", "torch_dtype"}
_CONCRETE_MODULES = ("emoji_adapter.pipelines.stable_diffusion",)

_Stock: Any = object
"""What follows among the bases of a concrete class: the stock pipeline."""


class EmojiDiffPipeline(_Stock):
    """Base of all our pipelines, which finds the concrete class that fits.

    A concrete class names its family and task when it is defined, and is found by them.
    """

    _concrete: ClassVar[dict[tuple[str, str], Any]] = {}

    def __init_subclass__(cls, family: str = "", task: str = "", **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if family:
            EmojiDiffPipeline._concrete[family, task] = cls

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path = MICRO, *, task: str = "text-to-image", **kwargs: Any
    ) -> Any:
        """A pipeline from a checkpoint in diffusers' layout.

        Args:
            pretrained_model_name_or_path: "micro" (embedded), a folder, or a Hub id.
            task: what to draw from; "text-to-image".
            **kwargs: of diffusers' `DiffusionPipeline.from_pretrained`. Without `dtype` the weights are
                float32 in memory, whatever the files hold.

        Raises:
            WeightsNotFoundError: there is no such checkpoint.
            InputError: no pipeline of ours fits its family and the task.
        """
        name = locate(pretrained_model_name_or_path, "checkpoint")
        if cls is EmojiDiffPipeline:
            hub = {key: kwargs[key] for key in _HUB_ARGUMENTS if key in kwargs}
            return cls._fitting(_class_name(name, hub), task).from_pretrained(name, **kwargs)
        if not kwargs.keys() & _NUMBER_FORMAT:
            kwargs["dtype"] = torch.float32
        return super().from_pretrained(name, **kwargs)

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, *, task: str = "text-to-image", **kwargs: Any) -> Any:
        """A pipeline that shares the parts of another one; an emoji adapter and its scales come along.

        Args:
            pipeline: a stock pipeline, or one of ours.
            task: what to draw from; "text-to-image".
            **kwargs: of diffusers' `DiffusionPipeline.from_pipe`. Without `dtype` the parts stay in their
                format (diffusers would turn them into float32, for both pipelines).
        """
        if cls is EmojiDiffPipeline:
            return cls._fitting(type(pipeline).__name__, task).from_pipe(pipeline, **kwargs)
        if not kwargs.keys() & _NUMBER_FORMAT:
            kwargs["dtype"] = pipeline.dtype
        made = super().from_pipe(pipeline, **kwargs)
        if isinstance(pipeline, EmojiDiffPipeline) and made.emoji_adapter is pipeline.emoji_adapter:
            made._emoji_scales, made._face_encoders = pipeline._emoji_scales, pipeline._face_encoders
        return made

    @classmethod
    def _fitting(cls, class_name: str, task: str) -> Any:
        for module in _CONCRETE_MODULES:
            importlib.import_module(module)  # its classes register themselves
        family = _family(class_name)
        try:
            return cls._concrete[family, task]
        except KeyError:
            known = ", ".join(f"{f} for {t}" for f, t in cls._concrete)
            raise InputError(
                f"There is no emoji pipeline for {class_name} and the task {task!r} yet; there is: {known}. "
                "Use such a checkpoint, or name one of these tasks."
            ) from None


def _class_name(name: str, hub: dict[str, Any]) -> str:
    """The pipeline class that a checkpoint's `model_index.json` names."""
    try:
        config = DiffusionPipeline.load_config(name, **hub)
    except OSError as error:
        raise WeightsNotFoundError(
            f"{name!r} is no checkpoint in diffusers' layout: {error} Expected a folder or a Hub repository "
            "with model_index.json. A single file is loaded with EmojiDiffSDPipeline.from_single_file."
        ) from error
    return str(config.get("_class_name"))  # type: ignore[union-attr]


def _family(class_name: str) -> str:
    """The family "SD" for the classes around Stable Diffusion 1 and 2, else the class name itself."""
    stock = class_name.replace("EmojiDiffSD", "StableDiffusion")
    other = ("StableDiffusionXL", "StableDiffusion3", "StableDiffusionK")
    return "SD" if stock.startswith("StableDiffusion") and not stock.startswith(other) else class_name
