"""What a picture can be asked for in words: styles, background colours, accessories."""

STYLES: tuple[str, ...] = ("photo", "cartoon", "watercolor", "noir", "sepia", "neon")
BACKGROUNDS: tuple[str, ...] = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "gray")
ACCESSORIES: tuple[str, ...] = ("none", "glasses", "hat", "scarf", "earrings")

BACKGROUND_RGB: tuple[tuple[float, float, float], ...] = (
    (0.80, 0.18, 0.20), (0.95, 0.52, 0.15), (0.95, 0.83, 0.28), (0.28, 0.64, 0.32),
    (0.15, 0.66, 0.66), (0.22, 0.40, 0.84), (0.53, 0.28, 0.72), (0.62, 0.63, 0.65),
)  # fmt: skip
"""sRGB in [0, 1], in the order of `BACKGROUNDS`."""
