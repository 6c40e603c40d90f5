"""Perceiver resampler: from the patch features of a picture to a few tokens.

Flamingo (arXiv 2204.14198, section 3.1.1) as used, with these key names, by IP-Adapter Plus.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class PerceiverAttention(nn.Module):
    """Learned queries look at the patch features and at each other."""

    def __init__(self, *, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(
        self, features: Float[Tensor, "batch patches width"], latents: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """What the queries read, without the residual."""
        features, latents = self.norm1(features), self.norm2(latents)
        key, value = self.to_kv(torch.cat([features, latents], dim=1)).chunk(2, dim=-1)
        query, key, value = (self._split(x) for x in (self.to_q(latents), key, value))
        return self.to_out(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ExpressionResampler(nn.Module):
    """Patch features of an expression picture -> tokens.

    Args:
        input_dim: length of a patch feature.
        width: inner width; a multiple of `heads`.
        depth: number of layers (attention and feed-forward).
        heads: attention heads.
        mult: width of the feed-forward part, in multiples of `width`.
        tokens: number of tokens made.
        output_dim: length of a token: the cross-attention width of the U-Net.
    """

    # Adapted from https://github.com/tencent-ailab/IP-Adapter/blob/62e4af9/ip_adapter/resampler.py

    def __init__(
        self, *, input_dim: int, width: int, depth: int, heads: int, mult: int, tokens: int, output_dim: int
    ):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, tokens, width) / width**0.5)
        self.proj_in = nn.Linear(input_dim, width)
        self.proj_out = nn.Linear(width, output_dim)
        self.norm_out = nn.LayerNorm(output_dim)
        self.layers = nn.ModuleList(ResamplerLayer(width, heads, mult) for _ in range(depth))

    def forward(
        self, features: Float[Tensor, "batch patches input_dim"]
    ) -> Float[Tensor, "batch tokens output_dim"]:
        """Tokens of each picture, layer-normalised."""
        latents = self.latents.expand(len(features), -1, -1)
        features = self.proj_in(features)
        for layer in self.layers:
            latents = layer(features, latents)
        return self.norm_out(self.proj_out(latents))


class ResamplerLayer(nn.ModuleList):
    """Attention and feed-forward; a list because its parts are called 0 and 1 in files of IP-Adapter Plus."""

    def __init__(self, width: int, heads: int, mult: int):
        feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, mult * width, bias=False),
            nn.GELU(),
            nn.Linear(mult * width, width, bias=False),
        )
        super().__init__([PerceiverAttention(width=width, heads=heads), feed_forward])

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        """The queries after this layer."""
        attention, feed_forward = self
        latents = latents + attention(features, latents)
        return latents + feed_forward(latents)
