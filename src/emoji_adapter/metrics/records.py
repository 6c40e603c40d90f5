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
        background: what the prompt asks for.
        accessory: what the prompt asks for, `none` when it names nothing.
        template_style: what the template is drawn in.
        contradicted: the prompt's words contradict the template.
        blendshapes: what the template shows, (33,), in the order of `DRAWN`.
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
    background: str
    accessory: str
    template_style: str
    contradicted: bool
    blendshapes: np.ndarray
    skin: np.ndarray
    template_skin: np.ndarray
    template_pose: np.ndarray

    @property
    def same_style(self) -> bool:
        """The template wears the style that the prompt asks for."""
        return self.template_style == self.style


@dataclass(frozen=True)
class Readings:
    """What judges see in n pictures.

    Attributes:
        embedding: who it is, (n, d).
        blendshapes: what the face does, (n, 33), in the order of `DRAWN`.
        style: names, (n,).
        background: names, (n,).
        accessory: names, (n,).
        skin: (n, 2).
        pose: yaw, pitch and roll in radians, (n, 3).
        faces: number of faces found, (n,).
    """

    embedding: np.ndarray
    blendshapes: np.ndarray
    style: np.ndarray
    background: np.ndarray
    accessory: np.ndarray
    skin: np.ndarray
    pose: np.ndarray
    faces: np.ndarray
