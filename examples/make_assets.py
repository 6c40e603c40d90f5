"""How the input pictures in `assets/` were drawn: people and expressions of the micro-world's test split.

python examples/make_assets.py
"""

from pathlib import Path

import torch
from PIL import Image

from emoji_adapter.microworld.splits import expressions, people, pictures
from emoji_adapter.renderer.blendshapes import DRAWN
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.render import render
from emoji_adapter.renderer.vocabulary import BACKGROUNDS, STYLES

ASSETS = Path(__file__).parent / "assets"
SIZE = 256
EXPRESSIONS = (
    {
        "mouthSmileLeft": 1.0,
        "mouthSmileRight": 1.0,
        "jawOpen": 0.7,
        "eyeBlinkLeft": 1.0,
        "browOuterUpRight": 0.7,
    },
    {
        "browDownLeft": 1.0,
        "browDownRight": 1.0,
        "mouthFrownLeft": 0.9,
        "mouthFrownRight": 0.9,
        "eyeSquintLeft": 0.5,
        "eyeSquintRight": 0.5,
    },
    {
        "eyeWideLeft": 1.0,
        "eyeWideRight": 1.0,
        "browOuterUpLeft": 0.9,
        "browOuterUpRight": 0.9,
        "browInnerUp": 0.6,
        "jawOpen": 0.9,
    },
    {
        "tongueOut": 1.0,
        "jawOpen": 0.5,
        "eyeLookOutLeft": 0.9,
        "eyeLookInRight": 0.9,
        "mouthSmileLeft": 0.8,
        "browDownRight": 0.7,
    },
)


def draw(
    identity: torch.Tensor, expression: torch.Tensor, style: str, background: str, row: int
) -> Image.Image:
    """One picture, frontal."""
    scene = pictures("test", 1, seed=40 + row)
    face = FaceParameters(
        identity=identity[None],
        expression=expression[None],
        pose=scene.pose * 0.4 + torch.tensor([0, 0, 0, 0.6, 0, 0]),
        light=scene.light * 0.5,
        style=torch.tensor([STYLES.index(style)]),
        background=torch.tensor([BACKGROUNDS.index(background)]),
        accessory=torch.tensor([0]),
        variation=scene.variation,
    )
    image = render(face, SIZE).image[0]
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def main() -> None:
    """Draw all eight."""
    ASSETS.mkdir(exist_ok=True)
    who, others = people("test", 40, seed=7), people("test", 40, seed=8)
    calm = expressions("test", 4, seed=9) * 0.0
    for number, (row, background) in enumerate(
        zip((3, 12, 21, 30), ("gray", "teal", "orange", "purple"), strict=True)
    ):
        draw(who[row], calm[number], "photo", background, number).save(
            ASSETS / f"identity_{number + 1}.png", optimize=True
        )
    for number, wanted in enumerate(EXPRESSIONS):
        values = torch.tensor([wanted.get(name, 0.0) for name in DRAWN])
        style = ("photo", "photo", "cartoon", "photo")[number]
        picture = draw(
            others[number * 7 + 2], values, style, ("green", "red", "yellow", "blue")[number], 10 + number
        )
        picture.save(ASSETS / f"expression_{number + 1}.png", optimize=True)


if __name__ == "__main__":
    main()
