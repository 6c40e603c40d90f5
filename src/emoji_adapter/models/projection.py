"""From one vector to a few tokens that cross-attention can look at."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.parts import require_shape
from emoji_adapter.models.resampler import ResamplerLayer

PLUS_HEAD_DIM, PLUS_DEPTH, PLUS_MULT = 64, 4, 4
"""Sizes of the resampler in every IP-Adapter-FaceID-Plus file."""


class MLPProjection(nn.Module):
    """Two linear layers and a normalisation: the projection, and the key names, of IP-Adapter-FaceID.

    Serves the identity embedding (512 numbers) and the blendshapes (52 numbers).

    Args:
        input_dim: length of the vector.
        width: length of the hidden layer (IP-Adapter-FaceID: twice `input_dim`).
        tokens: number of tokens made.
        output_dim: length of a token: the cross-attention width of the U-Net.
    """

    # Adapted from MLPProjModel,
    # https://github.com/tencent-ailab/IP-Adapter/blob/62e4af9/ip_adapter/ip_adapter_faceid.py

    def __init__(self, *, input_dim: int, width: int, tokens: int, output_dim: int):
        super().__init__()
        self.tokens = tokens
        self.proj = nn.Sequential(
            nn.Linear(input_dim, width), nn.GELU(), nn.Linear(width, tokens * output_dim)
        )
        self.norm = nn.LayerNorm(output_dim)

    def forward(self, vector: Float[Tensor, "batch input_dim"]) -> Float[Tensor, "batch tokens output_dim"]:
        """Tokens of each vector, layer-normalised."""
        return self.norm(self.proj(vector).unflatten(-1, (self.tokens, -1)))


class FaceIDPlusProjection(nn.Module):
    """Tokens of the embedding that then look at CLIP features of the face: IP-Adapter-FaceID-Plus.

    Args:
        input_dim: length of the embedding.
        features_dim: length of a CLIP feature.
        width: hidden layer of the embedding's projection.
        tokens: number of tokens made.
        output_dim: length of a token, a multiple of 64.
        shortcut: whether the embedding's own tokens are added in the end (PlusV2).
    """

    # Adapted from ProjPlusModel,
    # https://github.com/tencent-ailab/IP-Adapter/blob/62e4af9/ip_adapter/ip_adapter_faceid.py

    def __init__(
        self, *, input_dim: int, features_dim: int, width: int, tokens: int, output_dim: int, shortcut: bool
    ):
        super().__init__()
        mlp = MLPProjection(input_dim=input_dim, width=width, tokens=tokens, output_dim=output_dim)
        self.tokens, self.shortcut = tokens, shortcut
        self.proj, self.norm = mlp.proj, mlp.norm  # where the files have them
        self.perceiver_resampler = _FacePerceiver(features_dim, output_dim)

    def forward(
        self, vector: Float[Tensor, "batch input_dim"], features: Float[Tensor, "batch patches features_dim"]
    ) -> Float[Tensor, "batch tokens output_dim"]:
        """Tokens of each embedding and the features of its face."""
        tokens = self.norm(self.proj(vector).unflatten(-1, (self.tokens, -1)))
        read = self.perceiver_resampler(tokens, features)
        return tokens + read if self.shortcut else read


class _FacePerceiver(nn.Module):
    def __init__(self, features_dim: int, width: int):
        super().__init__()
        self.proj_in = nn.Linear(features_dim, width)
        self.proj_out = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)
        heads = width // PLUS_HEAD_DIM
        self.layers = nn.ModuleList(ResamplerLayer(width, heads, PLUS_MULT) for _ in range(PLUS_DEPTH))

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        features = self.proj_in(features)
        for layer in self.layers:
            latents = layer(features, latents)
        return self.norm_out(self.proj_out(latents))


def embedding_tokens(
    projection: MLPProjection | FaceIDPlusProjection,
    config: Mapping[str, Any],
    embeds: Tensor,
    features: Tensor | None,
) -> Float[Tensor, "batch tokens dim"]:
    """Tokens of one recogniser's embeddings, see `EmojiAdapter.identity_tokens_of`.

    Raises:
        AdapterMismatchError: a wrong shape, or features missing or too many.
    """
    require_shape(embeds, "identity embeddings", (config["identity_dim"],))
    unit = normalize(embeds, dim=-1)
    if config["identity_input"] == "unit_variance":
        unit = unit * config["identity_dim"] ** 0.5
    if not isinstance(projection, FaceIDPlusProjection):
        if features is not None:
            raise AdapterMismatchError("This adapter reads no identity_features; leave them out.")
        return projection(unit)
    if features is None:
        raise AdapterMismatchError(
            "This adapter reads CLIP features of the face beside its embedding. Pass identity_image, or "
            "identity_features, which encode_identity_features makes of a picture."
        )
    require_shape(features, "identity features", (None, config["identity_features_dim"]))
    return projection(unit, features)
