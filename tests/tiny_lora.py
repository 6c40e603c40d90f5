"""LoRAs at tiny sizes: an adapter that has one of its own, and one of the user's."""

import torch
from peft import LoraConfig

import tiny
from emoji_adapter.models.adapter import EmojiAdapter


def adapter(unet, seed: int = 1, **config) -> EmojiAdapter:
    """As `tiny.adapter`, with a LoRA that acts."""
    made = tiny.adapter(unet, seed, **{"identity_lora_rank": 2} | config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.startswith("identity_lora.") and name.endswith(".up"):
                parameter.normal_(std=0.2)
    return made


def add_mine(pipe, targets=("to_q", "to_out.0", "proj_in"), name: str = "mine", seed: int = 4) -> None:
    """A LoRA of the user's, in some of the adapter's layers and in others."""
    torch.manual_seed(seed)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=list(targets), init_lora_weights=False), name)
