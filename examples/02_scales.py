"""Two dials: how strongly the identity and how strongly the expression acts."""

from pathlib import Path

import torch

from emoji_adapter import EmojiDiffPipeline
from emoji_adapter.evaluation.grid import grid

assets = Path(__file__).parent / "assets"
pipe = EmojiDiffPipeline.from_pretrained("micro")
pipe.load_emoji_adapter("micro")
rows = []
for identity in (0.0, 0.5, 1.0):
    row = []
    for expression in (0.0, 0.5, 1.0):
        pipe.set_emoji_adapter_scale(identity=identity, expression=expression)
        row += pipe(
            "a photo portrait, green background",
            identity_image=assets / "identity_3.png",
            expression=assets / "expression_1.png",
            num_inference_steps=20,
            guidance_scale=1.4,
            generator=torch.Generator().manual_seed(0),
        ).images
    rows.append(row)
Path("out").mkdir(exist_ok=True)
names = ("0", "0.5", "1")
grid(rows, [f"expression {n}" for n in names], [f"identity {n}" for n in names]).save("out/02_scales.png")
