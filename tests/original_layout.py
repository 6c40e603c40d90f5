"""Tiny pipelines written as community checkpoints are: one `.safetensors` file with the original names."""

import re
from pathlib import Path

import torch
from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING
from safetensors.torch import save_file

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_OPEN_CLIP = DIFFUSERS_TO_LDM_MAPPING["openclip"]


def write(pipe, file: Path, *, dtype=torch.float32) -> Path:
    """Writes U-Net, autoencoder and text encoders of an SD or SDXL pipeline; the rest has no place there."""
    xl = hasattr(pipe, "text_encoder_2")
    weights = {f"model.diffusion_model.{key}": x for key, x in _unet(pipe.unet).items()}
    weights |= {f"first_stage_model.{key}": x for key, x in _vae(pipe.vae).items()}
    clip = "conditioner.embedders.0.transformer." if xl else "cond_stage_model.transformer."
    weights |= {f"{clip}text_model.{key}": x for key, x in pipe.text_encoder.state_dict().items()}
    if xl:
        second = _open_clip(pipe.text_encoder_2)
        weights |= {f"conditioner.embedders.1.model.{key}": x for key, x in second.items()}
    save_file({key: x.to(dtype).contiguous() for key, x in weights.items()}, file)
    return file


def _unet(unet):
    step = unet.config.layers_per_block + 1
    layers = (
        DIFFUSERS_TO_LDM_MAPPING["unet"]["layers"] | DIFFUSERS_TO_LDM_MAPPING["unet"]["addition_embed_type"]
    )

    def place(key):
        if key in layers:
            return layers[key]
        side, *rest = key.split(".")
        if side == "mid_block":
            part, number, *inner = rest
            return f"middle_block.{1 if part == 'attentions' else 2 * int(number)}.{_inner(inner)}"
        block, part, number, *inner = rest
        first, name = (1, "input_blocks") if side == "down_blocks" else (0, "output_blocks")
        at = first + int(block) * step + (int(number) if part in ("resnets", "attentions") else step - 1)
        if part == "downsamplers":
            return f"{name}.{at}.0.op.{inner[-1]}"
        if part == "upsamplers":
            attends = hasattr(unet.up_blocks[int(block)], "attentions")
            return f"{name}.{at - (first == 1)}.{2 if attends else 1}.conv.{inner[-1]}"
        return f"{name}.{at}.{0 if part == 'resnets' else 1}.{_inner(inner)}"

    return {place(key): x for key, x in unet.state_dict().items()}


def _inner(parts):
    return ".".join([_RESNET.get(parts[0], parts[0]), *parts[1:]])


def _vae(vae):
    last = len(vae.config.up_block_types) - 1
    fixed = DIFFUSERS_TO_LDM_MAPPING["vae"]
    rules = {
        r"down_blocks\.(\d)\.resnets": r"down.\1.block", r"downsamplers\.0": "downsample",
        r"down_blocks": "down", r"up_blocks\.(\d)": lambda m: f"up.{last - int(m[1])}",
        r"(up\.\d)\.resnets": r"\1.block", r"upsamplers\.0": "upsample", r"conv_shortcut": "nin_shortcut",
        r"mid_block\.resnets\.(\d)": lambda m: f"mid.block_{int(m[1]) + 1}",
        r"mid_block\.attentions\.0": "mid.attn_1", r"group_norm": "norm", r"to_out\.0": "proj_out",
        r"to_([qkv])": r"\1",
    }  # fmt: skip
    made = {}
    for key, x in vae.state_dict().items():
        name = fixed.get(key, key)
        if name == key:
            for pattern, replacement in rules.items():
                name = re.sub(pattern, replacement, name)
        made[name] = x[:, :, None, None] if "attn_1" in name and x.ndim == 2 else x
    return made


def _open_clip(encoder):
    names = {new: old for new, old in _OPEN_CLIP["layers"].items()}
    made, attention = {}, {}
    for key, x in encoder.state_dict().items():
        if key in names:
            made[names[key]] = x.T if key == "text_projection.weight" else x
            continue
        if match := re.fullmatch(r"(.*self_attn)\.([qkv])_proj\.(weight|bias)", key):
            attention.setdefault((match[1], match[3]), {})[match[2]] = x
            continue
        made[_resblock(key)] = x
    for (key, kind), parts in attention.items():
        made[f"{_resblock(key)}.in_proj_{kind}"] = torch.cat([parts[part] for part in "qkv"])
    return made


def _resblock(key):
    for new, old in _OPEN_CLIP["transformer"].items():
        key = key.replace(new, old)
    return f"transformer.{key}"
