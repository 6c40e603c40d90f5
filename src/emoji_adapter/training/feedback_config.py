"""Settings of the feedback stage. No tensor library."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from emoji_adapter.errors import InputError


@dataclass(frozen=True)
class FeedbackConfig:
    """What is drawn, and what is said to it. All values are our choice.

    A weight is that of a mean over the pictures drawn, whatever their share is.
    """

    branch: Literal["identity", "expression", "both"] = "both"
    """What trains."""
    templates: Literal["others", "own"] = "others"
    """Whose expression is asked for: somebody else's, or the person's own, as in same-identity pairs."""
    pack: str = "micro"
    """Face pack that finds the faces and whose recogniser judges them: the one that the set was prepared
    with, by name or folder."""
    teacher: str = "micro"
    """Blendshape teacher, "micro" or an .onnx file: the one that the set was prepared with."""
    detector_size: int | None = None
    """Side that the face finder works at; None = as in `FaceAnalyzer`."""
    detector_threshold: float = 0.1
    """Score above which a face counts as one that can be looked at. Far below the usual 0.5: a face that is
    hardly one has most to learn."""
    share: float = 0.5
    """Share of the rows that are drawn; the others train L_diff on the set's own pictures."""
    steps: int = 8
    """Steps of the drawing."""
    graded_steps: int = 3
    """How many of them, drawn anew each time, gradients flow to. Late ones, too: what a face does is drawn
    there."""
    guidance_scale: float = 1.5
    """Classifier-free guidance of the drawing; 1 is without, and takes half the calls."""
    identity_weight: float = 2.0
    """Weight of 1 - cos(picture, identity photo)."""
    expression_weight: float = 4.0
    """Weight of how far the picture's blendshapes are from the template's, see `FeedbackStage`."""
    jitter: float = 0.05
    """How far the landmarks are moved before the networks look, standard deviation in distances of the eyes:
    a pattern that pleases them at one place only is no expression."""

    name: ClassVar[str] = "feedback"
    """How the settings of a run name these."""

    compile: bool = False
    """Compile the U-Net for the calls without gradients: faster on a CPU, after a minute or two."""

    @property
    def sees_identity(self) -> bool:
        """Whether the recogniser is asked."""
        return self.identity_weight > 0

    @property
    def sees_blendshapes(self) -> bool:
        """Whether the teacher is asked."""
        return self.expression_weight > 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"feedback.share must lie in (0, 1], got {self.share}.")
        for name in ("identity_weight", "expression_weight", "jitter"):
            if getattr(self, name) < 0:
                raise InputError(f"feedback.{name} must be at least 0, got {getattr(self, name)}.")
        if not 0 <= self.detector_threshold <= 1:
            raise InputError(
                f"feedback.detector_threshold must lie in [0, 1], got {self.detector_threshold}."
            )
        if self.guidance_scale < 1:
            raise InputError(f"feedback.guidance_scale must be at least 1, got {self.guidance_scale}.")
        if not 1 <= self.graded_steps <= self.steps:
            raise InputError(
                "feedback.graded_steps must lie between 1 and feedback.steps, "
                f"got {self.graded_steps} of {self.steps}."
            )
