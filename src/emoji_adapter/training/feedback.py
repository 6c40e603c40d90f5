"""Feedback: the model's own pictures are looked at, and the adapter learns from what is wrong with them.

A person, a caption and *somebody else's* expression are drawn as a user would have them drawn: from noise, in
a few steps, with guidance. The finished picture is decoded, its face found, and recogniser and teacher say
how far it is from what was asked; that flows back to some of the steps, see `Sampler`. So the adapter is
trained on the very task, cross-identity pairs included, and what is looked at is a whole, sharp picture, no
estimate. Neither paper does this: it is our choice, after ReFL (Xu et al. 2023, arXiv 2304.05977) and DRTune
(Wu et al. 2024, arXiv 2405.00760), with the frozen networks of ICA as the reward, and L_diff on other rows
against forgetting.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, smooth_l1_loss

from emoji_adapter.data.dataset import Rows
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.faces.pixels import to_bytes
from emoji_adapter.training.conditions import expression_conditions
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.critics import Critics, photo_distance
from emoji_adapter.training.decoding import decode
from emoji_adapter.training.draws import StepDraw, draw_drops, mixed_seed, rows_from_anywhere, share_of_rows
from emoji_adapter.training.estimators import Predict, step_to
from emoji_adapter.training.losses import Diffusion
from emoji_adapter.training.noised import Noised
from emoji_adapter.training.stages import StepModels, predict

SURE = 0.5
"""Score from which the log counts a face as found: the face finder's usual one."""
BETA = 0.1
"""Difference of a blendshape above which it counts absolutely, below squared. A finished picture is no mean
of many, so ADR 11's argument against absolute differences does not hold here, and a face that moves where its
template is at rest is as wrong as one that rests."""
EXACTNESS = 4.0
"""Weight of differences beside the divergence: this begins what is not drawn yet, those make it exact."""
SURELY = 1e-6
"""A reading is taken as no surer than this of 0 or of 1."""


@dataclass(frozen=True)
class Sampler:
    """Draws as the pipeline does: DDIM without noise, timesteps "trailing", classifier-free guidance.

    Attributes:
        steps: calls of the network.
        graded: which of them get gradients, 0 is the first.
        guidance_scale: 1 is without.
    """

    steps: int
    graded: frozenset[int]
    guidance_scale: float

    def __call__(
        self,
        diffusion: Diffusion,
        graded: Predict,
        told: Predict,
        untold: Predict,
        noise: Float[Tensor, "B C h w"],
    ) -> Float[Tensor, "B C h w"]:
        """Draw clean latents.

        Gradients flow to the predictions of the graded steps and from there straight to the end: later calls
        of the network take what they are given as it is (DRTune). So memory holds the graded calls only, and
        early steps, which decide most, learn as well as late ones.

        Args:
            diffusion: schedule and kind of prediction.
            graded: the network with its conditions, called in the graded steps.
            told: the same for the other steps, without gradients.
            untold: the network without any conditions; not called without guidance.
            noise: at the last timestep.
        """
        x = noise
        for step in range(self.steps):
            t, s = (
                torch.full((len(x),), len(diffusion) * left // self.steps - 1, device=x.device)
                for left in (self.steps - step, self.steps - step - 1)
            )
            given = x.detach()
            if step in self.graded:
                predicted = graded(given, t).float()
            else:
                with torch.no_grad():
                    predicted = told(given, t).float()
            if self.guidance_scale != 1:
                with torch.no_grad():
                    without = untold(given, t).float()
                predicted = without + self.guidance_scale * (predicted - without)
            last = step == self.steps - 1
            x = diffusion.clean(x, predicted, t) if last else step_to(diffusion, x, predicted, t, s)
        return x


class FeedbackStage:
    """Trains one branch, or both together, on what is drawn.

    Args:
        config: of the run.
        critics: what looks at the pictures.
        analyzer: finds their faces.
    """

    paired = False

    def __init__(self, config: TrainingConfig, critics: Critics, analyzer: FaceAnalyzer):
        self.config = config
        self.critics = critics
        self.analyzer = analyzer
        self.figures: dict[str, Tensor] = {}
        self._compiled: Any = None

    @property
    def branch(self) -> str | None:
        """Branch that trains; None for both."""
        branch = self.config.feedback.branch
        return None if branch == "both" else branch

    def loss(self, models: StepModels, rows: Rows, draw: StepDraw) -> Float[Tensor, " B"]:
        """Return the loss of each row; the means of its terms do not know the shares."""
        self.figures = {}
        config, device, batch = self.config, rows.latents.device, len(rows)
        count = share_of_rows(config.feedback.share, batch, *draw.numbers, 2)
        order = rows_from_anywhere(batch, device, *draw.numbers, 4)
        own, drawn = order[count:], order[:count]
        if config.feedback.templates == "others":
            rows = with_others_templates(rows, drawn)
        text, identity, expression = draw_drops(batch, config.drops, draw.generator, device)
        dropped = (text.index_fill(0, drawn, 0), identity, expression)
        conditions = expression_conditions(config, models.expression_encoder, rows, draw, dropped)
        noised = Noised.of(models, rows, conditions, draw, config.timestep_shift)
        losses = torch.zeros(batch, device=device)
        if len(own):
            l_diff = noised.at(own).own_loss(models, config) * (batch / len(own))
            self.figures["diffusion"] = l_diff.detach().mean() * (len(own) / batch)
            losses = losses.index_add(0, own, l_diff)
        if len(drawn):
            looks = self._look(models, noised.at(drawn), identity[drawn], expression[drawn], draw)
            losses = losses.index_add(0, drawn, looks * (batch / len(drawn)))
        return losses

    def _look(
        self,
        models: StepModels,
        part: Noised,
        without_identity: Bool[Tensor, " b"],
        without_expression: Bool[Tensor, " b"],
        draw: StepDraw,
    ) -> Float[Tensor, " b"]:
        """Draw, find the faces and look: the weighted sum of the terms, 0 where no face was found."""
        feedback = self.config.feedback
        quick = replace(models, unet=self._without_gradients(models.unet))
        latents = self._sampler(draw)(
            models.diffusion,
            part.calls(models),
            part.calls(quick),
            _untold(quick, part.rows),
            part.eps,
        )
        images, _ = decode(models.vae, latents, part.rows.landmarks)
        landmarks, found = self._landmarks(images, part.rows.landmarks)
        eyes = (landmarks[:, 0] - landmarks[:, 1]).norm(dim=1)[:, None, None]
        moved = torch.randn(landmarks.shape, generator=draw.generator, device=images.device)
        landmarks = landmarks + feedback.jitter * eyes * moved
        total = torch.zeros(len(found), device=images.device)
        if self.critics.recogniser is not None:
            term = photo_distance(self.critics.recogniser(images, landmarks), part.rows)
            kept = self._counted("identity", term, found, without_identity)
            total = total + feedback.identity_weight * kept
        if self.critics.teacher is not None:
            crops = crop_batch(images, landmarks, models.expression_encoder.crop)
            read, wanted = self.critics.teacher(crops), part.rows.blendshapes.float()
            differences = smooth_l1_loss(read, wanted, reduction="none", beta=BETA)
            term = (divergence(read, wanted) + EXACTNESS * differences).mean(1)
            kept = self._counted("expression", term, found, without_expression)
            total = total + feedback.expression_weight * kept
        return total

    def _without_gradients(self, unet: Any) -> Any:
        """The U-Net for calls without gradients: compiled, if the settings say so, and then kept."""
        if not self.config.feedback.compile:
            return unet
        if self._compiled is None:
            self._compiled = torch.compile(unet)
        return self._compiled

    def _counted(self, name: str, term: Tensor, found: Tensor, without: Tensor) -> Float[Tensor, " b"]:
        counts = (found & ~without).float()
        self.figures[name] = (term.detach() * counts).sum() / counts.sum().clamp_min(1)
        return term * counts

    def _sampler(self, draw: StepDraw) -> Sampler:
        """With graded steps drawn anew, without a word to the device."""
        feedback = self.config.feedback
        steps = range(feedback.steps)
        graded = sorted(steps, key=lambda step: mixed_seed(*draw.numbers, 6, step))[: feedback.graded_steps]
        return Sampler(feedback.steps, frozenset(graded), feedback.guidance_scale)

    def _landmarks(
        self, images: Float[Tensor, "b 3 H W"], instead: Float[Tensor, "b 5 2"]
    ) -> tuple[Float[Tensor, "b 5 2"], Bool[Tensor, " b"]]:
        """Landmarks of each picture's largest face, `instead` where there is none; and where there is one.

        The face finder works on the CPU: this waits for the device.
        """
        faces = [self.analyzer.detect(picture) for picture in to_bytes(images)]
        sure = [any(face.score >= SURE for face in some) for some in faces]
        self.figures["found"] = torch.tensor(sure, device=images.device).float().mean()
        found = torch.tensor([bool(some) for some in faces], device=images.device)
        points = instead.float().clone()
        for row, some in enumerate(faces):
            if some:
                points[row] = torch.from_numpy(np.asarray(some[0].landmarks, np.float32))
        return points, found


def divergence(read: Float[Tensor, "..."], wanted: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Kullback-Leibler divergence of blendshapes, each taken as the chance of a yes (our choice).

    Teachers end in a sigmoid, which is flat where a face is at rest: of a jaw that never moves, differences
    tell the picture next to nothing. The gradient of this one to what stands before the sigmoid is
    `read - wanted`, however sure the teacher is.

    Args:
        read: of the picture, in [0, 1].
        wanted: of the template, in [0, 1].

    Returns:
        For each blendshape, in nats, at least 0 and 0 where both agree.
    """
    read, wanted = (value.clamp(SURELY, 1 - SURELY) for value in (read, wanted))
    least = binary_cross_entropy(wanted, wanted, reduction="none")
    return binary_cross_entropy(read, wanted, reduction="none") - least


def with_others_templates(rows: Rows, where: Tensor) -> Rows:
    """Give some rows the template of the row before them, of somebody else: rows are drawn at random.

    Args:
        rows: a batch.
        where: [n] which rows.
    """
    last = where.roll(1)
    crops, blendshapes = rows.crops.clone(), rows.blendshapes.clone()
    crops[where], blendshapes[where] = rows.crops[last], rows.blendshapes[last]
    return replace(rows, crops=crops, blendshapes=blendshapes)


def _untold(models: StepModels, rows: Rows) -> Predict:
    """The U-Net with the empty prompt and without the adapter: the negative half of guidance."""
    text = rows.empty.expand(len(rows), -1, -1)
    pooled = None if rows.empty_pooled is None else rows.empty_pooled.expand(len(rows), -1)
    return lambda x, t: predict(models, x, t, text, {}, pooled)
