"""What a benchmark asks and what judges read: the inputs of all scores."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cell:
    """One picture that a benchmark asks for.

    Attributes:
        identity: the person, as a cluster number.
        expression: the expression, as a cluster number.
        seed: of the noise; the same in every row.
        prompt: what the adapter is asked for; in some cells its words contradict the template.
        plain_prompt: the same without a word on the face.
        words_prompt: the same with the template's true expression in coarse words.
        style: what the prompt asks for.
        background: what the prompt asks for; None where nobody judges it, as in the following ones.
        accessory: what the prompt asks for, `none` when it names nothing.
        template_style: what the template is drawn in.
        contradicted: the prompt's words contradict the template.
        blendshapes: what the template shows, (k,), in the order of `DRAWN`; where the truth is not known,
            what the judges read in the template takes its place.
        skin: the person's skin numbers, (2,).
        template_skin: those of the template's person, (2,).
        template_pose: yaw, pitch and roll of the template in radians, (3,).
    """

    identity: int
    expression: int
    seed: int
    prompt: str
    plain_prompt: str
    words_prompt: str
    style: str
    background: str | None = None
    accessory: str | None = None
    template_style: str | None = None
    contradicted: bool = False
    blendshapes: np.ndarray | None = None
    skin: np.ndarray | None = None
    template_skin: np.ndarray | None = None
    template_pose: np.ndarray | None = None

    @property
    def same_style(self) -> bool:
        """The template wears the style that the prompt asks for."""
        return self.template_style == self.style


@dataclass(frozen=True)
class Readings:
    """What judges see in n pictures; None stands for what they do not look at.

    Attributes:
        embedding: who it is, (n, d); NaN in a row without a face.
        faces: number of faces found, (n,).
        blendshapes: what the face does, (n, k), those of the micro-world in the order of `DRAWN`.
        style: names, (n,).
        background: names, (n,).
        accessory: names, (n,).
        skin: (n, 2).
        pose: yaw, pitch and roll in radians, (n, 3).
        ratios: landmark ratios of eyes, pupils and mouth, (n, 5), see `metrics.landmarks`.
        clip: embeddings of the pictures by an image-text model, of length 1, (n, d).
    """

    embedding: np.ndarray
    faces: np.ndarray
    blendshapes: np.ndarray | None = None
    style: np.ndarray | None = None
    background: np.ndarray | None = None
    accessory: np.ndarray | None = None
    skin: np.ndarray | None = None
    pose: np.ndarray | None = None
    ratios: np.ndarray | None = None
    clip: np.ndarray | None = None
