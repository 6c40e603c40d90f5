"""The networks that training on SD1.5 and SDXL holds, at their true sizes and without weights.

Recogniser and teacher of a face pack for photographs are not public domain, so their shapes stand here: the
IResNet-50 of buffalo_l (`w600k_r50.onnx`, 43.6 M parameters). The teacher is the user's own; it is taken to
be as large (our choice).
"""

import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from emoji_adapter.encoders.blendshapes import BLENDSHAPES
from emoji_adapter.encoders.twins import BlendshapeTwin, RecogniserTwin

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from true_unets import CONFIGS  # noqa: E402

TEXT_TOKENS = 77
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


def networks(family: str) -> dict[str, nn.Module]:
    """The frozen networks of a pipeline and the expression encoder; of the default device."""
    made = {
        "unet": UNet2DConditionModel(**CONFIGS[family]),
        "vae": AutoencoderKL(**VAE),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**CLIP_L)),
        "expression_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_H)),
    }
    if family == "sdxl":
        made["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G))
    return {name: network.requires_grad_(False).eval() for name, network in made.items()}


class Recogniser(RecogniserTwin):
    """buffalo_l's, as its twin in torch reads it."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.network: Any = IResNet50(512)
        self.size, self._mean, self._std = 112, 0.5, 0.5


class Teacher(BlendshapeTwin):
    """A blendshape teacher as large as the recogniser."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.network: Any = nn.Sequential(IResNet50(BLENDSHAPES), nn.Sigmoid())
        self.size = 112


class IResNet50(nn.Module):
    """The operations of the ONNX file, in float32: batch norms after a convolution are part of it."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        blocks, width = [], 64
        for channels, count in ((64, 3), (128, 4), (256, 14), (512, 3)):
            for number in range(count):
                blocks.append(_Block(width, channels, stride=1 if number else 2))
                width = channels
        self.first = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.PReLU(64))
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(
            nn.BatchNorm2d(512), nn.Flatten(), nn.Linear(512 * 7 * 7, outputs), nn.BatchNorm1d(outputs)
        )
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.last(self.blocks(self.first(x.float())))


class _Block(nn.Module):
    def __init__(self, width: int, channels: int, stride: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, padding=1),
        )
        self.beside = nn.Identity() if stride == 1 else nn.Conv2d(width, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.way(x) + self.beside(x)


def parameters(network: nn.Module) -> int:
    """How many numbers a network holds."""
    return sum(parameter.numel() for parameter in network.parameters())
