"""One training loop for all networks of the micro-world: resumable, with averaged weights, on CPU or GPU."""

import contextlib
import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from emoji_adapter.microworld.splits import stream
from emoji_adapter.models.precision import half_autocast, multiplies_half_faster
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.render import Rendered, render

log = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)
Loss = Callable[[torch.Generator, int, int], Tensor]
"""Generator, batch size, step -> scalar; draws its own batch, with nothing but that generator."""


@dataclass(frozen=True)
class StageRecipe:
    """How long and how fast one network is trained."""

    steps: int
    batch: int
    learning_rate: float
    minutes: float = math.inf
    """At most so long; the learning rate then falls with the clock instead of the steps."""


@dataclass(frozen=True)
class Workshop:
    """Where and how the micro-world is built.

    Attributes:
        out: the folder of the finished weights.
        state: a folder for what is needed to resume; may be deleted when all is done.
        device: where to train.
        seed: of everything drawn.
        size: side of the pictures in pixels, 64 or 128.
        recipes: by stage name.
        warm: a folder of finished weights to start from, or None to start from nothing.
        compiled: draw with the compiled renderer, and compile the U-Net.
    """

    out: Path
    state: Path
    device: torch.device
    seed: int
    size: int
    recipes: dict[str, StageRecipe]
    warm: Path | None = None
    compiled: bool | None = None
    figures: dict[str, dict] = field(default_factory=dict)

    def render(self, parameters: FaceParameters) -> Rendered:
        """Draw at this workshop's size."""
        return render(parameters, self.size, compiled=self.compiled)

    @property
    def half(self) -> bool:
        """Whether this device multiplies bfloat16 faster than float32."""
        return self.device.type in ("cpu", "cuda") and multiplies_half_faster(self.device)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """bfloat16 where that is fast."""
        return half_autocast(self.device, enabled=self.half)


def save_atomically(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write safetensors under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, metadata=metadata)
    os.replace(partial, path)


class _Run:
    """Model, average, optimiser and step of one stage, as one file.

    A model in bfloat16 is a working copy: its weights are rounded after each step from float32 ones, which
    are what is trained, averaged and saved.
    """

    def __init__(self, model: nn.Module, recipe: StageRecipe, path: Path):
        self.working, self.path = model, path
        self.step, self.seconds, self.steps = 0, 0.0, max(recipe.steps, 11)
        half = next(model.parameters()).dtype == torch.bfloat16
        self.model = copy.deepcopy(model).float() if half else model
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.trainable = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.copies = [p for p in model.parameters() if p.requires_grad] if half else []
        self.optimiser = torch.optim.AdamW(
            self.trainable.values(), lr=recipe.learning_rate, weight_decay=0.01, betas=(0.9, 0.99),
            fused=next(model.parameters()).is_cuda,
        )  # fmt: skip

    def apply(self, loss: Tensor) -> None:
        """One optimiser step down the gradient."""
        trained = list(self.trainable.values())
        for parameter in self.copies or trained:
            parameter.grad = None
        loss.backward()
        for parameter, copied in zip(trained, self.copies, strict=False):
            parameter.grad = None if copied.grad is None else copied.grad.float()
        nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
        self.optimiser.step()
        self._round()
        self.step += 1
        self._update_average()

    @torch.no_grad()
    def _round(self) -> None:
        if self.copies:
            torch._foreach_copy_(self.copies, list(self.trainable.values()))

    def save(self) -> None:
        """Write the state, whole or not at all."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.trainable.items():
            tensors |= {f"optimiser.{name}.{k}": v for k, v in self.optimiser.state[parameter].items()}
        save_atomically(
            tensors, self.path, {"progress": json.dumps({"step": self.step, "seconds": self.seconds})}
        )

    def load(self) -> None:
        """Go on from a saved state, if there is one."""
        if not self.path.exists():
            return
        tensors = load_file(self.path, device=str(next(self.model.parameters()).device))
        for prefix, module in (("model.", self.model), ("average.", self.average)):
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for name, parameter in self.trainable.items():
            start = f"optimiser.{name}."
            state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            self.optimiser.state[parameter] = {
                k: v.cpu() if k == "step" and not v.is_cuda else v for k, v in state.items()
            }
        with safe_open(self.path, "pt") as file:
            progress = json.loads(file.metadata()["progress"])
        self.step, self.seconds = progress["step"], progress["seconds"]
        self._round()
        log.info("%s resumes at step %d", self.path.parent.name, self.step)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(0.999, 1 - 10 / self.steps, (1 + self.step) / (10 + self.step))
        averaged, current = list(self.average.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for a, b in zip(self.average.buffers(), self.model.buffers(), strict=True):
            a.copy_(b)


def _rate(progress: float) -> float:
    """Warm-up over 3 %, then a cosine down to 2 %."""
    warm = min(1.0, progress / 0.03 + 1e-3)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def fit(shop: Workshop, stage: str, model: Network, loss: Loss, *, save_every: float = 60.0) -> Network:
    """Train a network as its recipe says, from where an earlier call was killed.

    Args:
        shop: Device, seed, recipes and folders.
        stage: Name of the recipe; also of the state that a later call resumes from.
        model: Is trained in place, on the shop's device; if in bfloat16, float32 weights stand behind it.
        loss: Draws a batch and returns the scalar to lower.
        save_every: Seconds between saved states.

    Returns:
        A copy with averaged weights, in eval mode.
    """
    recipe = shop.recipes[stage]
    if shop.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        model = model.to(memory_format=torch.channels_last)
    run = _Run(model.to(shop.device).train(), recipe, shop.state / stage / "state.safetensors")
    run.load()
    limit, begun, saved, shown = recipe.minutes * 60, time.monotonic() - run.seconds, time.monotonic(), 0.0
    bar = tqdm(total=recipe.steps, initial=run.step, desc=stage, mininterval=5)
    while run.step < recipe.steps and run.seconds < limit:
        progress = max(run.step / recipe.steps, run.seconds / limit)
        for group in run.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * _rate(progress)
        generator = stream("train", f"{stage}/{run.step}", shop.seed, shop.device)
        with shop.autocast():
            value = loss(generator, recipe.batch, run.step)
        run.apply(value)
        run.seconds = time.monotonic() - begun
        bar.update()
        if time.monotonic() - saved > save_every:
            run.save()
            saved = time.monotonic()
        if run.step % 50 == 0:
            shown = float(value.detach())
            bar.set_postfix(loss=f"{shown:.4f}", refresh=False)
    run.save()
    bar.close()
    shop.figures.setdefault(stage, {}).update(
        steps=run.step, seconds=round(run.seconds), loss=round(shown, 5), batch=recipe.batch
    )
    return run.average.to(memory_format=torch.contiguous_format).eval()
