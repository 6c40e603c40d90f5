"""Linear probes: how much identity, expression and style patch features or the adapter's tokens carry.

If the encoder carried no identity there would be nothing for IDI to cure; the real CLIP carries all three.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.microworld.networks.landmark_jitter import jitter
from emoji_adapter.microworld.splits import stream
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.renderer.parameters import FaceParameters, sample, sample_expression, sample_identity
from emoji_adapter.renderer.render import render

PEOPLE, EXPRESSIONS, STRENGTHS = 40, 12, (1e-4, 1e-3, 1e-2, 1e-1)


class Ridges:
    """Ridge regressions with an intercept on the same features.

    In the form whose matrix is the smaller one: the kernel's, n x n, or d x d.

    Args:
        features: of the pictures to train on.
        strengths: of the penalty, in shares of the kernel's mean diagonal.
    """

    def __init__(self, features: Float[Tensor, "n d"], strengths: Sequence[float] = STRENGTHS):
        self._x = _with_ones(features)
        rows, columns = self._x.shape
        self._wide = rows < columns
        matrix = self._x @ self._x.T if self._wide else self._x.T @ self._x
        unit = torch.eye(len(matrix), dtype=matrix.dtype) * matrix.diagonal().sum() / rows
        self._factors = [torch.linalg.cholesky(matrix + strength * unit) for strength in strengths]

    def weights(self, targets: Float[Tensor, "n k"]) -> list[Float[Tensor, "columns k"]]:
        """Weights of each strength, the intercept last."""
        wanted = targets.double()
        if self._wide:
            return [self._x.T @ torch.cholesky_solve(wanted, factor) for factor in self._factors]
        return [torch.cholesky_solve(self._x.T @ wanted, factor) for factor in self._factors]


def _with_ones(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones_like(features[:, :1])], dim=1).double()


def r_squared(predicted: Float[Tensor, "n k"], truth: Float[Tensor, "n k"]) -> float:
    """Share of the variance explained, pooled over the columns."""
    return float(1 - (predicted - truth).square().sum() / (truth - truth.mean(0)).square().sum())


def accuracy(predicted: Float[Tensor, "n k"], truth: Int[Tensor, " n"]) -> float:
    """Share of rows whose largest column is the true one."""
    return float((predicted.argmax(1) == truth).float().mean())


@torch.no_grad()
def encoder_probes(
    encoder: ExpressionEncoder, seed: int = 0, *, size: int, count: int = 12_000
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
    x = _standardised(_features(encoder, parameters, generator, size))
    probe = _Probe(x, _split(count))
    return {
        "identity_accuracy": probe.classes(who),
        "expression_r2": probe.numbers(parameters.expression),
        "style_accuracy": probe.classes(parameters.style),
    }


@torch.no_grad()
def token_probes(
    encoder: ExpressionEncoder, adapter: EmojiAdapter, seed: int = 0, *, size: int, count: int = 4000
) -> dict[str, dict[str, float]]:
    """The same for the adapter's expression tokens beside the encoder's features, as EmojiDiff on RAF-DB.

    Tokens fit for their purpose tell expressions better than the features they are made of, and people
    worse. Expressions are told apart on people whom the probe has not seen, people and styles on other
    pictures of those it has seen.

    Args:
        encoder: the frozen expression encoder.
        adapter: trained with it.
        seed: of the pictures.
        size: side of the pictures in pixels.
        count: pictures.

    Returns:
        For `features` and for `tokens`: `expression_accuracy` among 12 expressions of varying strength
        (chance 0.083), `expression_r2` over the drawn blendshapes, `identity_accuracy` among 40 people
        (chance 0.025), `style_accuracy`; and the number of `columns`.
    """
    generator = stream("test", "token probes", seed)
    who = torch.randint(PEOPLE, (count,), generator=generator)
    what = torch.randint(EXPRESSIONS, (count,), generator=generator)
    strength = 0.6 + 0.4 * torch.rand(count, 1, generator=generator)
    parameters = sample(count, generator).replace(
        identity=sample_identity(PEOPLE, generator)[who],
        expression=sample_expression(EXPRESSIONS, generator)[what] * strength,
    )
    features = _features(encoder, parameters, generator, size)
    tokens = [adapter.expression_tokens_of(part.to(adapter.device)).cpu() for part in features.split(500)]
    strangers = [torch.nonzero(group).flatten() for group in _people_apart(who)]
    found = {}
    for name, given in (("features", features[:, : encoder.patches]), ("tokens", torch.cat(tokens))):
        x = _standardised(given)
        apart, mixed = _Probe(x, strangers), _Probe(x, _split(count))
        found[name] = {
            "expression_accuracy": apart.classes(what),
            "expression_r2": apart.numbers(parameters.expression),
            "identity_accuracy": mixed.classes(who),
            "style_accuracy": mixed.classes(parameters.style),
            "columns": x.shape[1],
        }
    return found


def _features(
    encoder: ExpressionEncoder, parameters: FaceParameters, generator: torch.Generator, size: int
) -> Float[Tensor, "n patches dim"]:
    """Patch features of the crops of drawn faces, found at jittered landmarks."""
    features = []
    for rows in torch.arange(len(parameters)).split(100):
        drawn = render(parameters.index(rows).to(encoder.device), size)
        points = jitter(drawn.landmarks.cpu(), generator).to(encoder.device)
        features.append(encoder.encode(crop_batch(drawn.image, points, encoder.crop)).cpu())
    return torch.cat(features)


def _standardised(features: Float[Tensor, "n patches dim"]) -> Float[Tensor, "n columns"]:
    x = features.flatten(1)
    return (x - x.mean(0)) / (x.std(0) + 1e-6) / x.shape[1] ** 0.5


def _split(count: int) -> Sequence[Tensor]:
    """Rows to train on, to choose the strength on and to test on."""
    return torch.arange(count).split([count // 2, count // 4, count - count // 2 - count // 4])


def _people_apart(who: Int[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor]:
    """The same as masks, with other people in each."""
    first, second = PEOPLE * 3 // 5, PEOPLE * 4 // 5
    return who < first, (who >= first) & (who < second), who >= second


class _Probe:
    """Scores of the best ridge on rows that it has not seen.

    Args:
        x: features.
        rows: to train on, to choose the strength on, to test on: indices or masks.
    """

    def __init__(self, x: Float[Tensor, "n d"], rows: Sequence[Tensor]):
        self._train, *others = rows
        self._choose, self._test = ((part, _with_ones(x[part])) for part in others)
        self._ridges = Ridges(x[self._train])

    def classes(self, labels: Int[Tensor, " n"]) -> float:
        """Share of rows whose class is told."""
        return self._best(torch.nn.functional.one_hot(labels).float(), labels, accuracy)

    def numbers(self, values: Float[Tensor, "n k"]) -> float:
        """Share of the variance that is told."""
        return self._best(values, values, r_squared)

    def _best(self, target: Tensor, truth: Tensor, score: Callable[[Tensor, Tensor], float]) -> float:
        (choose, x_choose), (test, x_test) = self._choose, self._test
        weights = self._ridges.weights(target[self._train])
        best = max(weights, key=lambda w: score(x_choose @ w, truth[choose]))
        return round(score(x_test @ best, truth[test]), 4)
