"""A round of IDI from portraits to triplet shards.

Deterministic: a shard depends on (seed, round, its number), the source and the models only.
Sharded: any number of processes or machines may each make a part of the shards in one folder.
Resumable: a shard is there whole or not at all, so a killed run loses at most the one it was making, and no
    triplet comes twice.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from emoji_adapter.data.idi.config import IdiConfig
from emoji_adapter.data.idi.inspect import build_inspector
from emoji_adapter.data.idi.plan import Planner
from emoji_adapter.data.idi.rates import RoundRates
from emoji_adapter.data.idi.render import Renderer
from emoji_adapter.data.idi.rounds import (
    MakeShard,
    close_round,
    missing_shards,
    open_round,
    round_folder,
    write_attempts,
)
from emoji_adapter.data.idi.synthesis import Synthesis
from emoji_adapter.data.sources import list_portraits
from emoji_adapter.data.triplets import ROUND
from emoji_adapter.data.workers import spread

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], object]
"""Told (attempts done, of)."""


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


def make_round(
    folder: Path,
    config: IdiConfig,
    make_shard: MakeShard,
    part: tuple[int, int] = (0, 1),
    progress: Progress = lambda done, of: None,
) -> RoundRates | None:
    """Make the missing shards of a part, and close the round when all parts are there.

    Args:
        folder: of the round, opened.
        config: what decides the round.
        make_shard: makes the attempts of one shard.
        part: (i, n), see `idi`.
        progress: told of progress.
    """
    first, step = part
    mine = [number for number in range(config.shards) if number % step == first]
    missing = [number for number in missing_shards(folder, config) if number in mine]
    if missing:
        (folder / ROUND).unlink(missing_ok=True)
    done = (len(mine) - len(missing)) * config.shard_size
    total = len(mine) * config.shard_size
    progress(done, total)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    for number in missing:
        write_attempts(folder, number, make_shard(number, advance), config.refused_pictures)
    if missing_shards(folder, config):
        logger.info("%s waits for the shards of other parts.", folder)
        return None
    return close_round(folder, config)
