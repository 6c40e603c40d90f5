"""Distilling: what networks say of a template is learnt by the tokens of its patch features, without a U-Net.

`codes`: L = mean over layers, keys and values of |k(resampler(psi)) - k(MLP(b))|^2 / var k(MLP(b))
`picture`: L = sum over y of w_y |R_y resampler(psi) - y|^2; y = b, phi(photo), a thumbnail of the crop

A code is 52 numbers, each a movement of its own, and trains in minutes. That some of the thousands of numbers
of patch features mean a brow and others the hair has to be found, which takes a hundred thousand pictures:
through a U-Net hours, here minutes (ADR 18). `codes` makes features say what the teacher's codes say, and no
more. `picture` makes tokens tell the whole template, who it is included, as those of an adapter do that was
long trained on its own crops; R are fixed random matrices, so that keys and values find all of it along
straight lines. What they use of it is for later stages. Our choice, after Hinton et al. 2015, arXiv
1503.02531.
"""

import functools

import torch
from accelerate.utils import extract_model_from_parallel
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import interpolate, normalize

from emoji_adapter.data.dataset import Rows
from emoji_adapter.faces.pixels import from_bytes
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.training.conditions import template_features
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.stages import StepModels

WEIGHTS = (2.0, 1.0, 0.5)
"""Of blendshapes, identity and thumbnail; our choice."""
THUMBNAIL = 6
"""Side of the thumbnail."""
SPREAD = 4.0
"""Factor that brings blendshapes and colours to a variance of about 1."""


class DistilStage:
    """Trains the expression resampler on own crops and what is known of them.

    Args:
        config: target, and augmentation of the crops.
    """

    branch = "expression_resampler"
    paired = False

    def __init__(self, config: TrainingConfig):
        self.config = config
        self.figures: dict[str, Tensor] = {}

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Return the loss of each row."""
        encoder = models.expression_encoder
        features = template_features(self.config, encoder, rows.crops, draw.generator)
        tokens = models.conditioner(features)
        if self.config.distil == "codes":
            adapter = extract_model_from_parallel(models.conditioner).adapter
            return code_distance(adapter, tokens, rows.blendshapes.float())
        terms = picture_distances(tokens, rows)
        names = ("blendshapes", "identity", "thumbnail")
        self.figures = {name: x.detach().mean() for name, x in zip(names, terms, strict=True)}
        return torch.stack([weight * x for weight, x in zip(WEIGHTS, terms, strict=True)]).sum(0)


def code_distance(
    adapter: EmojiAdapter, tokens: Float[Tensor, "B T D"], codes: Float[Tensor, "B 52"]
) -> Float[Tensor, " B"]:
    """Squared error of keys and values in units of the codes' variance: 1 is the mean of all codes.

    Args:
        adapter: whose keys and values are meant; they do not train.
        tokens: of the pictures.
        codes: the teacher's, of the same pictures.
    """
    with torch.no_grad():
        wanted = adapter.blendshape_tokens_of(codes)
    terms = []
    for matrix in adapter.to_k_expression.matrices() + adapter.to_v_expression.matrices():
        code = wanted @ matrix.T
        spread = (code - code.mean(0)).square().mean().clamp_min(1e-12)
        terms.append((tokens @ matrix.T - code).square().mean((1, 2)) / spread)
    return torch.stack(terms).mean(0)


def picture_distances(tokens: Float[Tensor, "B T D"], rows: Rows) -> list[Float[Tensor, " B"]]:
    """Squared errors of blendshapes, identity and thumbnail, read off the tokens by fixed matrices.

    The identity is another picture's of the same person, as everywhere in training, so that its light and
    its style are not asked for.
    """
    colours = from_bytes(rows.crops) - 0.5
    targets = [
        SPREAD * rows.blendshapes.float(),
        normalize(rows.identity.float(), dim=1) * rows.identity.shape[1] ** 0.5,
        SPREAD * interpolate(colours, (THUMBNAIL, THUMBNAIL), mode="area").flatten(1),
    ]
    flat = tokens.flatten(1)
    return [
        (flat @ _readout(number, flat.shape[1], wanted.shape[1], flat.device) - wanted).square().mean(1)
        for number, wanted in enumerate(targets)
    ]


@functools.lru_cache(maxsize=4)
def _readout(number: int, length: int, width: int, device: torch.device) -> Float[Tensor, "length width"]:
    """The fixed matrix of a target: the same in all processes and runs."""
    drawn = torch.randn(length, width, generator=seeded(Generator(), 0, number))
    return (drawn / length**0.5).to(device)
