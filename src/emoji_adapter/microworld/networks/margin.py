"""How the identity judge learns: classes of people, told apart by a margin."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class MarginHead(nn.Module):
    """Large-margin cosine loss over a fixed set of people (CosFace, Wang et al. 2018, equation 4).

    The margin grows linearly over the first calls: with the full margin from the start a fresh embedding
    is slow to spread. The count of calls is a buffer, so that a resumed run goes on where it was.

    Args:
        people: number of training people.
        width: length of the embedding.
        scale: `s` of the paper.
        margin: `m` of the paper, in cosine.
        warmup: calls until the margin is full.
    """

    calls: Tensor

    def __init__(
        self, people: int, width: int = 256, *, scale: float = 32.0, margin: float = 0.3, warmup: int = 1000
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(people, width) / width**0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.scale, self.margin, self.warmup = scale, margin, warmup

    def forward(self, embeddings: Float[Tensor, "b d"], index: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        """Cross-entropy over all people, the true person's cosine lowered by the margin.

        Args:
            embeddings: of length 1.
            index: true people.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = embeddings.float() @ functional.normalize(self.weight.float(), dim=-1).T
            margin = self.margin * (self.calls / self.warmup).clamp(max=1)
            self.calls += 1
            return functional.cross_entropy(
                self.scale * (cosines - margin * functional.one_hot(index, len(self.weight))), index
            )
