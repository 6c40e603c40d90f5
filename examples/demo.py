"""One command, from input files to portraits: a portrait, and a grid of four people by four expressions.

python examples/demo.py --out out
"""

import argparse
from pathlib import Path

import torch
from PIL import Image

from emoji_adapter import EmojiDiffPipeline
from emoji_adapter.evaluation.grid import grid

ASSETS = Path(__file__).parent / "assets"


def main() -> None:
    """Draw both and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--steps", type=int, default=25)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    pipe = EmojiDiffPipeline.from_pretrained("micro")
    pipe.load_emoji_adapter("micro")
    people = [Image.open(ASSETS / f"identity_{i}.png") for i in range(1, 5)]
    templates = [Image.open(ASSETS / f"expression_{i}.png") for i in range(1, 5)]

    portrait = pipe(
        "a watercolor portrait, blue background, wearing glasses",
        identity_image=people[0],
        expression=templates[0],
        num_inference_steps=arguments.steps,
        guidance_scale=1.4,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    portrait.resize((512, 512), Image.Resampling.LANCZOS).save(arguments.out / "portrait.png")

    identities = [pipe.encode_identity(person) for person in people]
    expressions = torch.stack([pipe.encode_expression(template) for template in templates])
    rows = []
    for person, identity, style in zip(
        people, identities, ("photo", "cartoon", "watercolor", "neon"), strict=True
    ):
        images = pipe(
            [f"a {style} portrait, teal background"] * len(templates),
            identity_embeds=identity.expand(len(templates), -1),
            expression_embeds=expressions,
            num_inference_steps=arguments.steps,
            guidance_scale=1.4,
            generator=[torch.Generator().manual_seed(1) for _ in templates],
        ).images
        rows.append([person, *images])
    grid([[None, *templates], *rows], tile=160).save(arguments.out / "grid.png")
    print(f"{arguments.out / 'portrait.png'} and {arguments.out / 'grid.png'} are done.")


if __name__ == "__main__":
    main()
