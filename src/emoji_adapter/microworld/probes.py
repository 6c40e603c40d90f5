"""Linear probes of the expression encoder: how much identity, expression and style its patch features carry.

If it carried no identity there would be nothing for IDI to cure; the real CLIP carries all three.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.microworld.networks.landmark_jitter import jitter
from emoji_adapter.microworld.splits import stream
from emoji_adapter.renderer.parameters import sample, sample_identity
from emoji_adapter.renderer.render import render

PEOPLE, STRENGTHS = 40, (1e-4, 1e-3, 1e-2, 1e-1)


def ridge(features: Float[Tensor, "n d"], targets: Float[Tensor, "n k"], strength: float) -> Tensor:
    """Weights (d + 1, k) of ridge regression with an intercept, in the kernel form: n is smaller than d."""
    x = torch.cat([features, torch.ones_like(features[:, :1])], dim=1).double()
    kernel = x @ x.T
    kernel.diagonal().add_(strength * float(kernel.diagonal().mean()))
    return (x.T @ torch.linalg.solve(kernel, targets.double())).float()


def _predict(features: Tensor, weights: Tensor) -> Tensor:
    return features @ weights[:-1] + weights[-1]


def r_squared(predicted: Float[Tensor, "n k"], truth: Float[Tensor, "n k"]) -> float:
    """Share of the variance explained, pooled over the columns."""
    return float(1 - (predicted - truth).square().sum() / (truth - truth.mean(0)).square().sum())


def accuracy(predicted: Float[Tensor, "n k"], truth: Int[Tensor, " n"]) -> float:
    """Share of rows whose largest column is the true one."""
    return float((predicted.argmax(1) == truth).float().mean())


@torch.no_grad()
def encoder_probes(
    encoder: ExpressionEncoder, seed: int = 0, *, size: int, count: int = 4000
) -> dict[str, float]:
    """Train linear probes on patch features of aligned, masked crops and score them on held-out pictures.

    Args:
        encoder: the frozen expression encoder.
        seed: of the pictures.
        size: side of the pictures in pixels.
        count: pictures; a quarter is held out. The ridge's strength is chosen on another quarter.

    Returns:
        `identity_accuracy` among 40 people (chance 0.025), `expression_r2` over the drawn blendshapes and
        `style_accuracy` among the styles; each the best strength's figure on the held-out quarter.
    """
    generator = stream("test", "probes", seed)
    who = torch.randint(PEOPLE, (count,), generator=generator)
    parameters = sample(count, generator)
    parameters = parameters.replace(identity=sample_identity(PEOPLE, generator)[who])
    features = []
    for rows in torch.arange(count).split(100):
        drawn = render(parameters.index(rows).to(encoder.device), size)
        points = jitter(drawn.landmarks.cpu(), generator).to(encoder.device)
        features.append(encoder.encode(crop_batch(drawn.image, points, encoder.crop)).flatten(1).cpu())
    x = torch.cat(features)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6) / x.shape[1] ** 0.5
    style = parameters.style
    goals = {
        "identity_accuracy": (
            torch.nn.functional.one_hot(who, PEOPLE).float(),
            lambda p, rows: accuracy(p, who[rows]),
        ),
        "expression_r2": (parameters.expression, lambda p, rows: r_squared(p, parameters.expression[rows])),
        "style_accuracy": (
            torch.nn.functional.one_hot(style).float(),
            lambda p, rows: accuracy(p, style[rows]),
        ),
    }
    train, choose, test = torch.arange(count).split([count // 2, count // 4, count - count // 2 - count // 4])
    found = {}
    for name, (target, score) in goals.items():
        weights = [ridge(x[train], target[train], s) for s in STRENGTHS]
        best = max(weights, key=lambda w: score(_predict(x[choose], w), choose))
        found[name] = round(score(_predict(x[test], best), test), 4)
    return found
