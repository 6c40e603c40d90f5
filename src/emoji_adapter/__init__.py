"""Identity and expression adapters for Stable Diffusion: any person, any expression, any prompt.

Names are imported when they are first used, so that `import emoji_adapter` loads neither torch nor diffusers.
"""

import importlib
from typing import TYPE_CHECKING, Any

from emoji_adapter.errors import (
    AdapterFormatError,
    AdapterMismatchError,
    DataError,
    EmojiAdapterError,
    FaceError,
    FaceTooSmallError,
    HubError,
    ImageError,
    InputError,
    MissingExtraError,
    NoFaceError,
    SeveralFacesError,
    TrainingError,
    WeightsFormatError,
    WeightsNotFoundError,
)

if TYPE_CHECKING:
    from emoji_adapter.encoders.expression import ExpressionEncoder
    from emoji_adapter.encoders.identity import IdentityEncoder
    from emoji_adapter.faces.analysis import FaceAnalyzer
    from emoji_adapter.faces.crop import ExpressionCrop
    from emoji_adapter.models.adapter import EmojiAdapter
    from emoji_adapter.pipelines.base import EmojiDiffPipeline
    from emoji_adapter.pipelines.people import Person
    from emoji_adapter.pipelines.stable_diffusion import (
        EmojiDiffSDControlNetPipeline,
        EmojiDiffSDImg2ImgPipeline,
        EmojiDiffSDInpaintPipeline,
        EmojiDiffSDPipeline,
    )
    from emoji_adapter.pipelines.stable_diffusion_xl import (
        EmojiDiffSDXLControlNetPipeline,
        EmojiDiffSDXLImg2ImgPipeline,
        EmojiDiffSDXLInpaintPipeline,
        EmojiDiffSDXLPipeline,
    )
    from emoji_adapter.types import Face

__version__ = "0.1.0"

_HOMES = {
    "EmojiAdapter": "emoji_adapter.models.adapter",
    "EmojiDiffPipeline": "emoji_adapter.pipelines.base",
    "EmojiDiffSDControlNetPipeline": "emoji_adapter.pipelines.stable_diffusion",
    "EmojiDiffSDImg2ImgPipeline": "emoji_adapter.pipelines.stable_diffusion",
    "EmojiDiffSDInpaintPipeline": "emoji_adapter.pipelines.stable_diffusion",
    "EmojiDiffSDPipeline": "emoji_adapter.pipelines.stable_diffusion",
    "EmojiDiffSDXLControlNetPipeline": "emoji_adapter.pipelines.stable_diffusion_xl",
    "EmojiDiffSDXLImg2ImgPipeline": "emoji_adapter.pipelines.stable_diffusion_xl",
    "EmojiDiffSDXLInpaintPipeline": "emoji_adapter.pipelines.stable_diffusion_xl",
    "EmojiDiffSDXLPipeline": "emoji_adapter.pipelines.stable_diffusion_xl",
    "ExpressionCrop": "emoji_adapter.faces.crop",
    "ExpressionEncoder": "emoji_adapter.encoders.expression",
    "Face": "emoji_adapter.types",
    "FaceAnalyzer": "emoji_adapter.faces.analysis",
    "IdentityEncoder": "emoji_adapter.encoders.identity",
    "Person": "emoji_adapter.pipelines.people",
}

__all__ = [
    "AdapterFormatError",
    "AdapterMismatchError",
    "DataError",
    "EmojiAdapter",
    "EmojiAdapterError",
    "EmojiDiffPipeline",
    "EmojiDiffSDControlNetPipeline",
    "EmojiDiffSDImg2ImgPipeline",
    "EmojiDiffSDInpaintPipeline",
    "EmojiDiffSDPipeline",
    "EmojiDiffSDXLControlNetPipeline",
    "EmojiDiffSDXLImg2ImgPipeline",
    "EmojiDiffSDXLInpaintPipeline",
    "EmojiDiffSDXLPipeline",
    "ExpressionCrop",
    "ExpressionEncoder",
    "Face",
    "FaceAnalyzer",
    "FaceError",
    "FaceTooSmallError",
    "HubError",
    "IdentityEncoder",
    "ImageError",
    "InputError",
    "MissingExtraError",
    "NoFaceError",
    "Person",
    "SeveralFacesError",
    "TrainingError",
    "WeightsFormatError",
    "WeightsNotFoundError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
