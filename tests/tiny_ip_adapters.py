"""IP-Adapter files with the keys of the published ones, at any size, for all tests that convert them."""

from collections.abc import Callable, Mapping

import torch

from emoji_adapter.checkpoints.key_maps import LORA, PROJECTIONS, attention_layers

Made = Callable[..., torch.Tensor]


def random(*shape: int) -> torch.Tensor:
    """Weights that act."""
    return torch.randn(shape) * 0.3


def face_id(
    layers: Mapping[str, int],
    cross: int,
    *,
    dim: int = 512,
    tokens: int = 4,
    lora: int = 0,
    made: Made = random,
) -> dict[str, torch.Tensor]:
    """A file in the layout of IP-Adapter-FaceID; `lora` is the rank of its LoRA."""
    shapes = {
        "proj.0.weight": (2 * dim, dim), "proj.0.bias": (2 * dim,),
        "proj.2.weight": (tokens * cross, 2 * dim), "proj.2.bias": (tokens * cross,),
        "norm.weight": (cross,), "norm.bias": (cross,),
    }  # fmt: skip
    weights = {f"image_proj.{name}": made(*shape) for name, shape in shapes.items()}
    for place, width in enumerate(layers.values()):
        for side in "kv":
            weights[f"ip_adapter.{2 * place + 1}.to_{side}_ip.weight"] = made(width, cross)
    for place, layer in enumerate(attention_layers(list(layers)) if lora else ()):
        width = layers[layer[:-1] + "2"]
        for key in LORA:
            reads = cross if layer.endswith("attn2") and key[3] in "kv" else width
            shape = (lora, reads) if "down" in key else (width, lora)
            weights[f"ip_adapter.{place}.{key}"] = made(*shape)
    return weights


def face_id_plus(
    layers: Mapping[str, int], cross: int, *, features: int = 1280, lora: int = 0, made: Made = random
) -> dict[str, torch.Tensor]:
    """A file in the layout of IP-Adapter-FaceID-Plus."""
    weights = face_id(layers, cross, lora=lora, made=made)
    last = {
        "proj_in.weight": (cross, features), "0.to_kv.weight": (2 * cross, cross),
        "1.1.weight": (4 * cross, cross), "1.3.weight": (cross, 4 * cross),
    }  # fmt: skip
    for name in PROJECTIONS["FaceID-Plus"]:
        if name.startswith("perceiver_resampler."):
            short = name.removeprefix("perceiver_resampler.")
            short = short.split(".", 2)[2] if short.startswith("layers.") else short
            vector = "norm" in short or short.startswith("1.0.") or short.endswith("bias")
            weights[f"image_proj.{name}"] = made(*last.get(short, (cross,) if vector else (cross, cross)))
    return weights


def groups(weights: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """The same as `load_ip_adapter` takes it."""
    made: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in weights.items():
        group, name = key.split(".", 1)
        made[group][name] = value
    return made
