"""The files of a round: shards written whole or not at all, resumed where they stopped, counted at the end.

OUT/round_1/idi.json              what decides the round; another one is refused
OUT/round_1/attempts-00000.jsonl  every attempt of a shard, kept or refused, with its numbers
OUT/round_1/refused-00000.tar     pictures of some that were refused, for the contact sheet
OUT/round_1/shard-00000.tar       the triplets; written last, so it marks its shard as done
OUT/round_1/manifest.jsonl        a line for each triplet
OUT/round_1/round.json            pass rates; written last of all
OUT/rates.json, OUT/report.html   pass rates of all rounds; contact sheet
"""

import io
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from emoji_adapter.config import from_mapping, to_mapping
from emoji_adapter.data.archive import write_samples
from emoji_adapter.data.folder import SourcePicture, digest_of
from emoji_adapter.data.idi.config import ADDED, HARMLESS, IdiConfig
from emoji_adapter.data.idi.filters import FILTERS
from emoji_adapter.data.idi.rates import RoundRates, rates_of
from emoji_adapter.data.idi.sheet import report
from emoji_adapter.data.idi.synthesis import Attempted
from emoji_adapter.data.manifest import MANIFEST, read_lines, write_lines, write_whole
from emoji_adapter.data.triplets import PICTURES, ROUND, SETTINGS, TripletRecord, shard_file
from emoji_adapter.errors import DataError, InputError

RATES = "rates.json"
REPORT = "report.html"

MakeShard = Callable[[int, Callable[[int], object]], list[Attempted]]
"""Makes the attempts of shard `number`, telling how many more are done."""
Progress = Callable[[int, int], object]
"""Told (attempts done, of)."""

logger = logging.getLogger(__name__)


def round_folder(out: Path, config: IdiConfig) -> Path:
    """Folder of a round."""
    return out / f"round_{config.round}"


def open_round(
    folder: Path, config: IdiConfig, pictures: Sequence[SourcePicture], weights: dict[str, str]
) -> None:
    """Make a round's folder, or see that the one that is there was made from the same things.

    Args:
        folder: of the round.
        config: what decides it.
        pictures: the source's portraits.
        weights: hashes of the models.

    Raises:
        InputError: it was begun with other settings, weights or portraits.
    """
    settings = {name: value for name, value in to_mapping(config).items() if name not in HARMLESS}
    settings |= {"portraits": digest_of(list(pictures), ""), **weights}
    path = folder / SETTINGS
    if path.is_file():
        before = ADDED | json.loads(path.read_text(encoding="utf-8"))
        if changed := sorted(k for k in before.keys() | settings if before.get(k) != settings.get(k)):
            raise InputError(
                f"{folder} was begun with other {', '.join(changed)}. Go on with the same ones, choose "
                "another --out, or remove the folder."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(settings, indent=2) + "\n")


def missing_shards(folder: Path, config: IdiConfig) -> list[int]:
    """Shards that are still to be made."""
    return [number for number in range(config.shards) if not shard_file(folder, number).is_file()]


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
        part: (i, n): every n-th shard from the i-th on, i from 0.
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


def write_attempts(folder: Path, shard: int, attempts: Sequence[Attempted], refused_pictures: int) -> None:
    """Write the files of a shard; killed at any moment they leave the shard done, or not there at all."""
    refused = [attempt for attempt in attempts if attempt.record.refused]
    write_lines(_attempts_file(folder, shard), [attempt.record for attempt in attempts])
    write_samples(_refused_file(folder, shard), map(_sample, _spread(refused, refused_pictures)))
    kept = [attempt for attempt in attempts if not attempt.record.refused]
    write_samples(shard_file(folder, shard), map(_sample, kept))


def close_round(folder: Path, config: IdiConfig) -> RoundRates:
    """Count a round whose shards are all there, and write what covers all shards and all rounds.

    Raises:
        DataError: a shard was damaged.
    """
    for path in folder.glob("*-*.partial"):  # of shards that a killed run was writing
        path.unlink(missing_ok=True)
    shards = sorted(int(path.stem.partition("-")[2]) for path in folder.glob("shard-*.tar"))
    records = [record for n in shards for record in read_lines(_attempts_file(folder, n), TripletRecord)]
    write_lines(folder / MANIFEST, [record for record in records if not record.refused])
    rates = rates_of(config.round, len(shards), records)
    write_whole(folder / ROUND, json.dumps(asdict(rates), indent=2) + "\n")
    out = folder.parent
    rounds = read_rates(out)
    write_whole(out / RATES, json.dumps([asdict(item) for item in rounds], indent=2) + "\n")
    refused = [_refused_file(folder, n) for n in shards]
    kept = [shard_file(folder, n) for n in shards]
    write_whole(out / REPORT, report(rounds, kept, refused, config.thresholds))
    return rates


def read_rates(out: Path) -> list[RoundRates]:
    """Pass rates of all complete rounds, in order.

    Raises:
        DataError: one is damaged.
    """
    found = []
    for path in out.glob(f"round_*/{ROUND}"):
        try:
            found.append(
                from_mapping(RoundRates, json.loads(path.read_text(encoding="utf-8")), name=str(path))
            )
        except (json.JSONDecodeError, InputError) as error:
            raise DataError(f"{path} is damaged: {error}. Run `emoji-adapter idi` again.") from error
    return sorted(found, key=lambda rates: rates.round)


def _attempts_file(folder: Path, shard: int) -> Path:
    return folder / f"attempts-{shard:05d}.jsonl"


def _refused_file(folder: Path, shard: int) -> Path:
    return folder / f"refused-{shard:05d}.tar"


def _spread(refused: list[Attempted], count: int) -> list[Attempted]:
    """Take attempts by turns from each filter, so that the sheet shows every reason."""
    groups = [[a for a in refused if a.record.refused == item.name] for item in FILTERS]
    turns = [group[place] for place in range(len(refused)) for group in groups if place < len(group)]
    return turns[:count]


def _sample(attempt: Attempted) -> tuple[str, dict[str, bytes]]:
    """Key and members of an attempt, the pictures as PNG."""
    members = {f"{name}.png": _png(attempt.pictures[name]) for name in PICTURES if name in attempt.pictures}
    members["json"] = json.dumps(asdict(attempt.record), ensure_ascii=False).encode()
    return attempt.record.id, members


def _png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
