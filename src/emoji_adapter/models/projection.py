"""From one vector to a few tokens that cross-attention can look at."""

from jaxtyping import Float
from torch import Tensor, nn


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
