"""How good each clean-image estimate is, by bands of t, on a prepared set with a given adapter.

    python benchmarks/estimators.py --data runs/prepared --adapter runs/expression/adapter
    python benchmarks/estimators.py --data runs/prepared --adapter early/adapter --adapter late/adapter

In every band each row gets one timestep and one noise, the same for all estimators. Figures of a band are
means over rows of

- error: mean squared difference to the target latents;
- identity: 1 - cos(phi(decoded estimate), phi(identity photo)), what ICA's identity term is made of;
- sharpness: mean absolute Laplacian of the decoded luma, of the full range; "target" is that of the decoded
  target itself.

Intervals (95 %) resample rows, 2 000 draws; `over_one_step` holds paired differences to the one-step
estimate. The picture is DiffSFSR's comparison of sampling methods by their error: over t, and, where several
adapters are given in the order of training, over training. phi is the recogniser that training looks
through: nothing here is a score.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from curves import Line, Panel, draw
from record import RESULTS, record
from torch import Generator, Tensor

from emoji_adapter.data.dataset import PreparedSet, Rows
from emoji_adapter.training.conditions import expression_conditions
from emoji_adapter.training.config import AugmentationConfig, DropConfig, ICAConfig, TrainingConfig
from emoji_adapter.training.critics import photo_distance
from emoji_adapter.training.decoding import decode
from emoji_adapter.training.draws import StepDraw, mixed_seed, seeded
from emoji_adapter.training.estimators import make_estimator
from emoji_adapter.training.session import Session, open_session
from emoji_adapter.training.stages import predict

ESTIMATORS = {
    "one_step": ICAConfig(estimator="one_step"),
    "midpoint": ICAConfig(estimator="midpoint"),
    "ode_midpoint": ICAConfig(estimator="ode_midpoint"),
    "rollout of 4": ICAConfig(estimator="rollout", rollout_steps=4),
}
MEASURES = ("error", "identity", "sharpness")
FIRST, TARGET = "one_step", "target"
DRAWS = 2000
UNCHANGED = AugmentationConfig(brightness=0, contrast=0, saturation=0, hue=0, rotation=0, scale=0, shift=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="prepared set")
    parser.add_argument("--adapter", action="append", help="folder, file or Hub id; may be repeated")
    parser.add_argument("--checkpoint", default="micro")
    parser.add_argument("--expression-encoder", default="micro")
    parser.add_argument("--pack", default="micro")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--bands", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=None, help="'cpu' stays off an accelerator")
    parser.add_argument("--name", default="estimators", help="name of the result file")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()

    data = PreparedSet.load(options.data)
    adapters = options.adapter or ["micro"]
    by_adapter, middles = {}, []
    for adapter in adapters:
        session = open_session(settings(adapter, options), data, options.device)
        values, middles = measure(session, options)
        by_adapter[adapter] = summary(values, options.seed)
    figures = {
        "data": str(options.data),
        "checkpoint": options.checkpoint,
        "rows": min(options.rows, len(data)),
        "timesteps": middles,
        "adapters": by_adapter,
    }
    print(record(options.name, figures, options.out))
    picture = options.out / f"{options.name}.png"
    draw(panels(by_adapter, middles)).save(picture)
    print(picture)


def settings(adapter: str, options: argparse.Namespace) -> TrainingConfig:
    """Those of an ICA stage whose templates are as they are and whose rows keep all conditions."""
    return TrainingConfig(
        stage="ica",
        start=adapter,
        checkpoint=options.checkpoint,
        expression_encoder=options.expression_encoder,
        precision="fp32",
        blendshape_share=0.0,
        drops=DropConfig(text=0.0),
        augmentation=UNCHANGED,
        ica=ICAConfig(pack=options.pack, expression_weight=0.0),
        resident=False,
    )


@torch.no_grad()
def measure(session: Session, options: argparse.Namespace) -> tuple[dict[str, np.ndarray], list[float]]:
    """Every figure of every row.

    Returns:
        Estimator -> [measures, bands, rows], "target" among them, and the middle t of each band.
    """
    data, count = session.data, min(options.rows, len(session.data))
    generator = seeded(Generator(data.device), options.seed)
    index = torch.randperm(len(data), generator=generator, device=data.device)[:count]
    photo = data.people.another(index, generator)
    edges = np.linspace(0, len(session.models.diffusion), options.bands + 1)
    found: dict[str, list[list[np.ndarray]]] = {name: [] for name in (*ESTIMATORS, TARGET)}
    for band in range(options.bands):
        parts: dict[str, list[np.ndarray]] = {name: [] for name in found}
        for start in range(0, count, options.batch):
            part = slice(start, start + options.batch)
            rows = data.rows(index[part], photo[part]).to(session.device)
            numbers = (options.seed, band, start)
            for name, value in look(session, rows, (edges[band], edges[band + 1]), numbers).items():
                parts[name].append(value)
        for name, values in parts.items():
            found[name].append(np.concatenate(values, axis=1))
        print(f"{session.config.start}: t {edges[band]:.0f} to {edges[band + 1]:.0f}", flush=True)
    middles = [float(middle) for middle in (edges[:-1] + edges[1:]) / 2]
    return {name: np.stack(values, axis=1) for name, values in found.items()}, middles


def look(
    session: Session, rows: Rows, band: tuple[float, float], numbers: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Estimate some rows in a band; estimator -> [measures, rows]."""
    config, models = session.config, session.models
    draw_ = StepDraw(seeded(Generator(session.device), mixed_seed(*numbers)), numbers)
    kept = torch.zeros(len(rows), dtype=torch.bool, device=session.device)
    told = expression_conditions(config, models.expression_encoder, rows, draw_, (kept, kept, kept))
    keys_values = models.conditioner(told)
    x_0 = rows.latents.float()
    eps = torch.randn(x_0.shape, generator=draw_.generator, device=session.device)
    u = torch.rand(len(rows), generator=draw_.generator, device=session.device)
    t = (band[0] + u * (band[1] - band[0])).long().clamp_max(len(models.diffusion) - 1)
    x_t = models.diffusion.noisy(x_0, eps, t)

    def call(x: Tensor, s: Tensor) -> Tensor:
        return predict(models, x, s, told.text, keys_values, told.pooled).float()

    found = {TARGET: figures_of(session, rows, x_0)}
    for name, which in ESTIMATORS.items():
        found[name] = figures_of(session, rows, make_estimator(which)(models.diffusion, call, x_t, t))
    return found


def figures_of(session: Session, rows: Rows, latents: Tensor) -> np.ndarray:
    """[measures, rows] of latents."""
    images, landmarks = decode(session.models.vae, latents, rows.landmarks)
    stage: Any = session.stage
    embeds = stage.critics.recogniser(images, landmarks)
    error = (latents - rows.latents.float()).square().mean(dim=(1, 2, 3))
    figures = torch.stack([error, photo_distance(embeds, rows), sharpness(images)])
    return figures.cpu().numpy().astype(np.float64)


def sharpness(images: Tensor) -> Tensor:
    """Mean absolute Laplacian of the luma, [B]."""
    luma = (images * images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    return torch.nn.functional.conv2d(luma, kernel).abs().mean(dim=(1, 2, 3))


def summary(values: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """Means with intervals, and paired differences to the one-step estimate, a list over bands each."""
    rows = values[FIRST].shape[-1]
    picks = np.random.default_rng(seed).integers(rows, size=(DRAWS, rows))
    found: dict[str, Any] = {}
    for name, value in values.items():
        found[name] = {measure: _interval(value[i], picks) for i, measure in enumerate(MEASURES)}
        if name not in (FIRST, TARGET):
            over = value - values[FIRST]
            found[name]["over_one_step"] = {
                measure: _interval(over[i], picks) for i, measure in enumerate(MEASURES)
            }
    return found


def _interval(values: np.ndarray, picks: np.ndarray) -> dict[str, list]:
    """Mean over rows [bands, rows] and its 95 % interval; `overall` is that over all bands."""
    draws = values[:, picks].mean(axis=-1)
    low, high = np.percentile(draws, (2.5, 97.5), axis=-1)
    overall = np.percentile(draws.mean(axis=0), (2.5, 97.5))
    return {
        "mean": values.mean(axis=-1).tolist(),
        "ci95": np.stack([low, high], axis=-1).tolist(),
        "overall": [float(values.mean()), float(overall[0]), float(overall[1])],
    }


def panels(by_adapter: dict[str, dict[str, Any]], middles: list[float]) -> list[list[Panel]]:
    """Rows of panels: the last adapter over t; all adapters over training, where there are several."""
    last = list(by_adapter.values())[-1]
    over_t = [
        Panel(
            measure,
            "timestep",
            middles,
            [_line(name, [(m, *ci) for m, ci in zip(f[measure]["mean"], f[measure]["ci95"], strict=True)])
             for name, f in last.items() if (name, measure) != (TARGET, "error")],
            log=measure == "error",
        )
        for measure in MEASURES
    ]  # fmt: skip
    if len(by_adapter) == 1:
        return [over_t]
    places = [float(i + 1) for i in range(len(by_adapter))]
    over_training = [
        Panel(
            measure,
            "adapters in the order given",
            places,
            [_line(name, [found[name][measure]["overall"] for found in by_adapter.values()])
             for name in last if (name, measure) != (TARGET, "error")],
            log=measure == "error",
        )
        for measure in MEASURES
    ]  # fmt: skip
    return [over_t, over_training]


def _line(name: str, values: list) -> Line:
    means, low, high = (list(column) for column in zip(*values, strict=True))
    return Line(name, means, low, high)


if __name__ == "__main__":
    main()
