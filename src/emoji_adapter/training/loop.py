"""The only training loop: steps, log lines, previews and checkpoints of any stage, on accelerate."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.config import save_config
from emoji_adapter.data.dataset import PreparedSet
from emoji_adapter.errors import InputError
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.pace import Pace, interruptible
from emoji_adapter.training.preview import draw_preview
from emoji_adapter.training.result import save_result
from emoji_adapter.training.run_log import RunLog
from emoji_adapter.training.session import Session, open_session
from emoji_adapter.training.state import checkpoints, load_state, save_state
from emoji_adapter.training.weights import learning_rate

CHECKPOINTS = "checkpoints"
PREVIEWS = "previews"
ADAPTER = "adapter"

Progress = Callable[[int, int, dict[str, Any] | None], None]
"""Told after each step: (steps done, steps planned, the log line if one was written)."""


def train(
    config: TrainingConfig,
    data: str | Path | PreparedSet,
    out: str | Path,
    *,
    resume: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train an adapter and save its averaged weights.

    Under `accelerate launch` every process draws its own rows; the first one logs and saves. Ctrl-C ends
    the run after its step with a checkpoint.

    Args:
        config: settings.
        data: folder of a prepared set, or one in memory.
        out: folder of the run: `adapter/`, `checkpoints/`, `previews/`, `log.jsonl`, `config.yaml`.
        resume: go on from the last checkpoint in `out`, if there is one.
        device: "cpu" to stay off an accelerator.
        progress: see `Progress`.

    Returns:
        The folder of the trained adapter.

    Raises:
        InputError: `out` holds a run and `resume` is false, or the settings have changed.
        DataError: the data is missing, damaged or does not fit the models.
        TrainingError: the loss is no longer finite.
        KeyboardInterrupt: after the checkpoint is written.
    """
    out = Path(out)
    saved = checkpoints(out / CHECKPOINTS)
    if saved and not resume:
        raise InputError(
            f"{out} already holds a run ({saved[-1].name}). Resume it, or choose another folder."
        )
    if not isinstance(data, PreparedSet):
        data = PreparedSet.load(data)
    session = open_session(config, data, device)
    if saved:
        load_state(saved[-1], session.state, config)
    out.mkdir(parents=True, exist_ok=True)
    save_config(config, out / "config.yaml")
    _run(session, out, progress or _silent)
    if session.accelerator.is_main_process:
        save_result(session, out / ADAPTER)
    session.accelerator.wait_for_everyone()
    return out / ADAPTER


def _run(session: Session, out: Path, progress: Progress) -> None:
    config, state = session.config, session.state
    main = session.accelerator.is_main_process
    log = RunLog.open(out, state.step) if main else RunLog(out)
    pace = Pace(config.minutes if state.step == 0 else None, lambda: _wait(session.device))
    with interruptible() as interrupt:
        while state.step < state.steps:
            figures = train_step(session)
            state.step += 1
            state.steps = pace.plan(state.step, state.steps)
            last, stop = state.step == state.steps, interrupt.requested
            line = None
            log.add(config.batch * config.accumulate * session.accelerator.num_processes, **figures)
            save = last or stop or state.step % config.checkpoint_every == 0
            if main and (save or state.step % config.log_every == 0):
                line = log.write(state.step, learning_rate=state.optimizer.param_groups[0]["lr"])
            if main and save:
                save_state(out / CHECKPOINTS, state, config)
            if main and config.preview_every and (last or state.step % config.preview_every == 0):
                draw_preview(session, out / PREVIEWS)
            progress(state.step, state.steps, line)
            if stop:
                raise KeyboardInterrupt


def train_step(session: Session) -> dict[str, Tensor]:
    """Do one optimiser step; nothing in it waits for the device.

    Returns:
        `loss`, `gradient_norm` and the stage's own figures of the last pass, on the training device.
    """
    config, state = session.config, session.state
    total = torch.zeros((), device=session.device)
    for number in range(config.accumulate):
        with _synchronised(session, last=number == config.accumulate - 1), session.lora():
            loss = _forward(session, number) / config.accumulate
            session.accelerator.backward(loss)
        total += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(list(state.parameters.values()), config.max_grad_norm)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, state.steps, config)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.average.update(state.step)
    return {"loss": total, "gradient_norm": norm, **session.stage.figures}


def _forward(session: Session, number: int) -> Tensor:
    """Loss of a forward pass of the current step; draws come from (seed, step, process, number)."""
    config = session.config
    numbers = (config.seed, session.state.step, session.accelerator.process_index, number)
    chance = seeded(session.rows_generator, *numbers, 0)
    rows = session.data.sample(config.batch, chance, takes=session.stage.paired).to(session.device)
    draw = StepDraw(seeded(session.generator, *numbers, 1), numbers)
    with session.autocast():
        return session.stage.loss(session.models, rows, draw).mean()


def _synchronised(session: Session, *, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Let processes exchange gradients in the last pass of a step only."""
    return contextlib.nullcontext() if last else session.accelerator.no_sync(session.models.conditioner)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _silent(step: int, steps: int, line: dict[str, Any] | None) -> None:
    """Report nothing."""
