"""Takes: two pictures of one sitting differ in the expression, and so should what is predicted.

L = L_diff + w |(f(x_t, c) - f(x_t, c')) - (f - f')|^2, f and f' being what the network would say if it knew
the one picture or the other. It sees the same x_t twice, the noised mean of both, which tells neither
expression; identity, caption and place are the same, and the templates c and c' are all that differs. So all
that makes L_diff's gradient noisy cancels, and the expression, a per cent or two of L_diff, is what is left;
and as both templates show the same person, nothing is to be gained by looking who that is. Frames of films
are such pictures. Neither paper does this: it is our choice, see ADR 15.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoji_adapter.data.dataset import Rows
from emoji_adapter.training.conditions import expression_conditions
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.draws import StepDraw, draw_drops, rows_from_anywhere, share_of_rows
from emoji_adapter.training.losses import diffusion_loss
from emoji_adapter.training.noised import Noised
from emoji_adapter.training.stages import StepModels, loss_weight


class TakesStage:
    """Trains the expression branch beside the frozen, active identity branch, on pairs of takes.

    Args:
        config: drops, augmentation, shares, weight and timesteps of the difference.
    """

    branch = "expression"
    paired = True

    def __init__(self, config: TrainingConfig):
        self.config = config
        self.figures: dict[str, Tensor] = {}

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Return the loss of each row; the means of its terms do not know the shares.

        Args:
            models: U-Net, conditioner and schedule.
            rows: takes of the same sitting are neighbours, see `PreparedSet.sample`.
            draw: all randomness.
        """
        config, device, pairs = self.config, rows.latents.device, len(rows) // 2
        count = share_of_rows(config.takes.share, pairs, *draw.numbers, 2)
        order = rows_from_anywhere(pairs, device, *draw.numbers, 4)
        first, alone = 2 * order[:count], order[count:]
        own = torch.stack([2 * alone, 2 * alone + 1], dim=1).flatten()
        rows = alike_but_for_the_template(rows, first)
        both = torch.cat([first, first + 1])
        text, identity, expression = draw_drops(len(rows), config.drops, draw.generator, device)
        text[first + 1] = text[first]
        dropped = (text, identity.index_fill(0, both, 0), expression.index_fill(0, both, 0))
        conditions = expression_conditions(config, models.expression_encoder, rows, draw, dropped)
        noised = Noised.of(models, rows, conditions, draw, config.timestep_shift)
        losses = torch.zeros(len(rows), device=device)
        if len(own):
            l_diff = noised.at(own).own_loss(models, config)
            self.figures["diffusion"] = l_diff.detach().mean()
            losses = losses.index_add(0, own, l_diff * (len(rows) / len(own)))
        if len(first):
            difference = self._difference(models, noised.at(both), draw)
            self.figures["difference"] = difference.detach().mean()
            weight = config.takes.weight * len(rows) / len(both)
            losses = losses.index_add(0, both, difference.repeat(2) * weight)
        return losses

    def _difference(self, models: StepModels, part: Noised, draw: StepDraw) -> Float[Tensor, " p"]:
        """Squared error of the difference of each pair; first takes, then second ones, in the same order."""
        diffusion, takes = models.diffusion, self.config.takes
        first, second = part.x_0.chunk(2)
        low, high = (round(share * len(diffusion)) for share in (takes.low, takes.high))
        drawn = torch.rand(len(first), generator=draw.generator, device=first.device)
        t = low + (drawn * (high - low)).long()
        x_t = diffusion.noisy((first + second) / 2, part.eps[: len(first)], t)
        one, other = part.calls(models)(x_t.repeat(2, 1, 1, 1), t.repeat(2)).float().chunk(2)
        wanted = diffusion.informed(x_t, first, t) - diffusion.informed(x_t, second, t)
        weight = loss_weight(models, part.rows, t.repeat(2), self.config)
        return diffusion_loss(one - other, wanted, weight[: len(first)])


def alike_but_for_the_template(rows: Rows, first: Int[Tensor, " p"]) -> Rows:
    """Give the row after each of these its identity and its caption."""
    source = torch.arange(len(rows), device=first.device)
    source[first + 1] = first
    given = {name: getattr(rows, name) for name in ("text", "identity", "second_identity", "pooled")}
    return replace(rows, **{name: x[source] for name, x in given.items() if x is not None})
