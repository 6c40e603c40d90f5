"""The main job in a few lines: who + which expression + any prompt."""

from pathlib import Path

from emoji_adapter import EmojiDiffPipeline

assets = Path(__file__).parent / "assets"
pipe = EmojiDiffPipeline.from_pretrained("micro")
pipe.load_emoji_adapter("micro")
image = pipe(
    "a cartoon portrait, purple background",
    identity_image=assets / "identity_2.png",
    expression=assets / "expression_3.png",
    num_inference_steps=25,
    guidance_scale=1.4,
).images[0]
Path("out").mkdir(exist_ok=True)
image.save("out/01_text_to_portrait.png")
