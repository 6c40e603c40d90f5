"""The class that users name; it finds out which concrete pipeline fits."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch
from diffusers.models.unets import unet_2d_condition
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from emoji_adapter.checkpoints.locate import MICRO, locate
from emoji_adapter.errors import InputError, WeightsNotFoundError
from emoji_adapter.models.attention import DualAttnProcessor
from emoji_adapter.pipelines.families import TASKS, check_channels, family_of, import_family
from emoji_adapter.pipelines.single_file import check_same_unet, config_folder, fetch_file, tensor_shapes

_HUB_ARGUMENTS = ("revision", "token", "cache_dir", "local_files_only", "force_download")
_NUMBER_FORMAT = {"dtype", "torch_dtype"}

_Stock: Any = object
"""What follows among the bases of a concrete class: the stock pipeline."""

# diffusers refuses a repository on the Hub that names a component of a library it has not heard of.
LOADABLE_CLASSES.setdefault(
    "emoji_adapter.models.adapter", {"EmojiAdapter": ["save_pretrained", "from_pretrained"]}
)

# `unet.set_default_attn_processor()` refuses unknown classes. Ours gives way; the next call puts it back.
unet_2d_condition.CROSS_ATTENTION_PROCESSORS += (DualAttnProcessor,)


class EmojiDiffPipeline(_Stock):
    """Base of all our pipelines, which finds the concrete class that fits.

    A concrete class names its family and task when it is defined, and is found by them:
    `EmojiDiffPipeline.from_pretrained(..., task=...)` returns e.g. an `EmojiDiffSDXLInpaintPipeline`.
    """

    family: ClassVar[str] = ""
    task: ClassVar[str] = ""
    _concrete: ClassVar[dict[tuple[str, str], Any]] = {}

    def __init_subclass__(cls, family: str = "", task: str = "", **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if family:
            cls.family, cls.task = family, task
            EmojiDiffPipeline._concrete[family, task] = cls

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike = MICRO,
        *,
        task: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A pipeline from a checkpoint in diffusers' layout.

        Args:
            pretrained_model_name_or_path: "micro" (embedded), a folder, or a Hub id.
            task: what to draw from: "text-to-image" (unless told), "image-to-image", "inpaint" or
                "controlnet".
            **kwargs: of diffusers' `DiffusionPipeline.from_pretrained`; `controlnet` among them. Without
                `dtype` the weights are float32 in memory, whatever the files hold.

        Raises:
            WeightsNotFoundError: there is no such checkpoint.
            InputError: no pipeline of ours fits its family and the task, or the ControlNet is missing.
        """
        name = locate(os.fspath(pretrained_model_name_or_path), "checkpoint")
        hub = {key: kwargs[key] for key in _HUB_ARGUMENTS if key in kwargs}
        index = _model_index(name, hub)
        fitting = cls._fitting([str(index.get("_class_name"))], task)
        _require_controlnet(fitting, {**index, **kwargs})
        unet = kwargs["unet"].config if kwargs.get("unet") is not None else _unet_config(name, hub)
        check_channels(unet, fitting.task)
        return super(EmojiDiffPipeline, fitting).from_pretrained(name, **_in_float32(kwargs))

    @classmethod
    def from_single_file(
        cls,
        pretrained_model_link_or_path: str | Path,
        *,
        task: str | None = None,
        config: str | Path | None = None,
        **kwargs: Any,
    ) -> Any:
        """A pipeline from a community checkpoint in one `.safetensors` file (the original layout).

        Args:
            pretrained_model_link_or_path: a file, or a link to one on the Hub.
            task: as of `from_pretrained`.
            config: where the rest is (tokenizer, scheduler, sizes): the folder or Hub id of a diffusers
                checkpoint of the same kind. Unless told, that which diffusers knows for the file, which is
                taken from the Hub or its cache: offline, pass a folder.
            **kwargs: of diffusers' `from_single_file`; `controlnet` among them. Without `dtype` the weights
                are float32 in memory.

        Raises:
            WeightsNotFoundError: the file or its configuration cannot be had.
            WeightsFormatError: no safetensors file, damaged, or not a whole checkpoint.
            InputError: the file and the configuration are of different kinds, or as of `from_pretrained`.
        """
        hub = {key: kwargs[key] for key in _HUB_ARGUMENTS if key in kwargs}
        file = fetch_file(pretrained_model_link_or_path, hub)
        shapes = tensor_shapes(file)
        folder = config_folder(file, shapes, None if config is None else str(config), hub)
        index, unet = _model_index(folder, {}), _unet_config(folder, {})
        fitting = cls._fitting([str(index.get("_class_name"))], task)
        check_same_unet(file, shapes, folder, unet)
        _require_controlnet(fitting, {**index, **kwargs})
        check_channels(unet, fitting.task)
        load = super(EmojiDiffPipeline, fitting).from_single_file
        return load(str(file), config=folder, **_in_float32(kwargs))

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, *, task: str | None = None, **kwargs: Any) -> Any:
        """A pipeline that shares the parts of another one; an emoji adapter and its scales come along.

        Args:
            pipeline: a stock pipeline, or one of ours.
            task: as of `from_pretrained`.
            **kwargs: of diffusers' `DiffusionPipeline.from_pipe`; `controlnet` among them. Without `dtype`
                the parts stay in their format (diffusers would turn them into float32, for both pipelines).

        Raises:
            InputError: as of `from_pretrained`.
        """
        fitting = cls._fitting([kind.__name__ for kind in type(pipeline).__mro__], task)
        _require_controlnet(fitting, {**pipeline.components, **kwargs})
        unet = kwargs.get("unet") or pipeline.components["unet"]
        check_channels(unet.config, fitting.task)
        if not kwargs.keys() & _NUMBER_FORMAT:
            kwargs["dtype"] = unet.dtype
        made = super(EmojiDiffPipeline, fitting).from_pipe(pipeline, **kwargs)
        if isinstance(pipeline, EmojiDiffPipeline) and made.emoji_adapter is pipeline.emoji_adapter:
            made._emoji_scales, made._face_encoders = pipeline._emoji_scales, pipeline._face_encoders
        return made

    @classmethod
    def _fitting(cls, class_names: Iterable[str], task: str | None) -> Any:
        """The concrete class for a family and a task; a class that is concrete itself must be it."""
        class_names = list(class_names)
        family = next((found for name in class_names if (found := family_of(name))), "")
        if not family and not hasattr(diffusers, class_names[0]):
            family = cls.family  # a class of the user's own, called by a name that says what it is
        if not cls.family:
            task = "text-to-image" if task is None else task
            import_family(family or None)
            if (family, task) in cls._concrete:
                return cls._concrete[family, task]
        elif (family, task or cls.task) == (cls.family, cls.task):
            return cls
        import_family(None)
        known = ", ".join(sorted({f for f, _ in cls._concrete}))
        if not family or task not in (None, *TASKS):
            raise InputError(
                f"There is no emoji pipeline for {class_names[0]} and the task {task!r}; there is: {known} "
                f"for {', '.join(TASKS)}. Use such a checkpoint, and name one of these tasks."
            )
        fitting = cls._concrete[family, task or cls.task].__name__
        raise InputError(
            f"{cls.__name__} is for {cls.family} and the task {cls.task!r}; got {class_names[0]} and "
            f"{task or cls.task!r}. Use {fitting}, or EmojiDiffPipeline, which finds the class that fits."
        )


def _model_index(name: str, hub: dict[str, Any]) -> dict[str, Any]:
    if Path(name).is_file():
        raise InputError(
            f"{name} is a single file; here a folder or a Hub id is needed. Load it with "
            "EmojiDiffPipeline.from_single_file, whose save_pretrained makes a folder of it."
        )
    try:
        return dict(DiffusionPipeline.load_config(name, **hub))  # type: ignore[arg-type]
    except OSError as error:
        raise WeightsNotFoundError(
            f"{name!r} is no checkpoint in diffusers' layout: {error} Expected a folder or a Hub repository "
            "with model_index.json. A single file is loaded with EmojiDiffPipeline.from_single_file."
        ) from error


def _unet_config(name: str, hub: dict[str, Any]) -> dict[str, Any]:
    try:
        config: Any = UNet2DConditionModel.load_config(name, subfolder="unet", **hub)
    except OSError as error:
        raise WeightsNotFoundError(
            f"The checkpoint {name!r} has no unet/config.json: {error} Expected a whole checkpoint in "
            "diffusers' layout."
        ) from error
    return {"in_channels": 4, "out_channels": 4, "cross_attention_dim": 1280, **config}  # diffusers' defaults


def _require_controlnet(fitting: Any, given: dict[str, Any]) -> None:
    if fitting.task == "controlnet" and given.get("controlnet") is None:
        raise InputError(
            f"{fitting.__name__} needs a ControlNet, which a checkpoint does not bring along. Pass "
            "controlnet=ControlNetModel.from_pretrained(...), one of the checkpoint's own family."
        )


def _in_float32(kwargs: dict[str, Any]) -> dict[str, Any]:
    return kwargs if kwargs.keys() & _NUMBER_FORMAT else {**kwargs, "dtype": torch.float32}
