"""Real diffusers classes at tiny sizes with random weights, for all tests that need a model."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from emoji_adapter.models.adapter import MICRO, EmojiAdapter

CROSS_DIM = 32
SIZES = MICRO | {"identity_dim": 512, "identity_width": 24, "expression_dim": 20, "resampler_width": 16,
                 "resampler_depth": 1, "resampler_heads": 2, "blendshape_width": 8, "identity_tokens": 3,
                 "expression_tokens": 5}  # fmt: skip
PATCHES = 6


def unet(seed: int = 0, **config) -> UNet2DConditionModel:
    """8x8 latents, widths 32 and 64, cross-attention in down (32: none, 64: one), mid and up."""
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        **{
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": CROSS_DIM,
            "norm_num_groups": 8,
            "attention_head_dim": 8,
        }
        | config
    ).eval()


def xl_unet() -> UNet2DConditionModel:
    """The same with the extra conditions by which SDXL is told."""
    return unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + CROSS_DIM,
    )


def adapter(model: UNet2DConditionModel, seed: int = 1, **config) -> EmojiAdapter:
    """An adapter for `model` whose values are random instead of zero, so that it acts."""
    torch.manual_seed(seed)
    made = EmojiAdapter.for_unet(model, **(SIZES | config)).eval()
    for name, parameter in made.named_parameters():
        if name.startswith("to_v"):
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def identities(n: int, seed: int = 2) -> torch.Tensor:
    """Random identity embeddings `[n, 512]` of unit length."""
    return torch.nn.functional.normalize(
        torch.randn(n, 512, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def expressions(n: int, seed: int = 3) -> torch.Tensor:
    """Random patch features `[n, PATCHES, expression_dim]`."""
    return torch.randn(n, PATCHES, SIZES["expression_dim"], generator=torch.Generator().manual_seed(seed))


def tokenizer() -> CLIPTokenizer:
    """Letters only."""
    words = [chr(i) for i in range(33, 127)]
    tokens = words + [w + "</w>" for w in words] + ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=16)


def components(seed: int = 0) -> dict:
    """The parts of a `StableDiffusionPipeline` that makes pictures of 16x16."""
    words = tokenizer()
    torch.manual_seed(seed)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=CROSS_DIM, intermediate_size=37, num_attention_heads=4,
        num_hidden_layers=2, max_position_embeddings=16, bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, sample_size=16,
    )  # fmt: skip
    return {
        "vae": vae.eval(),
        "text_encoder": CLIPTextModel(text).eval(),
        "tokenizer": words,
        "unet": unet(seed),
        "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def without_shape_checks(monkeypatch, module: ModuleType) -> None:
    """Takes jaxtyping's checks off the functions and classes of a module: torch.compile cannot trace them."""
    classes = [x for x in vars(module).values() if isinstance(x, type) and x.__module__ == module.__name__]
    for owner in (module, *classes):
        for name, value in list(vars(owner).items()):
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                monkeypatch.setattr(owner, name, inspect.unwrap(value))


def checkpoint(folder: Path) -> Path:
    """Writes a plain Stable Diffusion checkpoint."""
    StableDiffusionPipeline(**components()).save_pretrained(folder)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline"
    return folder


def counted_graphs() -> tuple[list, Callable]:
    """A list, and a backend of `torch.compile` that puts every graph into it and runs it as it is."""
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    return graphs, backend
