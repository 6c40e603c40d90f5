"""Settings of the ICA stage. No tensor library."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from emoji_adapter.errors import InputError


@dataclass(frozen=True)
class ICAConfig:
    """Terms, timesteps and noise of ID-enhanced contrast alignment.

    The papers publish neither weights nor cut-off: all values here are our choice. A weight is that of a mean
    over the rows that carry the term, whatever the shares are.
    """

    branch: Literal["expression", "identity"] = "expression"
    """What trains: the expression branch beside the frozen identity branch, as in EmojiDiff; or the identity
    branch alone, by L_diff and the identity term, before there is an expression (our choice)."""
    pack: str = "micro"
    """Face pack whose recogniser judges the estimate: the one that the set was prepared with, by name or
    folder."""
    teacher: str = "micro"
    """Blendshape teacher, "micro" or an .onnx file: the one that the set was prepared with."""
    estimator: Literal["one_step", "midpoint", "ode_midpoint", "rollout"] = "one_step"
    """How the clean image is estimated, see `training.estimators`."""
    rollout_steps: int = 4
    """Calls of the network of the estimator "rollout"."""
    share: float = 0.5
    """Share of the rows whose estimate is looked at; the others train L_diff at all timesteps, as before."""
    drops: bool = False
    """Those rows lose identity and expression as the others do; else they keep both. Without the identity the
    expression branch is asked who it is, too: what a template tells of that is then not lost."""
    cutoff: float = 0.5
    """The rows looked at draw t below this share of the schedule: later estimates show no face yet."""
    inverted_share: float = 0.0
    """Share of those rows whose noise comes from inverting the target with the current model ("adaptive noise
    inversion"); they leave L_diff out, for such noise depends on the target."""
    inversion_steps: int = 2
    """Steps of the inversion, each one call of the network without gradients."""
    identity_weight: float = 0.1
    """Weight of 1 - cos(estimate with control, identity photo)."""
    contrast_weight: float = 0.1
    """Weight of 1 - cos(estimate with control, estimate without); 0 saves the second forward pass."""
    expression_weight: float = 0.1
    """Weight of the distance between the estimate's expression and the template's."""
    expression_loss: Literal["blendshapes", "features"] = "blendshapes"
    """What that distance is of: the teacher's blendshapes, or the expression encoder's patch features, which
    also carry the template's identity."""
    face_latents: int | None = None
    """Decode only a square of so many latents around the face; None decodes the whole picture."""

    name: ClassVar[str] = "ica"
    """How the settings of a run name these."""

    @property
    def sees_identity(self) -> bool:
        """Whether any term asks the recogniser."""
        return self.identity_weight > 0 or self.contrast_weight > 0

    @property
    def sees_blendshapes(self) -> bool:
        """Whether any term asks the teacher."""
        return self.expression_weight > 0 and self.expression_loss == "blendshapes"

    def __post_init__(self) -> None:
        for name, open_below in (("share", True), ("cutoff", True), ("inverted_share", False)):
            value = getattr(self, name)
            if not (0 < value <= 1 if open_below else 0 <= value <= 1):
                raise InputError(f"ica.{name} must lie in {'(' if open_below else '['}0, 1], got {value}.")
        for name in ("identity_weight", "contrast_weight", "expression_weight"):
            if getattr(self, name) < 0:
                raise InputError(f"ica.{name} must be at least 0, got {getattr(self, name)}.")
        if self.branch == "identity" and (self.contrast_weight or self.expression_weight):
            raise InputError(
                "ica.branch identity trains without an expression, which ica.contrast_weight and "
                "ica.expression_weight are about: set both to 0, "
                f"got {self.contrast_weight} and {self.expression_weight}."
            )
        for name in ("rollout_steps", "inversion_steps", "face_latents"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"ica.{name} must be at least 1, got {value}.")
