"""From what layers do to which of them are kept: those that carry expression and not style.

EmojiDiff's first version chose "expression-sensitive" layers; how is not published. The rule is our choice:

1. A layer's *expression* is the mean of two shares of the adapter's whole control, which is Exp(nowhere) -
   Exp(everywhere): what the layer achieves alone, and what is lost without it.
2. Its *style* is the mean of two losses of style accuracy: what it costs alone, and what leaving it out
   gives back.
3. Layers are taken by falling expression, as long as it is at least `least` of the strongest layer's, the
   style it costs is at most `style`, and the keys' and values' weights stay within `budget`.
4. If nothing is left the strongest layer alone is taken: no control at all is no choice.
"""

from dataclasses import asdict, dataclass
from typing import Any

from emoji_adapter.errors import InputError
from emoji_adapter.probe.runner import LayerEffect, Probed


@dataclass(frozen=True)
class Rule:
    """How layers are chosen; all values are our choice."""

    least: float = 0.1
    """Least expression of a layer, as a share of the strongest one's."""
    style: float = 0.05
    """Most style accuracy that a layer may cost; 0.05 is five points, more than chance mostly does to a
    hundred cells."""
    budget: float = 0.5
    """Most of the expression branch's key and value weights that are kept."""

    def __post_init__(self) -> None:
        for name in ("least", "style", "budget"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"The rule's {name} must lie in [0, 1], got {getattr(self, name)}.")


@dataclass(frozen=True)
class Carried:
    """What a layer carries.

    Attributes:
        expression: share of the adapter's whole control, see the module.
        style: style accuracy that it costs.
        identity: cosine with the photo that it costs, formed in the same way.
        background: accuracy of the background that it costs.
    """

    expression: float
    style: float
    identity: float
    background: float


def carried(probed: Probed, effect: LayerEffect) -> Carried:
    """Work out what a layer carries: the mean of acting there alone and everywhere but there."""
    whole = probed.nowhere.expression - probed.everywhere.expression
    gained = probed.nowhere.expression - effect.alone.expression
    lost = effect.without.expression - probed.everywhere.expression

    def cost(name: str) -> float:
        alone = getattr(probed.nowhere, name) - getattr(effect.alone, name)
        given_back = getattr(effect.without, name) - getattr(probed.everywhere, name)
        return (alone + given_back) / 2

    return Carried(
        expression=(gained + lost) / 2 / whole if whole > 0 else 0.0,
        style=cost("style"),
        identity=cost("identity"),
        background=cost("background"),
    )


def choose(probed: Probed, rule: Rule = Rule()) -> list[str]:
    """Choose layers, in the order of the U-Net.

    Args:
        probed: what the layers do.
        rule: see the module.

    Raises:
        InputError: the adapter controls nothing, so that no layer can be told from another.
    """
    if probed.nowhere.expression <= probed.everywhere.expression:
        raise InputError(
            f"This adapter does not bring pictures nearer to their templates: Exp is "
            f"{probed.everywhere.expression:.4f} with it and {probed.nowhere.expression:.4f} without. Probe "
            "a trained adapter, or with more people and expressions."
        )
    ranked = sorted(
        ((carried(probed, effect), effect) for effect in probed.effects),
        key=lambda pair: -pair[0].expression,
    )
    strongest = ranked[0][0].expression
    left = rule.budget * sum(effect.parameters for effect in probed.effects)
    chosen = set()
    for found, effect in ranked:
        enough = found.expression > 0 and found.expression >= rule.least * strongest
        if enough and found.style <= rule.style and effect.parameters <= left:
            chosen.add(effect.layer)
            left -= effect.parameters
    chosen = chosen or {ranked[0][1].layer}
    return [effect.layer for effect in probed.effects if effect.layer in chosen]


def as_json(probed: Probed, chosen: list[str], rule: Rule, protocol: dict[str, Any]) -> dict[str, Any]:
    """The whole result, ready for JSON; `emoji-adapter train --layers` reads `chosen`.

    Args:
        probed: what the layers do.
        chosen: what `choose` returned.
        rule: that it was chosen by.
        protocol: seed, sizes, names and versions, as they are to be recorded.
    """
    return {
        "protocol": {**protocol, "cells": probed.cells},
        "rule": asdict(rule),
        "nowhere": asdict(probed.nowhere),
        "everywhere": asdict(probed.everywhere),
        "layers": [
            {**asdict(effect), "carries": asdict(carried(probed, effect))} for effect in probed.effects
        ],
        "chosen": chosen,
    }
