"""Everything that a run needs, loaded, checked and frozen: what is left to do is to step."""

import contextlib
import copy
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.models.attention_processor import AttnProcessor
from torch import Generator, nn

from emoji_adapter.checkpoints.format import load_adapter
from emoji_adapter.data.captions import text_hash
from emoji_adapter.data.dataset import PreparedSet, check_models
from emoji_adapter.data.latents import weights_hash
from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.errors import DataError, InputError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.layer_choice import with_expression_layers, with_fresh, with_second_recogniser
from emoji_adapter.models.precision import half_autocast, multiplies_half_faster
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.training.compound import with_identity_for
from emoji_adapter.training.conditions import Conditioner
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.losses import Diffusion
from emoji_adapter.training.processes import make_accelerator
from emoji_adapter.training.registry import make_stage
from emoji_adapter.training.stages import Stage, StepModels
from emoji_adapter.training.state import RunState
from emoji_adapter.training.weights import MovingAverage, freeze_all_but


@dataclass(frozen=True)
class Session:
    """A run that is ready to step.

    Attributes:
        config: its settings.
        accelerator: device and processes.
        data: the prepared set.
        pipe: the pipeline whose U-Net is trained on. It holds an adapter of its own, for previews: that one
            makes the U-Net listen, to whatever keys and values it is given.
        stage: what a step does.
        models: what the stage may use.
        state: what a checkpoint holds.
        rows_generator: on the data's device.
        generator: on the training device.
    """

    config: TrainingConfig
    accelerator: Accelerator
    data: PreparedSet
    pipe: Any
    stage: Stage
    models: StepModels
    state: RunState
    rows_generator: Generator
    generator: Generator

    @property
    def device(self) -> torch.device:
        """The training device."""
        return self.accelerator.device

    def lora(self) -> contextlib.AbstractContextManager[None]:
        """The adapter's LoRA, if it has one, acts in the U-Net inside, with the weights that train.

        It acts in all rows, also in those whose identity is dropped, as in a call with an identity.
        """
        lora = self.state.adapter.identity_lora
        return contextlib.nullcontext() if lora is None else lora.acting_in(self.pipe.unet)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The arithmetic of everything but the U-Net, which is cast as a whole."""
        return half_autocast(self.device, enabled=half_precision(self.config, self.device))


def open_session(config: TrainingConfig, data: PreparedSet, device: str | None = None) -> Session:
    """Load the models of a run and check that they fit the data.

    Args:
        config: its settings.
        data: the prepared set.
        device: "cpu" to stay off an accelerator; None = what accelerate chooses.

    Raises:
        DataError: the set was prepared with other models.
        AdapterMismatchError: the adapter to start from does not fit.
        WeightsNotFoundError: a model is missing.
    """
    accelerator = make_accelerator(device)
    if config.minutes is not None and accelerator.num_processes > 1:
        raise InputError("minutes plans one process only; set steps for a run of several processes.")
    device_ = accelerator.device
    if device_.type == "cuda":
        torch.backends.cudnn.benchmark = True
    pipe = EmojiDiffPipeline.from_pretrained(config.checkpoint)
    encoder = ExpressionEncoder.from_pretrained(config.expression_encoder)
    check_models(
        data.meta,
        vae_hash=weights_hash(pipe.vae),
        text_hash=text_hash(pipe),
        expression_crop=encoder.crop.to_dict(),
    )
    adapter = _adapter(config, pipe.unet, encoder, data).to(device_)
    data = with_identity_for(adapter, data)
    if config.stage == "distil":
        adapter.register_to_config(expression_teacher=None)  # until compound embeddings train again
    if config.compound_share:
        _make_compound(adapter, data.meta.teacher)
    if adapter.config["expression_teacher"] is not None:
        encoder.teacher = BlendshapeTeacher(adapter.config["expression_teacher"])
    if adapter.identity_lora is not None and accelerator.num_processes > 1:
        raise InputError(
            f"An adapter with a LoRA trains in one process only, got {accelerator.num_processes}: its "
            "gradients arise in the U-Net and would not be exchanged. Leave identity_lora_rank out."
        )
    freeze(pipe, device_, half=half_precision(config, device_))
    pipe.load_emoji_adapter(copy.deepcopy(adapter))
    if config.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
        pipe.vae.enable_gradient_checkpointing()
    stage = make_stage(config, data.meta, device_)
    parameters = freeze_all_but(adapter, stage.branch, config.trains)
    models = StepModels(
        unet=torch.compile(pipe.unet) if config.compile else pipe.unet,
        conditioner=accelerator.prepare_model(Conditioner(adapter.train())),
        diffusion=Diffusion.from_scheduler(pipe.scheduler, device_),
        expression_encoder=encoder.to(device_),
        vae=pipe.vae,
    )
    optimizer = torch.optim.AdamW(
        list(parameters.values()),
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
    data = data.to(device_) if config.resident else data
    average = MovingAverage(parameters, config.ema)
    return Session(
        config=config,
        accelerator=accelerator,
        data=data,
        pipe=pipe,
        stage=stage,
        models=models,
        state=RunState(adapter, parameters, average, optimizer, step=0, steps=config.steps),
        rows_generator=Generator(data.device),
        generator=Generator(device_),
    )


def half_precision(config: TrainingConfig, device: torch.device) -> bool:
    """Whether a run computes in bfloat16; if left open, where the device multiplies it faster."""
    if config.precision == "auto":
        return multiplies_half_faster(device)
    return config.precision == "bf16"


def freeze(pipe: Any, device: torch.device, *, half: bool) -> None:
    """Freeze a pipeline's networks, put them into eval mode and onto the device; in bfloat16 if asked for."""
    pipe.set_progress_bar_config(disable=True)
    pipe.to(device)
    if half:
        pipe.to(torch.bfloat16)
        if device.type == "cpu":  # as in `half_autocast`
            pipe.unet.set_attn_processor(AttnProcessor())
    for component in pipe.components.values():
        if isinstance(component, nn.Module):
            component.requires_grad_(False).eval()
    if device.type == "cuda":
        pipe.unet.to(memory_format=torch.channels_last)


def _adapter(
    config: TrainingConfig, unet: Any, encoder: ExpressionEncoder, data: PreparedSet
) -> EmojiAdapter:
    """The adapter to train: a new one drawn by the seed, or the one to start from."""
    adapter = None if config.start is None else load_adapter(config.start, unet=unet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if adapter is None:
            return new_adapter(config, unet, encoder, data)
        if config.fresh:
            adapter = with_fresh(adapter, unet, config.fresh)
        if config.layers is not None:
            adapter = with_expression_layers(adapter, unet, config.layers)
        second = config.adapter.second_recogniser
        if second is not None and adapter.config["second_recogniser"] is None:
            adapter = with_second_recogniser(adapter, unet, second)
    pairs = (
        ("identity encoder", adapter.config["identity_encoder"], data.meta.identity_encoder),
        ("expression crop", adapter.config["expression_crop"], encoder.crop.to_dict()),
        ("expression features' width", adapter.config["expression_dim"], encoder.dim),
    )
    for what, expected, got in pairs:
        if expected != got:
            raise DataError(
                f"The adapter {config.start} was trained with the {what} {expected}, the data and the "
                f"encoder have {got}. Prepare the data for it, or start from another adapter."
            )
    return adapter


def _make_compound(adapter: EmojiAdapter, teacher: str) -> None:
    width, length = adapter.config["expression_dim"], adapter.config["blendshapes"]
    if width is None or length is None or width < length:
        raise InputError(
            "compound_share puts a code of blendshapes beside patch features that must be as wide at least; "
            f"this adapter takes features of {width} and codes of {length} numbers. Set compound_share to 0."
        )
    adapter.register_to_config(expression_teacher=teacher)


def new_adapter(
    config: TrainingConfig, unet: Any, encoder: ExpressionEncoder, data: PreparedSet
) -> EmojiAdapter:
    """Make a fresh adapter that records what it is trained with."""
    shape = vars(config.adapter)
    layers = {name: shape[name] for name in ("identity_layers", "expression_layers")}
    if config.layers is not None:
        layers["expression_layers"] = config.layers
    sizes = {name: value for name, value in shape.items() if name not in layers and value is not None}
    if sizes.get("kv_rank") == 0:
        sizes["kv_rank"] = None  # full
    return EmojiAdapter.for_unet(
        unet,
        **layers,
        **sizes,
        expression_dim=encoder.dim,
        identity_encoder=data.meta.identity_encoder,
        expression_encoder=encoder.id,
        expression_crop=encoder.crop.to_dict(),
    )
