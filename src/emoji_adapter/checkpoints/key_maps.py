"""What the weights of IP-Adapter files are called there and here: conversions are these tables."""

from collections.abc import Sequence

PROJECTIONS = {
    "FaceID": ("proj.0.weight", "proj.0.bias", "proj.2.weight", "proj.2.bias", "norm.weight", "norm.bias"),
    "FaceID-Plus": (
        "proj.0.weight", "proj.0.bias", "proj.2.weight", "proj.2.bias", "norm.weight", "norm.bias",
        *(f"perceiver_resampler.{name}.{kind}" for name in ("proj_in", "proj_out", "norm_out")
          for kind in ("weight", "bias")),
        *(f"perceiver_resampler.layers.{layer}.{name}" for layer in range(4) for name in (
            "0.norm1.weight", "0.norm1.bias", "0.norm2.weight", "0.norm2.bias", "0.to_q.weight",
            "0.to_kv.weight", "0.to_out.weight", "1.0.weight", "1.0.bias", "1.1.weight", "1.3.weight")),
    ),
}  # fmt: skip
"""Kind of file -> the names under `image_proj`; our modules use the same names."""

MODULES = {"identity": "identity_projection", "expression": "blendshape_projection"}
"""Branch -> our module that `image_proj` becomes."""

LORA = {
    f"to_{place}_lora.{half}.weight": f"{ours}.{half}"
    for place, ours in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("out", "to_out.0"))
    for half in ("down", "up")
}
"""LoRA of one attention layer: name there -> name here."""

MARKER = "0.to_q_lora.down.weight"
"""Key by which ComfyUI's IPAdapter nodes tell a FaceID file of four tokens; diffusers does not look at it."""

_SD = (
    ("down_blocks.0", 2, 1, 320), ("down_blocks.1", 2, 1, 640), ("down_blocks.2", 2, 1, 1280),
    ("up_blocks.1", 3, 1, 1280), ("up_blocks.2", 3, 1, 640), ("up_blocks.3", 3, 1, 320),
    ("mid_block", 1, 1, 1280),
)  # fmt: skip
_SDXL = (
    ("down_blocks.1", 2, 2, 640), ("down_blocks.2", 2, 10, 1280), ("up_blocks.0", 3, 10, 1280),
    ("up_blocks.1", 3, 2, 640), ("mid_block", 1, 10, 1280),
)  # fmt: skip
BLOCKS = {("sd15", 768): _SD, ("sd2", 1024): _SD, ("sdxl", 2048): _SDXL}
"""Family and width of its text features -> blocks with cross-attention: name, attentions, layers, width."""


def layers_of(blocks: Sequence[tuple[str, int, int, int]]) -> dict[str, int]:
    """Name and width of each cross-attention layer, as `cross_attention_layers` gives them of a U-Net."""
    return {
        f"{block}.attentions.{attention}.transformer_blocks.{layer}.attn2": width
        for block, attentions, depth, width in blocks
        for attention in range(attentions)
        for layer in range(depth)
    }


def attention_layers(cross: Sequence[str]) -> list[str]:
    """All attention layers in the order of `unet.attn_processors`: each block's self, then its cross one."""
    return [f"{name.removesuffix('attn2')}{kind}" for name in cross for kind in ("attn1", "attn2")]


def key_map(branch: str, kind: str, layers: Sequence[str], *, lora: bool) -> dict[str, str]:
    """Every key of a file -> name of the same weight in `EmojiAdapter`.

    Args:
        branch: "identity" or "expression".
        kind: one of `PROJECTIONS`.
        layers: all cross-attention layers, in the order of the U-Net's processors.
        lora: whether the file holds LoRA weights of all attention layers.
    """
    keys = {f"image_proj.{name}": f"{MODULES[branch]}.{name}" for name in PROJECTIONS[kind]}
    for place, layer in enumerate(layers):
        for side in ("k", "v"):
            theirs = f"ip_adapter.{2 * place + 1}.to_{side}_ip.weight"
            keys[theirs] = f"to_{side}_{branch}.{layer}.weight"
    if lora:
        for place, layer in enumerate(attention_layers(layers)):
            keys |= {f"ip_adapter.{place}.{a}": f"identity_lora.{layer}.{b}" for a, b in LORA.items()}
    return keys
