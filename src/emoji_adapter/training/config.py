"""Settings of a training run, from the packaged recipes or any YAML. No tensor library."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Literal

from emoji_adapter.config import load_config, recipe_path, to_mapping
from emoji_adapter.errors import InputError
from emoji_adapter.training.feedback_config import FeedbackConfig as FeedbackConfig
from emoji_adapter.training.ica_config import ICAConfig as ICAConfig
from emoji_adapter.training.takes_config import TakesConfig as TakesConfig


@dataclass(frozen=True)
class AdapterConfig:
    """Shape of a new adapter.

    Where training starts from another adapter (`TrainingConfig.start`) that one's shape counts, but for
    `second_recogniser`.
    """

    identity_layers: tuple[str, ...] | None = None
    """Patterns of the layers that hear the identity, see `models.layers.select`; None = the family's own."""
    expression_layers: tuple[str, ...] | None = None
    """Patterns of the layers that hear the expression; None likewise."""
    identity_tokens: int = 4
    """Tokens that the identity embedding becomes; 4 as in IP-Adapter-FaceID."""
    identity_width: int = 1024
    """Hidden layer of the identity projection."""
    second_recogniser: str | None = None
    """Id of the recogniser whose embedding stands beside the face pack's (compound), as `prepare` recorded
    it; each embedding then becomes `identity_tokens` tokens. None = the face pack's alone. An adapter of one
    recogniser that training starts from gets it beside (`models.layer_choice.with_second_recogniser`)."""
    identity_lora_rank: int | None = None
    """Rank of a LoRA in the identity layers that trains with the identity branch and acts while an identity
    does; None = none. IP-Adapter-FaceID: 128, in self-attention too. One process only."""
    expression_tokens: int = 16
    """Tokens that the expression becomes; as in IP-Adapter Plus."""
    resampler_width: int = 768
    """Inner width of the expression resampler."""
    resampler_depth: int | None = None
    """Layers of the expression resampler; None = the default of the U-Net's family."""
    resampler_heads: int = 12
    """Attention heads of the expression resampler."""
    resampler_mult: int = 4
    """Feed-forward width of the resampler in multiples of its inner width."""
    blendshape_width: int | None = None
    """Hidden layer of the blendshape projection; None = the default of the U-Net's family."""
    kv_rank: int | None = None
    """Rank of the key and value projections; 0 = full, None = the default of the U-Net's family."""


@dataclass(frozen=True)
class DropConfig:
    """Shares of the rows that lose a condition; the cases exclude each other, the rest keeps everything.

    A dropped text is the embedding of the empty prompt; a dropped identity or expression is an absent branch
    (V = 0), exactly what the negative half sees under guidance. A row without the branch in training is the
    frozen U-Net alone and teaches nothing, so such shares are 0 by default; they exist for stages that
    train more.
    """

    text: float = 0.10
    """The text alone."""
    identity: float = 0.0
    """The identity alone."""
    expression: float = 0.0
    """The expression alone."""
    text_and_identity: float = 0.0
    """Text and identity: the expression stands alone."""
    text_and_expression: float = 0.0
    """Text and expression: the identity stands alone."""
    everything: float = 0.0
    """Text, identity and expression."""

    def __post_init__(self) -> None:
        shares = [getattr(self, item.name) for item in fields(self)]
        if min(shares) < 0 or sum(shares) > 1:
            raise InputError(
                f"The drop shares must be at least 0 and add up to at most 1, got {to_mapping(self)}."
            )


@dataclass(frozen=True)
class AugmentationConfig:
    """How far a template is changed, each drawn evenly from -x to x. No flips: left and right are labels."""

    brightness: float = 0.25
    """Shift of the brightness, of the full range."""
    contrast: float = 0.3
    """Relative change of the contrast."""
    saturation: float = 0.6
    """Relative change of the saturation."""
    hue: float = 0.12
    """Turn of the hue, in full turns."""
    rotation: float = 6.0
    """Rotation in degrees."""
    scale: float = 0.08
    """Relative change of the size."""
    shift: float = 0.05
    """Shift along each axis, of the width."""


@dataclass(frozen=True)
class PreviewConfig:
    """The grid of pictures drawn while training, by the EMA weights, through the real pipeline."""

    prompts: tuple[str, ...] = (
        "a photo portrait, blue background",
        "a watercolor portrait, green background",
    )
    """One block of the grid each."""
    identities: int = 3
    """Rows of a block."""
    expressions: int = 4
    """Columns of a block; the identity stage draws as many seeds instead."""
    steps: int = 20
    """Denoising steps of a preview."""
    guidance_scale: float | None = None
    """Classifier-free guidance of a preview; None = see `pipelines.guidance`."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run; on a CPU the same settings and data give the same weights."""

    stage: Literal[
        "identity",
        "expression",
        "takes",
        "distil",
        "ica",
        "feedback",
        "stock_identity",
        "stock_expression",
    ]
    """What is trained: the identity branch; the expression branch beside a frozen identity branch, on its own
    pictures, on pairs of takes, or with the identity of clean-image estimates aligned (`training.ica`); its
    resampler alone, without a U-Net (`training.distil`); a trained adapter on what it draws
    (`training.feedback`); or either branch by itself as IP-Adapter does (`training.stock`)."""
    recipe: str = "custom"
    """Name recorded in the adapter's metadata."""
    checkpoint: str = "micro"
    """Stable Diffusion checkpoint: "micro", a folder, or a Hub id."""
    expression_encoder: str = "micro"
    """Expression encoder: "micro", a folder, or a Hub id."""
    start: str | None = None
    """Adapter to start from (folder, file, Hub id or "micro"); None = a new one. The stages that train the
    expression branch need one."""
    fresh: tuple[str, ...] = ()
    """What begins anew, of the adapter to start from: "identity", "expression", or modules of theirs."""
    trains: tuple[str, ...] = ()
    """Modules of the stage's branch that train, e.g. "second_identity_projection"; none = all."""
    layers: tuple[str, ...] | None = None
    """Patterns of the layers that hear the expression, as `emoji-adapter probe` chooses them; an adapter to
    start from is cut down to them. None = those of that adapter, or `adapter.expression_layers`."""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    """Shape of a new adapter."""
    seed: int = 0
    """Seed of every draw; the draws of step i depend on (seed, i, process) only."""
    steps: int = 1000
    """Optimiser steps."""
    minutes: float | None = None
    """Wall-clock budget: after 120 steps `steps` is lowered to what fits. Then the run depends on the
    speed."""
    batch: int = 16
    """Rows per process and forward pass."""
    accumulate: int = 1
    """Forward passes per optimiser step."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    warmup: int = 100
    """Steps of linear warm-up."""
    final_learning_rate: float = 0.0
    """Share of the peak that the cosine ends at."""
    weight_decay: float = 0.01
    """AdamW weight decay; IP-Adapter's value."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW betas."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    ema: float = 0.999
    """Decay of the averaged weights, reached by (1 + step) / (10 + step)."""
    min_snr_gamma: float | None = None
    """Min-SNR loss weight (Hang et al. 2023, arXiv 2303.09556); None = all timesteps weigh the same."""
    timestep_shift: float = 1.0
    """How much oftener timesteps of high noise are drawn, see `shifted`."""
    face_weight: float = 0.0
    """How much more the places around eyes and mouth weigh, see `face_weight`."""
    blendshape_share: float = 0.3
    """Share of the rows whose expression comes as 52 blendshapes instead of a picture (expression stage)."""
    compound_share: float = 0.0
    """Share of the rows whose expression comes as both, a compound embedding; above 0 the adapter then reads
    pictures with the set's blendshape teacher too."""
    one_recogniser_share: float = 0.4
    """Share of the rows in which a compound identity loses one of its two embeddings, either as often, so
    that none dominates: in the identity stage, and where ICA trains the identity branch."""
    drops: DropConfig = field(default_factory=DropConfig)
    """Conditions that are left out."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """Changes to the template pictures."""
    distil: Literal["codes", "picture"] = "codes"
    """What is distilled: codes alone, or all that a template tells."""
    takes: TakesConfig = field(default_factory=TakesConfig)
    """The takes stage."""
    ica: ICAConfig = field(default_factory=ICAConfig)
    """The ICA stage."""
    feedback: FeedbackConfig = field(default_factory=FeedbackConfig)
    """The feedback stage."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic; auto = bf16 on an accelerator and on a CPU that multiplies it faster (AVX-512 BF16), else
    fp32. The adapter's own weights stay fp32."""
    compile: bool = False
    """Compile the U-Net; pays on a GPU for runs of over ten thousand steps."""
    gradient_checkpointing: bool = False
    """Keep only the inputs of the U-Net's blocks (and the autoencoder's, where a loss looks at pictures) and
    compute the rest again in the backward pass: a third more work for a fraction of the memory (Chen et al.
    2016, arXiv 1604.06174). The loss and the gradients are the same."""
    resident: bool = True
    """Keep the whole prepared set on the training device; False leaves it in main memory."""
    log_every: int = 50
    """Steps between log lines; nothing waits for the device in between."""
    preview_every: int = 500
    """Steps between previews; 0 = none."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints kept."""
    preview: PreviewConfig = field(default_factory=PreviewConfig)
    """The previews."""

    def __post_init__(self) -> None:
        self._check_positive(
            "steps",
            "batch",
            "accumulate",
            "log_every",
            "checkpoint_every",
            "keep",
            "learning_rate",
            "timestep_shift",
        )
        shares = (self.blendshape_share, self.compound_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise InputError(
                "blendshape_share and compound_share must be at least 0 and add up to at most 1, "
                f"got {shares[0]} and {shares[1]}."
            )
        if not 0 <= self.one_recogniser_share <= 1:
            raise InputError(f"one_recogniser_share must lie in [0, 1], got {self.one_recogniser_share}.")
        if self.stage.startswith("stock") and self.adapter.second_recogniser is not None:
            raise InputError(
                f"A stock IP-Adapter reads one embedding, but adapter.second_recogniser is "
                f"{self.adapter.second_recogniser!r}. Leave it out in the stage {self.stage}."
            )
        if self.face_weight < 0:
            raise InputError(f"face_weight must be 0 or above, got {self.face_weight}.")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema must lie in [0, 1), got {self.ema}.")
        before = {
            "expression": "identity",
            "takes": "identity",
            "distil": "expression",
            "ica": "expression",
            "feedback": "expression",
            "stock_expression": "stock_identity",
        }
        alone = self.stage == "ica" and self.ica.branch == "identity"
        if self.stage in before and self.start is None and not alone:
            first = before[self.stage]
            raise InputError(
                f"The {self.stage} stage trains beside a frozen, trained identity branch: set start to the "
                f"adapter of the {first} stage, e.g. --set start=runs/{first}/adapter."
            )

    def _check_positive(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}.")


def load_recipe(recipe: str | Path, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Read a packaged recipe by name, or a YAML file, with `key=value` overrides.

    Raises:
        InputError: no such recipe or file, an unknown key, or a value out of range.
    """
    return load_config(TrainingConfig, recipe_path(recipe, recipes_folder()), overrides)


def recipe_names() -> list[str]:
    """Names of the packaged recipes."""
    return sorted(path.stem for path in recipes_folder().glob("*.yaml"))


def recipes_folder() -> Path:
    """Folder of the packaged recipes."""
    return Path(str(resources.files("emoji_adapter") / "training" / "recipes"))
