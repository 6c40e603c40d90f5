"""The judges: networks that score pictures and do nothing else (invariant: judges are not teachers).

Three readings of a picture: who it is, what the face does, and the scene around it. They find the face
themselves and share neither architecture, data seed nor loss with the networks that condition or filter.
"""

import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from emoji_adapter.errors import WeightsNotFoundError
from emoji_adapter.microworld.networks.localiser import FaceLocaliser
from emoji_adapter.microworld.networks.margin import MarginHead
from emoji_adapter.microworld.networks.plain import PlacePool, PlainTrunk
from emoji_adapter.microworld.networks.softening import soften
from emoji_adapter.renderer.blendshapes import DRAWN
from emoji_adapter.renderer.parameters import IDENTITY_NAMES, FaceParameters
from emoji_adapter.renderer.render import Rendered
from emoji_adapter.renderer.vocabulary import ACCESSORIES, BACKGROUNDS, STYLES

SKIN_NAMES = ("skin_tone", "skin_hue")
"""The identity numbers that are skin."""


J = TypeVar("J", bound="Judge")


class Judge(nn.Module, ABC):
    """What the judges have in common: how they are kept on disk.

    A judge is two files: `{name}.safetensors` with the weights in half precision and `{name}.json` with the
    arguments of its constructor and what its outputs stand for.
    """

    name: ClassVar[str]

    @abstractmethod
    def meaning(self) -> dict[str, Any]:
        """What the outputs stand for, in order; recorded on disk and compared when loading."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The arguments that make an equal network."""

    def save(self, folder: str | Path) -> None:
        """Write both files into a folder, each under a temporary name first.

        Args:
            folder: made if it is missing.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {key: value.detach().half().contiguous().cpu() for key, value in self.state_dict().items()}
        record = {"judge": self.name, "arguments": self.arguments(), "meaning": self.meaning()}
        files = {suffix: folder / f".{self.name}.{suffix}.part" for suffix in ("safetensors", "json")}
        files["safetensors"].write_bytes(save(weights, {"judge": self.name}))
        files["json"].write_text(json.dumps(record, indent=2) + "\n")
        for suffix, part in files.items():
            os.replace(part, folder / f"{self.name}.{suffix}")

    @classmethod
    def load(cls: type[J], folder: str | Path, device: torch.device | str = "cpu") -> J:
        """Read a judge in full precision, ready to score.

        Args:
            folder: where `save` wrote.
            device: where the network goes.

        Raises:
            WeightsNotFoundError: a file is missing, or was made for other styles, blendshapes or the like.
        """
        folder = Path(folder)
        weights, config = folder / f"{cls.name}.safetensors", folder / f"{cls.name}.json"
        for file in (weights, config):
            if not file.is_file():
                raise WeightsNotFoundError(
                    f"The {cls.name} judge misses {file}. Make it with `emoji-adapter microworld build`, or "
                    "clone the repository with its weights/ folder."
                )
        record = json.loads(config.read_text())
        judge = cls(**record["arguments"])
        if record["meaning"] != judge.meaning():
            raise WeightsNotFoundError(
                f"The {cls.name} judge in {folder} answers {record['meaning']}, but this version of "
                f"emoji_adapter draws {judge.meaning()}. Build the judges anew with "
                "`emoji-adapter microworld build`."
            )
        judge.load_state_dict({key: value.float() for key, value in load_file(weights).items()})
        return judge.to(device).eval().requires_grad_(False)


class IdentityJudge(Judge):
    """Who it is, whatever the expression, pose, light, style, background and accessory.

    Args:
        width: length of the embedding.
    """

    name = "identity"

    def __init__(self, width: int = 256):
        super().__init__()
        self.width = width
        self.localiser = FaceLocaliser(zoom=0.7)
        self.trunk = PlainTrunk((24, 48, 96, 160))
        self.pool = PlacePool(160, width)

    def meaning(self) -> dict[str, Any]:
        """See `Judge.meaning`."""
        return {"embedding": self.width}

    def arguments(self) -> dict[str, Any]:
        """See `Judge.arguments`."""
        return {"width": self.width}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Embed pictures.

        Args:
            images: RGB in [0, 1], any size, one face each.

        Returns:
            Embeddings of length 1; their dot product is the cosine.
        """
        return self._embed(self.localiser(images))

    def _embed(self, crops: Float[Tensor, "b 3 96 96"]) -> Float[Tensor, "b d"]:
        return functional.normalize(self.pool(self.trunk(crops)).float(), dim=-1)

    def loss(
        self,
        parameters: FaceParameters,
        rendered: Rendered,
        index: Int[Tensor, " b"],
        head: MarginHead,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Tell the training people apart by a margin, and find their faces.

        Args:
            parameters: what was drawn; not looked at, present so that all judges are trained by one call.
            rendered: the drawing.
            index: place of each picture's person in the table of training people.
            head: the class weights; trained beside the judge, never shipped.
            generator: source of chance for the softening.
        """
        crops, lost = self.localiser.lesson(soften(rendered.image, generator), rendered, generator)
        return head(self._embed(crops), index) + lost


class ExpressionJudge(Judge):
    """What the face does: the drawn blendshapes."""

    name = "expression"

    def __init__(self):
        super().__init__()
        self.localiser = FaceLocaliser(zoom=0.8)
        self.trunk = PlainTrunk((24, 48, 96, 160))
        self.pool = PlacePool(160, len(DRAWN))

    def meaning(self) -> dict[str, Any]:
        """See `Judge.meaning`."""
        return {"blendshapes": list(DRAWN)}

    def arguments(self) -> dict[str, Any]:
        """See `Judge.arguments`."""
        return {}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Read the blendshapes, in the order of `DRAWN`.

        Args:
            images: RGB in [0, 1], any size, one face each.

        Returns:
            Activations, 0 to 1.
        """
        return self.pool(self.trunk(self.localiser(images))).float().sigmoid()

    def loss(
        self, parameters: FaceParameters, rendered: Rendered, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """Cross-entropy and squared error of what was drawn, and the loss of finding the face.

        Most activations are 0: a mean absolute error would learn to say 0. The weights are our choice.
        """
        crops, lost = self.localiser.lesson(soften(rendered.image, generator), rendered, generator)
        logits, truth = self.pool(self.trunk(crops)).float(), parameters.expression
        entropy = functional.binary_cross_entropy_with_logits(logits, truth)
        return entropy + 4 * functional.mse_loss(logits.sigmoid(), truth) + lost


@dataclass(frozen=True)
class SceneReading:
    """What the scene judge sees in a batch of B pictures.

    Attributes:
        style: logits over `STYLES`, [B, 6].
        background: logits over `BACKGROUNDS`, [B, 8].
        accessory: logits over `ACCESSORIES`, [B, 5].
        skin: tone and hue as drawn, [B, 2], -1 to 1.
        pose: yaw, pitch and roll in radians, [B, 3].
    """

    style: Tensor
    background: Tensor
    accessory: Tensor
    skin: Tensor
    pose: Tensor


class SceneJudge(Judge):
    """Everything around the two: style, background, accessory, and the skin and pose that must not leak."""

    name = "scene"

    def __init__(self):
        super().__init__()
        self.trunk = PlainTrunk((16, 32, 64, 96))
        self.pool = PlacePool(96, 64)
        self.read = nn.Linear(160, sum(self._sizes()))

    @staticmethod
    def _sizes() -> tuple[int, int, int, int, int]:
        return len(STYLES), len(BACKGROUNDS), len(ACCESSORIES), len(SKIN_NAMES), 3

    def meaning(self) -> dict[str, Any]:
        """See `Judge.meaning`."""
        return {"style": list(STYLES), "background": list(BACKGROUNDS), "accessory": list(ACCESSORIES)}

    def arguments(self) -> dict[str, Any]:
        """See `Judge.arguments`."""
        return {}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> SceneReading:
        """Read the scene of pictures, RGB in [0, 1], any size."""
        features = self.trunk(images)
        pooled = torch.cat([features.mean((2, 3)), self.pool(features)], dim=-1)
        return SceneReading(*self.read(pooled).float().split(self._sizes(), dim=-1))

    def loss(
        self, parameters: FaceParameters, rendered: Rendered, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """Cross-entropies of the three classes plus errors of skin and pose; the weights are our choice."""
        reading = self(soften(rendered.image, generator))
        classes = (
            functional.cross_entropy(reading.style, parameters.style)
            + functional.cross_entropy(reading.background, parameters.background)
            + functional.cross_entropy(reading.accessory, parameters.accessory)
        )
        skin = functional.smooth_l1_loss(reading.skin, skin_of(parameters), beta=0.1)
        pose = functional.smooth_l1_loss(reading.pose, parameters.pose[:, :3], beta=0.1)
        return classes + 2 * skin + 4 * pose


def skin_of(parameters: FaceParameters) -> Float[Tensor, "b 2"]:
    """Skin tone and hue as drawn, each -1 to 1."""
    return parameters.identity[:, [IDENTITY_NAMES.index(name) for name in SKIN_NAMES]]
