"""Configurations of the true U-Nets of SD1.5 and SDXL, for tests at true shapes on the meta device."""

from typing import Any

CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": {
        "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "cross_attention_dim": 768,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), "attention_head_dim": 8,
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3, "sample_size": 64,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280), "layers_per_block": 2, "cross_attention_dim": 2048,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816, "sample_size": 128,
    },
}  # fmt: skip
