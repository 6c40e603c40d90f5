"""The EmojiDiff protocol in the micro-world: test people x expressions x styles, with perfect answers."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from emoji_adapter.errors import InputError
from emoji_adapter.metrics.records import Cell
from emoji_adapter.microworld.captions import contradiction, expression_words, prompt
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.networks.judges import skin_of
from emoji_adapter.microworld.splits import expressions, people, stream
from emoji_adapter.renderer.parameters import FaceParameters, sample_expression, sample_scene
from emoji_adapter.renderer.vocabulary import ACCESSORIES, BACKGROUNDS, STYLES

CONTRADICTED_SHARE = 1 / 8
ACCESSORY_SHARE = 1 / 4
NEUTRAL_LIGHT = (0.0, -0.4, 0.5)


@dataclass(frozen=True)
class _Plan:
    """What is drawn for the cells; rows are cells, except for photos, which are one a person."""

    photos: FaceParameters
    templates: FaceParameters
    oracles: FaceParameters


class MicroBenchmark:
    """A fresh split: people, expressions and template people that no training has drawn.

    Every person meets every expression in every style. The template shows somebody else, another person in
    each meeting of person and expression, in any pose and light; in half of the cells of each style it is
    drawn in another style than the prompt asks for. One cell in eight has a prompt whose words contradict the
    template, one in four asks for an accessory.

    Args:
        seed: of everything that is drawn and of the noise.
        identities: number of people.
        expressions: number of expressions.
        styles: number of styles, taken at random from `STYLES`, or their names.
        size: side of the pictures in pixels.
        device: where to draw.

    Raises:
        InputError: fewer than two people, no expression, or styles that do not exist.
    """

    name = "micro"

    def __init__(
        self,
        seed: int = 0,
        identities: int = 16,
        expressions: int = 8,
        styles: int | tuple[str, ...] = 2,
        *,
        size: int = 128,
        device: torch.device | str = "cpu",
    ):
        if identities < 2 or expressions < 1:
            raise InputError(
                "A benchmark needs at least 2 identities and 1 expression, "
                f"got {identities} and {expressions}."
            )
        self.seed, self.identities, self.expressions = seed, identities, expressions
        self.styles = _styles(styles, seed)
        plan = self._plan()
        self.cells = self._cells(plan)
        self._photos, self._templates, self._oracles = (
            draw(parameters, size, device) for parameters in (plan.photos, plan.templates, plan.oracles)
        )

    def photo(self, number: int) -> Image.Image:
        """The identity photo of a cell; all cells of a person share it."""
        return Image.fromarray(self._photos[self.cells[number].identity])

    def template(self, number: int) -> Image.Image:
        """The expression template of a cell."""
        return Image.fromarray(self._templates[number])

    def oracle(self, number: int) -> Image.Image:
        """The perfect answer to a cell: its person, expression, style and scene, facing the viewer."""
        return Image.fromarray(self._oracles[number])

    def _plan(self) -> _Plan:
        shape = (self.identities, self.expressions, len(self.styles))
        person, expression, style = (torch.from_numpy(axis.ravel()) for axis in np.indices(shape))
        who = people("test", self.identities * (1 + self.expressions), self.seed)
        what = expressions("test", self.expressions, self.seed)[expression]
        meeting = self.identities + person * self.expressions + expression
        chance = stream("test", "benchmark", self.seed)
        photos = FaceParameters(
            identity=who[: self.identities],
            expression=0.3 * sample_expression(self.identities, chance),
            **_without_accessory(sample_scene(self.identities, chance)),
        )
        scene = sample_scene(len(person), chance)
        wanted = torch.tensor([STYLES.index(name) for name in self.styles])[style]
        named = torch.rand(len(person), generator=chance) < ACCESSORY_SHARE
        thing = torch.randint(1, len(ACCESSORIES), (len(person),), generator=chance)
        oracles = _facing(FaceParameters(identity=who[person], expression=what, **scene)).replace(
            style=wanted, accessory=torch.where(named, thing, 0)
        )
        other = (wanted + torch.randint(1, len(STYLES), (len(person),), generator=chance)) % len(STYLES)
        same = (person + expression + style) % 2 == 0
        templates = FaceParameters(
            identity=who[meeting], expression=what, **sample_scene(len(person), chance)
        )
        return _Plan(
            photos.replace(style=torch.full((self.identities,), STYLES.index("photo"))),
            templates.replace(style=torch.where(same, wanted, other)),
            oracles,
        )

    def _cells(self, plan: _Plan) -> list[Cell]:
        dice = random.Random(f"contradictions {self.seed}")
        count = len(plan.oracles)
        contradicted = set(dice.sample(range(count), round(count * CONTRADICTED_SHARE)))
        return [self._cell(plan, number, number in contradicted, dice) for number in range(count)]

    def _cell(self, plan: _Plan, number: int, contradicted: bool, dice: random.Random) -> Cell:
        asked, shown = plan.oracles, plan.templates
        person, rest = divmod(number, self.expressions * len(self.styles))
        scene = (
            STYLES[int(asked.style[number])],
            BACKGROUNDS[int(asked.background[number])],
            ACCESSORIES[int(asked.accessory[number])],
        )
        expression = asked.expression[number]
        false_words = contradiction(expression, dice) if contradicted else ""
        return Cell(
            identity=person,
            expression=rest // len(self.styles),
            seed=self.seed * 1_000_003 + number,
            prompt=prompt(*scene, false_words),
            plain_prompt=prompt(*scene),
            words_prompt=prompt(*scene, ", ".join(expression_words(expression)[:2])),
            style=scene[0],
            background=scene[1],
            accessory=scene[2],
            template_style=STYLES[int(shown.style[number])],
            contradicted=contradicted,
            blendshapes=expression.numpy(),
            skin=skin_of(asked.index(slice(number, number + 1)))[0].numpy(),
            template_skin=skin_of(shown.index(slice(number, number + 1)))[0].numpy(),
            template_pose=shown.pose[number, :3].numpy(),
        )


def _styles(wanted: int | tuple[str, ...], seed: int) -> tuple[str, ...]:
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(STYLES):
            raise InputError(f"styles must lie between 1 and {len(STYLES)}, got {wanted}.")
        return tuple(random.Random(f"styles {seed}").sample(STYLES, wanted))
    unknown = [name for name in wanted if name not in STYLES]
    if unknown or not wanted:
        raise InputError(f"Unknown styles {unknown}; the micro-world knows {', '.join(STYLES)}.")
    return tuple(wanted)


def _without_accessory(scene: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**scene, "accessory": torch.zeros_like(scene["accessory"])}


def _facing(parameters: FaceParameters) -> FaceParameters:
    """Facing the viewer, in the middle, in plain light."""
    pose = torch.zeros_like(parameters.pose)
    pose[:, 3] = 1.0
    return parameters.replace(
        pose=pose,
        light=torch.tensor(NEUTRAL_LIGHT).expand(len(parameters), 3),
        variation=torch.zeros_like(parameters.variation),
    )
