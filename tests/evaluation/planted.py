"""An evaluation whose figures are known beforehand."""

import numpy as np
from PIL import Image

from emoji_adapter.evaluation.judged import Judged, Row
from emoji_adapter.evaluation.plan import ADAPTER
from emoji_adapter.metrics.records import Cell, Readings

PEOPLE, EXPRESSIONS, STYLES = 4, 3, ("noir", "neon")
EXP_WITHOUT, EXP_ORACLE, EXP_ADAPTER = 0.25, 0.05, 0.10
SKIN_FOLLOWED, POSE_FOLLOWED = 0.2, 0.5
ID_ADAPTER, LEAK_ADAPTER = 0.8, 0.6


def cells() -> list[Cell]:
    rng = np.random.default_rng(0)
    found = []
    for person, expression, style in np.ndindex(PEOPLE, EXPRESSIONS, len(STYLES)):
        same = (person + expression + style) % 2 == 0
        found.append(
            Cell(
                identity=person,
                expression=expression,
                seed=len(found),
                prompt="p",
                plain_prompt="q",
                words_prompt="r",
                style=STYLES[style],
                background="red",
                accessory="hat" if expression == 0 else "none",
                template_style=STYLES[style] if same else STYLES[1 - style],
                contradicted=person == 0,
                blendshapes=rng.uniform(0.3, 0.7, 33),
                skin=rng.uniform(-1, 1, 2),
                template_skin=rng.uniform(-1, 1, 2),
                template_pose=rng.uniform(-0.3, 0.3, 3),
            )
        )
    return found


def judged() -> Judged:
    """Template people are orthogonal to all others; only the adapter shows any of them."""
    asked = cells()
    n = len(asked)
    axes = np.eye(PEOPLE + n)
    people = axes[[cell.identity for cell in asked]]
    strangers = axes[PEOPLE:]
    skin = np.stack([cell.skin for cell in asked])
    pose = np.zeros((n, 3))
    template_skin = np.stack([cell.template_skin for cell in asked])
    template_pose = np.stack([cell.template_pose for cell in asked])
    picture = Image.new("RGB", (16, 16), "teal")

    def read(embedding: np.ndarray, error: float, share: float = 0.0) -> Readings:
        return Readings(
            embedding=embedding,
            blendshapes=np.stack([cell.blendshapes for cell in asked]) + error,
            style=np.array([cell.style if share == 0 or cell.same_style else "photo" for cell in asked]),
            background=np.array(["red"] * n),
            accessory=np.array(["hat"] * n),
            skin=skin + share * SKIN_FOLLOWED * (template_skin - skin),
            pose=pose + share * POSE_FOLLOWED * (template_pose - pose),
            faces=np.array([1] * (n - 6) + [0, 0, 0, 2, 2, 2]),
        )

    plain, free = read(strangers[::-1], 0.3), read(people, EXP_WITHOUT)
    alone = read(strangers, EXP_ADAPTER)
    dual = read(ID_ADAPTER * people + LEAK_ADAPTER * strangers, EXP_ADAPTER, 1.0)
    oracle = read(people, EXP_ORACLE)
    pictures = [picture] * n
    rows = [
        Row("plain", pictures, plain, "plain"),
        Row("identity only", pictures, free, "identity"),
        Row("expression only", pictures, alone, "expression", own=plain),
        Row("oracle", pictures, oracle, "oracle"),
        Row("oracle through autoencoder", pictures, oracle, "autoencoder"),
        Row(ADAPTER, pictures, dual, own=free, identity_off=alone),
    ]
    inputs = read(people, 0.0), read(strangers, 0.0)
    return Judged(asked, *inputs, [(picture, picture)] * n, rows, refused=2)
