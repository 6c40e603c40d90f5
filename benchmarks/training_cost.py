"""What a step of training costs: ICA over stage 1, and a whole step over a bare forward and backward pass.

    python benchmarks/training_cost.py --data runs/prepared --adapter runs/expression/adapter

The ways take turns in one process, in turning order; ratios are of medians, 95 % bootstrap over rounds (see
`overhead.py`). `bare` is one forward and backward pass of the same frozen U-Net with the same trainable
tensors, on rows and features that are there already: no sampling, encoding, clipping, optimiser or average.
`network` leaves the trainable tensors out, too: gradients end in given keys and values. `ica` has the terms
of the recipe `micro_ica`, with the estimator that is asked for.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from overhead import interleaved, ratio
from record import machine, record
from torch import Generator

from emoji_adapter.data.dataset import PreparedSet
from emoji_adapter.models.attention import LayerKV
from emoji_adapter.training.conditions import expression_conditions
from emoji_adapter.training.config import TrainingConfig, load_recipe
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.loop import train_step
from emoji_adapter.training.session import Session, open_session
from emoji_adapter.training.stages import predict


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="prepared set")
    parser.add_argument("--adapter", default="micro", help="folder, file or Hub id")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--estimator", default="one_step", help="of the ICA step")
    parser.add_argument("--device", default=None, help="'cpu' stays off an accelerator")
    parser.add_argument("--name", default="training_cost", help="name of the result file")
    options = parser.parse_args()

    data = PreparedSet.load(options.data)
    recipes = {
        "stage_1": load_recipe("micro_idi"),
        "ica": load_recipe("micro_ica", [f"ica.estimator={options.estimator}"]),
    }
    sessions = {
        name: open_session(changed(config, options), data, options.device) for name, config in recipes.items()
    }
    calls: dict[str, Callable[[], Any]] = {name: stepping(session) for name, session in sessions.items()}
    calls |= bare(sessions["stage_1"], options.batch)
    wall, cpu = interleaved(calls, options.rounds)
    figures: dict[str, Any] = {
        "batch": options.batch,
        "rounds": options.rounds,
        "estimator": options.estimator,
        "ica": dataclasses.asdict(sessions["ica"].config.ica),
    }
    for over, under in (("ica", "stage_1"), ("stage_1", "bare"), ("ica", "bare"), ("stage_1", "network")):
        figures[f"{over} / {under}"] = ratio(wall[over], wall[under])
        figures[f"{over} / {under}, processor time"] = ratio(cpu[over], cpu[under])
    print(machine())
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(record(options.name, figures))


def changed(config: TrainingConfig, options: argparse.Namespace) -> TrainingConfig:
    """A recipe with what is asked for here; nothing else that differs between the two costs time."""
    return dataclasses.replace(config, start=options.adapter, batch=options.batch, preview_every=0)


def stepping(session: Session) -> Callable[[], None]:
    """Optimiser steps, one a call."""

    def call() -> None:
        train_step(session)
        session.state.step += 1

    return call


def bare(session: Session, batch: int) -> dict[str, Callable[[], None]]:
    """A forward and backward pass of the U-Net, one a call: to what trains, and to given keys and values."""
    models, device = session.models, session.device
    rows = session.data.sample(batch, seeded(session.rows_generator, 1)).to(device)
    draw = StepDraw(seeded(Generator(device), 2), (2,))
    kept = torch.zeros(batch, dtype=torch.bool, device=device)
    with torch.no_grad():
        told = expression_conditions(
            session.config, models.expression_encoder, rows, draw, (kept, kept, kept)
        )
        made = models.conditioner(told)
    given = {
        layer: LayerKV(*(None if part is None else part.clone().requires_grad_() for part in parts))
        for layer, parts in made.items()
    }
    x_0 = rows.latents.float()
    eps = torch.randn(x_0.shape, generator=draw.generator, device=device)
    t = models.diffusion.timesteps(batch, draw.generator)
    x_t = models.diffusion.noisy(x_0, eps, t)

    def passes(keys_values: dict[str, LayerKV]) -> None:
        predicted = predict(models, x_t, t, told.text, keys_values, told.pooled)
        (predicted.float() - eps).square().mean().backward()

    def with_trained() -> None:
        with session.autocast():
            passes(models.conditioner(told))
        for parameter in session.state.parameters.values():
            parameter.grad = None

    def alone() -> None:
        passes(given)
        for parts in given.values():
            for part in parts:
                if part is not None:
                    part.grad = None

    return {"bare": with_trained, "network": alone}


if __name__ == "__main__":
    main()
