"""Is the base adapter bad in the three ways that the method cures? If not, there is nothing to show."""

from dataclasses import dataclass
from typing import Any

from emoji_adapter.errors import InputError
from emoji_adapter.evaluation.comparison import difference
from emoji_adapter.evaluation.judged import Judged
from emoji_adapter.evaluation.scores import WITHOUT, Scorer, figure
from emoji_adapter.metrics.bootstrap import Estimate, combine

LEAK, STYLE = 0.10, -0.02
"""Least leak, and least change of the style accuracy in off-style cells, that are worth a cure."""


@dataclass(frozen=True)
class Symptom:
    """One way in which an adapter may be bad.

    Attributes:
        name: of the symptom.
        means: what is measured.
        measured: with its draws.
        bound: the figure must lie beyond it.
        above: beyond means above it, else below.
    """

    name: str
    means: str
    measured: Estimate
    bound: float
    above: bool

    @property
    def holds(self) -> bool:
        """The figure lies beyond the bound and its interval on the same side of 0."""
        low, high = self.measured.ci95
        return (
            self.measured.value >= self.bound and low > 0
            if self.above
            else (self.measured.value <= self.bound and high < 0)
        )

    def told(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "means": self.means,
            **figure(self.measured),
            "bound": self.bound,
            "holds": self.holds,
        }


def preflight(judged: Judged, name: str | None = None, draws: int = 2000) -> dict[str, Any]:
    """Look for the three faults of a base adapter in a judged table.

    Args:
        judged: with an identity-only row and an oracle.
        name: of the base adapter's row; the last one by default.
        draws: resamplings of the bootstrap.

    Returns:
        `row`; `leaks`, `drags_style`, `costs_identity`: whether; `symptoms`: the figures.

    Raises:
        InputError: the table has no identity-only row or no oracle, or the row sees no template.
    """
    scorer = Scorer(judged, draws)
    free, row = judged.first(WITHOUT), judged.rows[-1] if name is None else judged.row(name)
    base = scorer.estimates(row.name)
    needed = {"leak", "skin_leak", "position", "style"}
    if free is None or free is row or not needed <= base.keys():
        raise InputError(
            f"A preflight of the row {row.name!r} needs a row drawn as {WITHOUT!r}, an oracle, and a row "
            f"that sees a template; measured are {', '.join(base)}."
        )
    without = scorer.estimates(free.name)
    off = [scorer.estimates(one, scorer.other_style)["style"] for one in (row.name, free.name)]
    symptoms = [
        Symptom("leak", "resemblance to the template's person beyond the oracle's", base["leak"], LEAK, True),
        Symptom("skin leak", "share of the template's skin taken over", base["skin_leak"], 0.0, True),
        Symptom(
            "style",
            "style accuracy in off-style cells, less that of identity only",
            combine(difference, *off),
            STYLE,
            False,
        ),
        Symptom(
            "identity",
            "ID position, less that of identity only",
            combine(difference, base["position"], without["position"]),
            0.0,
            False,
        ),
    ]
    leak, skin, style, identity = symptoms
    return {
        "row": row.name,
        "leaks": leak.holds and skin.holds,
        "drags_style": style.holds,
        "costs_identity": identity.holds,
        "symptoms": [symptom.told() for symptom in symptoms],
    }
