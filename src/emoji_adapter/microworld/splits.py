"""People and expressions for training and for testing, kept apart by the seeds they are drawn from."""

import hashlib
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.renderer.parameters import FaceParameters, sample, sample_expression, sample_identity

Split = Literal["train", "test"]


def stream(split: Split, purpose: str, seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for a split, a purpose and a seed; no two share a stream."""
    digest = hashlib.sha256(f"{split}/{purpose}/{seed}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def people(split: Split, count: int, seed: int) -> Float[Tensor, "people identity"]:
    """Identities of a split, drawn on the CPU so that they are the same on every machine."""
    return sample_identity(count, stream(split, "people", seed))


def expressions(split: Split, count: int, seed: int) -> Float[Tensor, "expressions drawn"]:
    """Expressions of a split, drawn on the CPU."""
    return sample_expression(count, stream(split, "expressions", seed))


def pictures(split: Split, count: int, seed: int) -> FaceParameters:
    """Pictures of a split: everything drawn afresh, on the CPU."""
    return sample(count, stream(split, "pictures", seed))
