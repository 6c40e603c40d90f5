"""ICA, ID-enhanced contrast alignment (EmojiDiff): control of the expression must not cost the identity.

The clean image is estimated twice from the same noise, with and without control of the expression, and the
recogniser phi looks at both:

L = L_diff + l_id (1 - cos(phi(with), phi(photo))) + l_con (1 - cos(phi(with), sg phi(without)))
    + l_exp L_exp(with, template)

The papers leave open the forms, the weights and the shares: they are our choice, and so is that L_diff goes
on at all timesteps in the rows that nobody looks at. Faces are aligned by the *target's* landmarks: the
estimate is the target moved a little; a detector on it would fail at first, and passes no gradients.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoji_adapter.data.dataset import Rows
from emoji_adapter.training.conditions import expression_conditions, partial_identity_conditions
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.critics import Critics, photo_distance
from emoji_adapter.training.decoding import decode
from emoji_adapter.training.draws import StepDraw, draw_drops, rows_from_anywhere, share_of_rows
from emoji_adapter.training.estimators import Predict, make_estimator, step_to
from emoji_adapter.training.losses import shifted
from emoji_adapter.training.noised import Noised
from emoji_adapter.training.stages import StepModels


@dataclass(frozen=True)
class Split:
    """Which rows of a batch are looked at.

    Attributes:
        order: [B] all rows, those that are looked at last.
        seen: how many are looked at.
        inverted: the first so many of them have inverted noise.
        t: [B] timesteps, in the order of the batch.
    """

    order: Int[Tensor, " B"]
    seen: int
    inverted: int
    t: Int[Tensor, " B"]

    @classmethod
    def draw(
        cls, config: TrainingConfig, batch: int, steps: int, draw: StepDraw, device: torch.device
    ) -> "Split":
        """Draw a split; nothing waits for the device.

        Args:
            config: shares and cut-off.
            batch: B.
            steps: T, the timesteps of the schedule.
            draw: all randomness.
            device: of the rows.
        """
        ica = config.ica
        seen = share_of_rows(ica.share, batch, *draw.numbers, 2)
        inverted = share_of_rows(ica.inverted_share, seen, *draw.numbers, 3)
        order = rows_from_anywhere(batch, device, *draw.numbers, 4)
        limit = torch.full((batch,), steps, device=device)
        limit = limit.index_fill(0, order[batch - seen :], max(1, round(ica.cutoff * steps)))
        drawn = shifted(torch.rand(batch, generator=draw.generator, device=device), config.timestep_shift)
        return cls(order, seen, inverted, (drawn * limit).long().minimum(limit - 1))


class ICAStage:
    """Trains the expression branch beside the frozen identity branch, or the identity branch by itself.

    Args:
        config: of the run.
        critics: what looks at the estimates.
    """

    paired = False

    def __init__(self, config: TrainingConfig, critics: Critics):
        self.config = config
        self.critics = critics
        self.estimate = make_estimator(config.ica)
        self.figures: dict[str, Tensor] = {}

    @property
    def branch(self) -> str:
        """Branch that trains."""
        return self.config.ica.branch

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Return the loss of each row; its terms are scaled so that their means do not know the shares.

        Rows that are looked at keep identity and expression, unless the settings say otherwise; those with
        inverted noise leave L_diff out.
        """
        self.figures = {}
        device, batch = rows.latents.device, len(rows)
        split = Split.draw(self.config, batch, len(models.diffusion), draw, device)
        alone, seen = split.order[: batch - split.seen], split.order[batch - split.seen :]
        text, identity, expression = draw_drops(batch, self.config.drops, draw.generator, device)
        if not self.config.ica.drops:
            identity, expression = (drop.index_fill(0, seen, 0) for drop in (identity, expression))
        dropped = (text, identity, expression)
        if self.branch == "identity":
            conditions = partial_identity_conditions(self.config, rows, draw, dropped)
        else:
            conditions = expression_conditions(self.config, models.expression_encoder, rows, draw, dropped)
        noised = Noised.of(models, rows, conditions, draw, split.t)
        diffusion, looks = [], [torch.zeros(len(alone), device=device)]
        if len(alone):
            diffusion.append(noised.at(alone).own_loss(models, self.config))
        if len(seen):
            part = noised.at(seen)
            predicted, look = self._look(models, part, split.inverted)
            l_diff = part.diffusion_loss(models, predicted, self.config)
            diffusion.append(l_diff.index_fill(0, torch.arange(split.inverted, device=device), 0.0))
            looks.append(look * (batch / len(seen)))
        l_diff = torch.cat(diffusion) * (batch / max(batch - split.inverted, 1))
        self.figures["diffusion"] = l_diff.detach().mean()
        return (l_diff + torch.cat(looks))[split.order.argsort()]

    def _look(
        self, models: StepModels, part: Noised, inverted: int
    ) -> tuple[Float[Tensor, "b C h w"], Float[Tensor, " b"]]:
        """Estimate, decode and look.

        Returns:
            The first prediction, which L_diff needs too, and the weighted sum of the other terms a row.
        """
        ica, rows = self.config.ica, part.rows
        x_t = part.fresh(models.diffusion)
        if inverted:
            first = part.at(torch.arange(inverted, device=x_t.device))
            x_t = torch.cat([invert(models, first, ica.inversion_steps), x_t[inverted:]])
        calls = _FirstCall(part.calls(models))
        images, landmarks = self._decoded(models, calls, x_t, part)
        terms = {}
        if self.critics.recogniser is not None:
            embeds = self.critics.recogniser(images, landmarks)
            terms["identity"] = (ica.identity_weight, photo_distance(embeds, rows))
            if ica.contrast_weight > 0:
                with torch.no_grad():
                    without = part.uncontrolled()
                    own = self.critics.recogniser(*self._decoded(models, without.calls(models), x_t, without))
                terms["contrast"] = (ica.contrast_weight, 1 - (embeds * own).sum(1))
        if ica.expression_weight > 0:
            distance = self.critics.expression_distance(models.expression_encoder, images, landmarks, rows)
            terms["expression"] = (ica.expression_weight, distance)
        self.figures = {name: term.detach().mean() for name, (_, term) in terms.items()}
        return calls.predicted, torch.stack([weight * term for weight, term in terms.values()]).sum(0)

    def _decoded(
        self, models: StepModels, calls: Predict, x_t: Tensor, part: Noised
    ) -> tuple[Tensor, Tensor]:
        clean = self.estimate(models.diffusion, calls, x_t, part.t)
        return decode(models.vae, clean, part.rows.landmarks, self.config.ica.face_latents)


@torch.no_grad()
def invert(models: StepModels, part: Noised, steps: int) -> Float[Tensor, "b C h w"]:
    """Noise the targets along the current model's own path ("adaptive noise inversion").

    The papers do not say what is adaptive; this is our choice. A little fresh noise, at t / (steps + 1), then
    DDIM upwards in even steps: from the clean target itself the first step would go astray, since a picture
    without noise tells nothing of it.

    Args:
        models: U-Net and schedule.
        part: targets, conditions, fresh noise and timesteps.
        steps: calls of the network.

    Returns:
        x_t.
    """
    calls = part.calls(models)
    now = part.t // (steps + 1)
    x = models.diffusion.noisy(part.x_0, part.eps, now)
    for step in range(2, steps + 2):
        after = part.t * step // (steps + 1)
        x, now = step_to(models.diffusion, x, calls(x, now), now, after), after
    return x


class _FirstCall:
    """Calls of the network, of which the first is kept."""

    def __init__(self, calls: Predict):
        self._calls = calls
        self._predicted: Tensor | None = None

    @property
    def predicted(self) -> Tensor:
        if self._predicted is None:
            raise RuntimeError("An estimator calls the network at least once.")
        return self._predicted

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        predicted = self._calls(x, t)
        if self._predicted is None:
            self._predicted = predicted
        return predicted
