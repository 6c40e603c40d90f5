"""Names of the expression parameters: ARKit's 52 blendshapes and those that the renderer draws."""

_SIDES = ("Left", "Right")

ARKIT: tuple[str, ...] = (
    *(f"eye{part}{side}" for side in _SIDES for part in
      ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")),
    "jawForward", "jawLeft", "jawRight", "jawOpen",
    "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""All 52 in Apple's order; Left and Right are the subject's own (Left is on the viewer's right)."""

DRAWN: tuple[str, ...] = (
    *(f"eye{part}{side}" for side in _SIDES for part in
      ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")),
    "jawLeft", "jawRight", "jawOpen", "mouthPucker",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthStretchLeft", "mouthStretchRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""The 33 that the renderer draws; the order of `FaceParameters.expression`."""

DRAWN_INDEX: tuple[int, ...] = tuple(ARKIT.index(name) for name in DRAWN)
"""Positions of `DRAWN` in `ARKIT`."""
