"""What may change between a run and its resumption. No tensor library."""

from emoji_adapter.config import to_mapping
from emoji_adapter.training.config import TrainingConfig

HARMLESS = frozenset(
    {
        "log_every",
        "preview_every",
        "checkpoint_every",
        "keep",
        "preview",
        "compile",
        "minutes",
        "gradient_checkpointing",
    }
)
"""Settings that may change between a run and its resumption: they do not touch the trained weights."""


ADDED: dict[str, object] = {"one_recogniser_share": 0.4}
"""Settings that runs begun earlier don't have, and what these did."""


def changed_settings(before: dict[str, object], now: TrainingConfig) -> list[str]:
    """Names of settings that differ in a way that a resumed run may not.

    Args:
        before: `to_mapping` of the settings that the run began with.
        now: the settings it is to go on with.
    """
    before, after = ADDED | before, to_mapping(now)
    ignored = HARMLESS if now.start is None else HARMLESS | {"adapter"}
    names = sorted(set(before) | set(after))
    return [name for name in names if name not in ignored and _changed(before.get(name), after.get(name))]


def _changed(before: object, now: object) -> bool:
    """Whether a setting differs; one that did not exist yet in a group counts as None."""
    if isinstance(before, dict) and isinstance(now, dict):
        return any(before.get(name) != now.get(name) for name in {*before, *now})
    return before != now
