"""One call, several prompts, each with its own person and expression; pictures are encoded once."""

from pathlib import Path

import torch

from emoji_adapter import EmojiDiffPipeline

assets = Path(__file__).parent / "assets"
pipe = EmojiDiffPipeline.from_pretrained("micro")
pipe.load_emoji_adapter("micro")
identities = torch.stack([pipe.encode_identity(assets / f"identity_{i}.png") for i in (1, 2)])
expressions = torch.stack([pipe.encode_expression(assets / f"expression_{i}.png") for i in (4, 2)])
images = pipe(
    ["a watercolor portrait, orange background", "a noir portrait, gray background"],
    identity_embeds=identities,
    expression_embeds=expressions,
    num_inference_steps=20,
    guidance_scale=1.4,
).images
Path("out").mkdir(exist_ok=True)
for number, image in enumerate(images, 1):
    image.save(f"out/03_person_{number}.png")
