"""Community checkpoints: all weights in one `.safetensors` file, in the layout of the original code.

Such a file lacks the tokenizer, the scheduler and the sizes; these come from a diffusers checkpoint of the
same kind. Only the file's header is read here; diffusers reads the weights.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import DIFFUSERS_DEFAULT_PIPELINE_PATHS, infer_diffusers_model_type
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from safetensors import SafetensorError, safe_open

from emoji_adapter.checkpoints.locate import PICKLES
from emoji_adapter.errors import InputError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.models.layers import describe_family, family_of_sizes

_UNET = "model.diffusion_model."
_FIRST, _LAST, _KEYS = "input_blocks.0.0.weight", "out.2.weight", ".attn2.to_k.weight"
_KNOWN = ("v1", "inpainting", "v2", "inpainting_v2", "xl_base", "xl_inpaint", "playground-v2-5")
_LINK = re.compile(
    r"https://(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)/(?:blob|resolve)/([^/]+)/(.+\.safetensors)(?:\?.*)?"
)
_CONFIGURATION = ("**/*.json", "*.json", "*.txt", "**/*.txt", "**/*.model")
_UNREACHABLE = (HfHubHTTPError, OfflineModeIsEnabled, OSError)


def fetch_file(name: str | Path, hub: Mapping[str, Any]) -> Path:
    """The file on this machine; a link to the Hub is followed.

    Raises:
        WeightsNotFoundError: it is not there.
        WeightsFormatError: it is no safetensors file.
    """
    path = Path(name)
    if path.suffix in PICKLES:
        raise WeightsFormatError(
            f"{name} is a pickle, which can run code when it is read; expected a .safetensors file. Most "
            "authors offer both."
        )
    if path.is_file():
        return path
    link = _LINK.fullmatch(str(name))
    if link is None:
        raise WeightsNotFoundError(
            f"{str(name)!r} is neither a file nor a link such as "
            "https://huggingface.co/owner/name/blob/main/file.safetensors. Check the spelling and the "
            "working directory; a folder or a Hub id is loaded with from_pretrained."
        )
    repo, revision, weight_name = link.groups()
    try:
        return Path(hf_hub_download(repo, weight_name, **{"revision": revision, **hub}))
    except _UNREACHABLE as error:
        raise WeightsNotFoundError(
            f"{weight_name} of {repo!r} is not in the cache and cannot be fetched from the Hub: {error}"
        ) from error


def tensor_shapes(file: Path) -> dict[str, torch.Tensor]:
    """Name -> a tensor without memory (on the device "meta"), from the header alone.

    Raises:
        WeightsFormatError: the file is damaged, or no whole checkpoint in the original layout.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            shapes = {
                key: torch.empty(opened.get_slice(key).get_shape(), device="meta")
                for key in list(opened.keys())
            }
    except (SafetensorError, OSError) as error:
        raise WeightsFormatError(
            f"{file} is damaged, cut short or no safetensors file ({error}). Fetch it again."
        ) from error
    if _UNET + _FIRST not in shapes or _UNET + _LAST not in shapes:
        first = ", ".join(sorted(shapes)[:3]) or "nothing"
        raise WeightsFormatError(
            f"{file} is no whole checkpoint: it has no U-Net under {_UNET!r}; it begins with {first}. A LoRA "
            "is loaded with load_lora_weights, an emoji adapter with load_emoji_adapter, a folder in "
            "diffusers' layout with from_pretrained."
        )
    return shapes


def config_folder(
    file: Path, shapes: Mapping[str, torch.Tensor], config: str | None, hub: Mapping[str, Any]
) -> str:
    """The folder with everything that the file lacks.

    Args:
        file: for messages.
        shapes: from `tensor_shapes`; they tell which checkpoint is meant when `config` is None.
        config: a folder or a Hub id.
        hub: where and how to fetch; the revision is that of the file and is not used here.

    Raises:
        WeightsNotFoundError: neither here nor in the cache nor to be fetched.
        WeightsFormatError: a kind of checkpoint that has no pipeline of ours.
    """
    if config is not None and Path(config).is_dir():
        return config
    repo = _known_configuration(file, shapes) if config is None else config
    where = {key: value for key, value in hub.items() if key != "revision"}
    try:
        return snapshot_download(repo, allow_patterns=list(_CONFIGURATION), **where)
    except (*_UNREACHABLE, ValueError) as error:
        raise WeightsNotFoundError(
            f"{file.name} holds weights only. The rest (tokenizer, scheduler, sizes) should come from "
            f"{repo!r}, which is not in the cache and cannot be fetched ({type(error).__name__}). Offline, "
            "pass config=FOLDER (--config FOLDER), the folder of a checkpoint of the same kind in diffusers' "
            "layout; its weights are not needed."
        ) from error


def check_same_unet(
    file: Path, shapes: Mapping[str, torch.Tensor], folder: str, unet: Mapping[str, Any]
) -> None:
    """Refuses a configuration of another kind than the file before any weight is read.

    Args:
        file: for messages.
        shapes: from `tensor_shapes`.
        folder: the configuration's, for messages.
        unet: configuration of the U-Net in it.

    Raises:
        InputError: another family, or other channels.
    """
    widths = [
        shape.shape[-1] for key, shape in shapes.items() if key.startswith(_UNET) and key.endswith(_KEYS)
    ]
    found = (
        _described(widths[0] if widths else 0, f"{_UNET}label_emb.0.0.weight" in shapes),
        shapes[_UNET + _FIRST].shape[1],
    )
    wanted = (
        _described(unet["cross_attention_dim"], unet.get("addition_embed_type") == "text_time"),
        unet["in_channels"],
    )
    if found != wanted:
        raise InputError(
            f"{file.name} holds {found[0]} with {found[1]} input channels; the configuration in {folder} is "
            f"for {wanted[0]} with {wanted[1]}. Pass config=FOLDER of a checkpoint of the same kind as the "
            "file."
        )


def _described(width: Any, extra_conditions: bool) -> str:
    return describe_family(family_of_sizes(width, extra_conditions), width)


def _known_configuration(file: Path, shapes: Mapping[str, torch.Tensor]) -> str:
    kind = infer_diffusers_model_type(shapes)
    if kind not in _KNOWN:
        raise WeightsFormatError(
            f"{file} is a checkpoint of the kind {kind!r}; there are emoji pipelines for Stable Diffusion 1, "
            "2 and XL. Use such a file, or pass config= if the kind was told wrongly."
        )
    return DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]
