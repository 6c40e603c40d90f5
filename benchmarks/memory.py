"""What a training step on SD1.5 and SDXL takes, COMPUTED on the meta device: nothing is run.

    python benchmarks/memory.py                # writes benchmarks/results/memory.json
    python benchmarks/memory.py --only sd15

Counted: parameters of all networks in the dtype that training holds them in; gradients, AdamW's two moments
and the moving average of the expression branch, in float32; every tensor that autograd keeps of one forward
pass of the U-Net, once per storage. With gradient checkpointing these are the inputs of the U-Net's blocks,
and while a block is computed again its own tensors and as much once more for its gradients (an upper bound).
Attention is taken to keep what flash attention keeps: Q, K, V, the output and one number a query.
Not counted: what the CUDA context, cuBLAS and the allocator's gaps take (a GB or two), and, in the ICA stage,
the decoder and the recogniser.

Hours are arithmetic too: operations of the forward pass (torch's flop counter; attention by hand), times 2
with the backward pass (inputs only, for it is frozen), 3 with checkpointing, over `SHARE` of a card's peak.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from record import record
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

import emoji_adapter.models.attention as our_attention
from emoji_adapter.models.adapter import EmojiAdapter, is_adapter_parameter
from emoji_adapter.training.config import load_recipe

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from true_unets import CONFIGS  # noqa: E402

GB = 1e9
TEXT_TOKENS = 77
SHARE = 0.35
"""Share of a card's peak that training reaches: an assumption, not a measurement."""
PEAK = {"A100": 312e12, "H100": 989e12, "RTX 4090": 165e12}
"""bfloat16 operations a second with float32 sums, without sparsity: vendor's data sheets."""
DRAWING_PASSES = 2 * 25
"""Forward passes of the U-Net a picture that `idi` draws in bfloat16: 25 steps with guidance."""

VIT_H = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
    "patch_size": 14, "image_size": 224, "projection_dim": 1024,
}  # fmt: skip
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
BIG_G = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280,
}  # fmt: skip
VAE = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(CONFIGS), help="one family")
    parser.add_argument("--name", default="memory", help="name of the result file")
    options = parser.parse_args()
    families = {family: figures(family) for family in ([options.only] if options.only else CONFIGS)}
    for family, found in families.items():
        print(f"{family}: {found['parameters']}")
        for what, sizes in found["gigabytes"].items():
            print(f"  {what}: {sizes}")
        print(f"  recipe: {found['recipe']}")
    assumed = {
        "share_of_peak": SHARE,
        "peak_flops": PEAK,
        "drawing_passes": DRAWING_PASSES,
    }
    print(record(options.name, {"how": "computed on the meta device, not measured", **assumed, **families}))


def figures(family: str) -> dict[str, Any]:
    """All figures of a family."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**CONFIGS[family]).to(torch.bfloat16).requires_grad_(False).eval()
        adapter = EmojiAdapter.for_unet(unet, expression_dim=VIT_H["hidden_size"])
        others = frozen_networks(family)
    trained = trains(adapter)
    counted, flops = forward(unet, adapter)
    vision = 2 * parameters(others["expression_encoder"]) * ((224 // 14) ** 2 + 1)
    state = {
        "unet_bf16": 2 * parameters(unet),
        "vae_and_text_encoders_bf16": 2 * sum(parameters(others[n]) for n in others if "expression" not in n),
        "expression_encoder_fp32": 4 * parameters(others["expression_encoder"]),
        "adapter_and_its_preview_copy_fp32": 2 * 4 * parameters(adapter),
        "gradients_adamw_average_fp32": 4 * 4 * trained,
    }
    recipe = load_recipe(ROOT / "examples" / "configs" / f"{family}.yaml")
    rows = {
        "plain": {n: total(state, n * counted.everything) for n in (1, 2, 4, 8)},
        "gradient_checkpointing": {n: total(state, n * counted.checkpointed) for n in (1, 2, 4, 8)},
    }
    passes = 3 if recipe.gradient_checkpointing else 2
    per_step = recipe.batch * recipe.accumulate * (passes * flops + vision)
    way = "gradient_checkpointing" if recipe.gradient_checkpointing else "plain"
    return {
        "parameters": {
            "unet": parameters(unet),
            "adapter": parameters(adapter),
            "expression_branch": trained,
            **{name: parameters(network) for name, network in others.items()},
        },
        "gigabytes": {
            "state": {name: round(size / GB, 2) for name, size in state.items()},
            "activations_a_row": {
                "plain": round(counted.everything / GB, 2),
                "gradient_checkpointing": round(counted.checkpointed / GB, 2),
            },
            "in_all_by_rows": rows,
        },
        "teraflops_a_forward_pass": round(flops / 1e12, 2),
        "recipe": {
            "rows_a_pass": recipe.batch,
            "passes_a_step": recipe.accumulate,
            "steps": recipe.steps,
            "gradient_checkpointing": recipe.gradient_checkpointing,
            "gigabytes": rows[way][recipe.batch],
            "hours_a_stage": {name: hours(recipe.steps * per_step, peak) for name, peak in PEAK.items()},
            "hours_to_draw_10000_pictures": {
                name: hours(10_000 * DRAWING_PASSES * flops, peak) for name, peak in PEAK.items()
            },
        },
    }


def frozen_networks(family: str) -> dict[str, nn.Module]:
    """What training holds beside U-Net and adapter."""
    made = {
        "vae": AutoencoderKL(**VAE),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**CLIP_L)),
        "expression_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_H)),
    }
    if family == "sdxl":
        made["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G))
    return made


def trains(adapter: EmojiAdapter) -> int:
    """Parameters of the expression branch; the others are frozen."""
    count = 0
    for name, parameter in adapter.named_parameters():
        parameter.requires_grad_(is_adapter_parameter(name, "expression"))
        count += parameter.numel() * parameter.requires_grad
    return count


class Kept:
    """Tensors that autograd keeps, each storage once.

    Args:
        fixed: networks whose parameters are counted elsewhere.
    """

    def __init__(self, *fixed: nn.Module):
        self._fixed = {p.untyped_storage()._cdata for network in fixed for p in network.parameters()}
        self._outside: dict[int, Any] = {}
        self._inside: dict[int, Any] = {}
        self._block: dict[int, Any] | None = None
        self.largest = 0

    def note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._fixed:
            (self._outside if self._block is None else self._block)[storage._cdata] = storage
        return tensor

    def block(self, module: nn.Module, *arguments: Any) -> Any:
        """Stands where diffusers checkpoints a block: its inputs are kept, its own tensors by themselves."""
        if self._block is not None:  # within another one
            return module(*arguments)
        for argument in arguments:
            if isinstance(argument, Tensor):
                self.note(argument)
        self._block = {}
        result = module(*arguments)
        self.largest = max(self.largest, size_of(self._block))
        self._inside |= self._block
        self._block = None
        return result

    @property
    def everything(self) -> int:
        """Bytes without checkpointing."""
        return size_of(self._outside | self._inside)

    @property
    def checkpointed(self) -> int:
        """Bytes with it: the inputs of blocks, one block, and its gradients."""
        return size_of(self._outside) + 2 * self.largest


def forward(unet: Any, adapter: EmojiAdapter) -> tuple[Kept, int]:
    """One row through adapter and U-Net.

    Returns:
        What is kept of it, and its operations.
    """
    kept, attention = Kept(unet, adapter), Flash()
    torch.nn.functional.scaled_dot_product_attention = attention
    our_attention.scaled_dot_product_attention = attention
    adapter.attach(unet)
    unet.enable_gradient_checkpointing(kept.block)
    config, width = unet.config, unet.config.cross_attention_dim
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        x_t = torch.empty(1, 4, config.sample_size, config.sample_size, dtype=unet.dtype)
        text = torch.empty(1, TEXT_TOKENS, width, dtype=unet.dtype)
        added = None
        if config.addition_embed_type == "text_time":
            added = {"text_embeds": torch.empty(1, 1280, dtype=unet.dtype)}
            added["time_ids"] = torch.empty(1, 6, dtype=unet.dtype)
        with torch.autograd.graph.saved_tensors_hooks(kept.note, lambda tensor: tensor):
            told = adapter(
                adapter.identity_tokens_of(torch.empty(1, 512)),
                adapter.expression_tokens_of(torch.empty(1, 256, VIT_H["hidden_size"])),
            )
            t = torch.empty(1, dtype=torch.int64)
            unet(
                x_t,
                t,
                text,
                cross_attention_kwargs={our_attention.CARRIER: told},
                added_cond_kwargs=added,
            )
    return kept, counter.get_total_flops() + attention.flops


class Flash:
    """Stands for attention: what flash attention would keep and compute."""

    def __init__(self):
        self.flops = 0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        self.flops += 4 * query.numel() * key.shape[-2]
        return _FlashMemory.apply(query, key, value)


class _FlashMemory(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result, query.new_empty(query.shape[:-1]).float())
        return result


def size_of(storages: dict[int, Any]) -> int:
    return sum(storage.nbytes() for storage in storages.values())


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def total(state: dict[str, int], activations: int) -> float:
    return round((sum(state.values()) + activations) / GB, 1)


def hours(operations: float, peak: float) -> float:
    return round(operations / (SHARE * peak) / 3600, 1)


if __name__ == "__main__":
    main()
