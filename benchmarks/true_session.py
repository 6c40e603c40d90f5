"""A run on SD1.5 or SDXL that is ready to step, at true sizes: loop, stages and optimiser are the real ones.

Weights and data are noise, or fake tensors without memory. Only what cannot be had is left out: files, the
face finder (its landmarks are the set's) and the accelerator.
"""

import contextlib
import copy
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from true_sizes import CONFIGS, TEXT_TOKENS, Recogniser, Teacher, networks

import emoji_adapter.encoders.expression as expression_module
import emoji_adapter.faces.batched as batched
import emoji_adapter.training.augment as augment_module
import emoji_adapter.training.draws as draws
from emoji_adapter.data.dataset import PreparedSet, Rows
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.training.conditions import Conditioner
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.critics import Critics
from emoji_adapter.training.feedback import FeedbackStage
from emoji_adapter.training.ica import ICAStage
from emoji_adapter.training.losses import Diffusion
from emoji_adapter.training.processes import make_accelerator
from emoji_adapter.training.registry import STAGES
from emoji_adapter.training.session import Session, new_adapter
from emoji_adapter.training.stages import Stage, StepModels
from emoji_adapter.training.state import RunState
from emoji_adapter.training.weights import MovingAverage, freeze_all_but

CACHES = (
    batched._arcface_template_on,
    batched._crop_on,
    expression_module._per_channel,
    augment_module._constants,
    draws._drop_table,
)
"""What keeps tensors from one step to the next."""


class TrueSession(Session):
    """A session that computes as a card does: bfloat16 with fused attention, on whatever device."""

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """As on an accelerator."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.pipe.unet.dtype == torch.bfloat16)


class Noise(PreparedSet):
    """A prepared set of random rows.

    Args:
        family: whose latents and text.
    """

    def __init__(self, family: str):
        vars(self).update(family=family, meta=types.SimpleNamespace(identity_encoder="buffalo_l"))

    def sample(self, batch: int, generator: Generator, *, takes: bool = False) -> Rows:
        """Rows in the dtypes of a prepared set, which stays in main memory; a face fills its middle."""
        config = CONFIGS[self.family]
        side, width = config["sample_size"], config["cross_attention_dim"]
        pooled = 1280 if self.family == "sdxl" else None

        def half(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator).half()

        face = torch.tensor([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.42, 0.6], [0.58, 0.6]])
        return Rows(
            latents=half(batch, 4, side, side),
            text=half(batch, TEXT_TOKENS, width),
            empty=half(TEXT_TOKENS, width),
            identity=half(batch, 512),
            crops=torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8, generator=generator),
            blendshapes=half(batch, 52),
            landmarks=(8 * side * face).repeat(batch, 1, 1),
            pooled=None if pooled is None else half(batch, pooled),
            empty_pooled=None if pooled is None else half(pooled),
        )


class GivenFaces(FeedbackStage):
    """Feedback without a face finder, which works on the CPU and passes no gradients."""

    def __init__(self, config: TrainingConfig, critics: Critics):
        super().__init__(config, critics, FaceAnalyzer.__new__(FaceAnalyzer))

    def _landmarks(self, images: Tensor, instead: Tensor) -> tuple[Tensor, Tensor]:
        return instead.float(), torch.ones(len(images), dtype=torch.bool)


@dataclass(frozen=True)
class Parts:
    """Networks on the meta device, in the dtypes and layouts that training holds them in.

    Attributes:
        family: "sd15" or "sdxl".
        frozen: of the pipeline, with the expression encoder.
        encoder: around that one.
        adapter: which trains.
        preview: its copy in the pipeline.
        critics: the face pack's recogniser and a teacher.
    """

    family: str
    frozen: dict[str, nn.Module]
    encoder: ExpressionEncoder
    adapter: Any
    preview: Any
    critics: Critics

    @classmethod
    def of(cls, family: str, config: TrainingConfig, dtype: torch.dtype, *, card: bool) -> "Parts":
        """Make them.

        Args:
            family: "sd15" or "sdxl".
            config: of the run.
            dtype: of the pipeline's networks; all others are in float32.
            card: lay the U-Net out as on CUDA.
        """
        with torch.device("meta"):
            frozen = networks(family)
            encoder = ExpressionEncoder(frozen["expression_encoder"], id="ViT-H")
            adapter = new_adapter(config, frozen["unet"], encoder, Noise(family))
            critics = Critics(Recogniser(), Teacher())
        for name, network in frozen.items():
            if name != "expression_encoder":
                nn.Module.to(network, dtype)
        if card:
            frozen["unet"].to(memory_format=torch.channels_last)
        return cls(family, frozen, encoder, adapter, copy.deepcopy(adapter).requires_grad_(False), critics)

    def held(self, config: TrainingConfig) -> dict[str, nn.Module]:
        """All networks that a stage has on its device, by name."""
        held = {**self.frozen, "adapter": self.adapter, "preview": self.preview}
        if config.stage in ("ica", "feedback"):
            held |= {"recogniser": self.critics.recogniser, "teacher": self.critics.teacher}
        return held


def open_true(parts: Parts, config: TrainingConfig, fill: Callable[[Tensor], Tensor]) -> Session:
    """Open a run as `training.session.open_session` does.

    Args:
        parts: networks, which get their tensors.
        config: of the run.
        fill: from a tensor without memory to one like it.
    """
    for network in parts.held(config).values():
        materialise(network, fill)
    unet, vae, adapter = parts.frozen["unet"], parts.frozen["vae"], parts.adapter
    parts.preview.attach(unet)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
        vae.enable_gradient_checkpointing()
    stage = make_stage(config, parts.critics)
    trained = freeze_all_but(adapter, stage.branch)
    optimizer = torch.optim.AdamW(list(trained.values()), lr=config.learning_rate, fused=True)
    return TrueSession(
        config=config,
        accelerator=make_accelerator("cpu"),
        data=Noise(parts.family),
        pipe=types.SimpleNamespace(unet=unet, vae=vae),
        stage=stage,
        models=StepModels(
            unet=unet,
            conditioner=Conditioner(adapter.train()),
            diffusion=Diffusion(torch.linspace(0.99, 0.005, 1000), "epsilon"),
            expression_encoder=parts.encoder,
            vae=vae,
        ),
        state=RunState(adapter, trained, MovingAverage(trained, config.ema), optimizer, 0, config.steps),
        rows_generator=Generator(),
        generator=Generator(),
    )


def make_stage(config: TrainingConfig, critics: Critics) -> Stage:
    """As `training.registry.make_stage`, with critics that are there."""
    if config.stage == "ica":
        return ICAStage(config, critics)
    if config.stage == "feedback":
        return GivenFaces(config, critics)
    return STAGES[config.stage](config)


def materialise(network: nn.Module, fill: Callable[[Tensor], Tensor]) -> None:
    """Give a network made on the meta device its tensors."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(fill(parameter), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fill(buffer)


def empty(like: Tensor) -> Tensor:
    """A tensor of the same layout."""
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)


@contextlib.contextmanager
def own_caches() -> Iterator[None]:
    """Tensors that functions keep are neither taken in nor left behind."""
    for cache in CACHES:
        cache.cache_clear()
    try:
        yield
    finally:
        for cache in CACHES:
            cache.cache_clear()
