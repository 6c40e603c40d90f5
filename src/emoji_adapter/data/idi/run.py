"""A round of IDI from portraits to triplet shards.

Deterministic: a shard depends on (seed, round, its number), the source and the models only.
Sharded: any number of processes or machines may each make a part of the shards in one folder.
Resumable: a shard is there whole or not at all, so a killed run loses at most the one it was making, and no
    triplet comes twice.
"""

from pathlib import Path

from emoji_adapter.data.idi.config import IdiConfig
from emoji_adapter.data.idi.inspect import build_inspector
from emoji_adapter.data.idi.plan import Planner
from emoji_adapter.data.idi.rates import RoundRates
from emoji_adapter.data.idi.render import Renderer
from emoji_adapter.data.idi.rounds import (
    Progress,
    close_round,
    make_round,
    missing_shards,
    open_round,
    round_folder,
)
from emoji_adapter.data.idi.synthesis import Synthesis
from emoji_adapter.data.sources import list_portraits
from emoji_adapter.data.workers import spread


def idi(
    source: str | Path,
    out: str | Path,
    config: IdiConfig,
    *,
    part: tuple[int, int] = (0, 1),
    workers: int = 0,
    device: str = "cpu",
    progress: Progress = lambda done, of: None,
) -> RoundRates | None:
    """Make the triplets of a round.

    Args:
        source: portraits, see `list_portraits`.
        out: folder of all rounds; this one goes to OUT/round_N. A round that was interrupted goes on there.
        config: what decides the round.
        part: (i, n): make every n-th shard from the i-th on, i from 0.
        workers: processes that look for faces and swap; 0 = none but this one.
        device: where pictures are rendered.
        progress: told of progress.

    Returns:
        The pass rates; None while shards of other parts are missing.

    Raises:
        DataError: no portraits, or of one person only; a damaged file.
        InputError: the round was begun with other settings.
        WeightsNotFoundError: a model is missing.
        MissingExtraError: the library that reads the source is not installed.
    """
    pictures = list_portraits(source)
    Planner(pictures, config)  # refuses a source without a second person before anything is loaded
    renderer = Renderer.load(config, device)
    folder = round_folder(Path(out), config)
    open_round(folder, config, pictures, renderer.fingerprint())
    if not missing_shards(folder, config):
        return close_round(folder, config)
    with spread(build_inspector, renderer.inspect_settings(), workers) as look:
        synthesis = Synthesis(pictures, config, renderer, look)
        return make_round(folder, config, synthesis.shard, part, progress)
