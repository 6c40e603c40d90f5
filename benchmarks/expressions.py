"""How far each part of an expression is drawn when asked for alone: `python benchmarks/expressions.py`.

One blendshape at 0.9 and the rest at 0, as `expression_embeds`, for people that training has not drawn, in
all styles; the tongue out of an open mouth. The expression judge reads the part that was asked for, there and
in a face at rest. A part near 0 is one that the adapter has never learnt to draw. --adapter may be repeated;
writes `benchmarks/results/expressions.json` and a picture of the last adapter's parts.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from record import RESULTS, record

from emoji_adapter import EmojiDiffPipeline
from emoji_adapter.config import GUIDANCE
from emoji_adapter.evaluation.grid import grid
from emoji_adapter.microworld.captions import prompt
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.judges import MicroJudges
from emoji_adapter.microworld.splits import people
from emoji_adapter.renderer.blendshapes import ARKIT, DRAWN
from emoji_adapter.renderer.parameters import FaceParameters, sample_scene
from emoji_adapter.renderer.vocabulary import BACKGROUNDS, STYLES

STRENGTH = 0.9
WITH = {"tongueOut": {"jawOpen": 0.6}}
"""What a part does not come without."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapter", action="append", help="micro, a folder, a file or a Hub id")
    parser.add_argument("--checkpoint", default="micro")
    parser.add_argument("--people", type=int, default=len(STYLES), help="each in another style")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seed", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    judges = MicroJudges(device=options.device)
    figures: dict = {key: getattr(options, key) for key in ("people", "steps", "seed")}
    figures["adapters"] = {}
    for name in options.adapter or ["micro"]:
        pipe = EmojiDiffPipeline.from_pretrained(options.checkpoint).to(options.device)
        pipe.load_emoji_adapter(name)
        pipe.set_progress_bar_config(disable=True)
        images = pictures(pipe, options.people, options.steps, options.seed)
        readings = {part: judges.read(shown, count_faces=False).blendshapes for part, shown in images.items()}
        at_rest = readings.pop("at rest")
        figures["adapters"][name] = {
            part: {
                "drawn": round(float(read[:, DRAWN.index(part)].mean()), 3),
                "at_rest": round(float(at_rest[:, DRAWN.index(part)].mean()), 3),
            }
            for part, read in readings.items()
        }
        print(name, {part: found["drawn"] for part, found in figures["adapters"][name].items()})
        sheet(images).save(options.out / "expressions.png")
    print(record("expressions", figures, options.out))


def pictures(pipe: EmojiDiffPipeline, count: int, steps: int, seed: int) -> dict[str, list[Image.Image]]:
    """Portraits of `count` people for every part, and at rest; the noise of a person is always the same."""
    generator = torch.Generator().manual_seed(seed)
    scene = sample_scene(count, generator) | {"style": torch.full((count,), STYLES.index("photo"))}
    faces = FaceParameters(
        identity=people("test", count, seed), expression=torch.zeros(count, len(DRAWN)), **scene
    )
    size = pipe.unet.config.sample_size * pipe.vae_scale_factor
    photos = [Image.fromarray(pixels) for pixels in draw(faces, size, "cpu")]
    identity = torch.stack([pipe.encode_identity(photo) for photo in photos])
    prompts = [
        prompt(STYLES[place % len(STYLES)], BACKGROUNDS[place % len(BACKGROUNDS)]) for place in range(count)
    ]
    found = {}
    for part in ("at rest", *DRAWN):
        asked = {} if part == "at rest" else {part: STRENGTH} | WITH.get(part, {})
        code = torch.tensor([asked.get(name, 0.0) for name in ARKIT])
        found[part] = pipe(
            prompts,
            identity_embeds=identity,
            expression_embeds=code.expand(count, -1),
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(seed + place) for place in range(count)],
        ).images
    return found


def sheet(images: dict[str, list[Image.Image]], columns: int = 3) -> Image.Image:
    """The parts in blocks side by side, each with its name and the same people."""
    names = list(images)
    lines = -(-len(names) // columns)
    blocks = [
        grid(
            [images[name] for name in names[start : start + lines]],
            rows=names[start : start + lines],
            tile=64,
        )
        for start in range(0, len(names), lines)
    ]
    whole = Image.new("RGB", (sum(b.width for b in blocks), max(b.height for b in blocks)), "white")
    for place, block in enumerate(blocks):
        whole.paste(block, (sum(b.width for b in blocks[:place]), 0))
    return whole


if __name__ == "__main__":
    main()
