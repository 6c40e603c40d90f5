"""Whether two recognisers are better than one, and whether either dominates: `python benchmarks/compound.py`.

ID position (0 a stranger, 1 the perfect answer) of portraits told who, and nothing of an expression: for an
adapter of one recogniser and for compound ones, told by both embeddings, by the first or the second alone,
and by the first of one person and the second of another: where none dominates, both people get the same.
Two-way cluster bootstrap as in `emoji-adapter evaluate`. Writes `benchmarks/results/compound.json`.

    python benchmarks/compound.py --one out/adapters/base --two balanced=runs/two/adapter

Compound adapters come from `emoji-adapter train --recipe micro_identity_cpu`, on a set that was prepared with
`--second-recogniser micro`, by `start=out/adapters/base`, `adapter.second_recogniser=micro`,
`trains=[second_identity_projection]`. The result's "balanced" had `one_recogniser_share` 0.4 for 240 steps of
24 rows, then 1.0 for 1 050 of 32; "never alone" 0.0 for 300 of 24 and 480 of 32. No weights are shipped.
"""

import argparse
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import record
from torch import Tensor

from emoji_adapter import EmojiDiffPipeline
from emoji_adapter.checkpoints.format import load_adapter
from emoji_adapter.config import GUIDANCE
from emoji_adapter.evaluation.drawing import slices
from emoji_adapter.metrics.bootstrap import ClusterBootstrap, Estimate, combine
from emoji_adapter.metrics.identity import cosine, different_person_cosine, position
from emoji_adapter.microworld.benchmark import MicroBenchmark
from emoji_adapter.microworld.judges import MicroJudges
from emoji_adapter.models.adapter import EmojiAdapter


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", required=True, help="adapter of one recogniser")
    parser.add_argument("--two", action="append", required=True, metavar="NAME=ADAPTER", help="compound ones")
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--identities", type=int, default=24)
    parser.add_argument("--expressions", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    study = Study(options)
    rows = {"one recogniser": study.read(load_adapter(options.one))}
    for item in options.two:
        name, _, where = item.partition("=")
        whole = load_adapter(where)
        rows[f"{name}: both"] = study.read(whole)
        rows[f"{name}: first alone"] = study.read(alone(whole, 0), half=0)
        rows[f"{name}: second alone"] = study.read(alone(whole, 1), half=1)
        rows[f"{name}: apart"] = study.read(whole, apart=True)
    figures: dict[str, Any] = {key: getattr(options, key) for key in ("seed", "identities", "steps")}
    figures["cells"] = len(study.cells)
    one = study.position(rows["one recogniser"])
    for name, read in rows.items():
        figures[name] = {"position": shown(found := study.position(read))}
        if name.endswith("both"):
            figures[name]["over_one"] = shown(combine(np.subtract, found, one))
        if name.endswith("apart"):
            figures[name]["position_of_the_second"] = shown(study.position(read, study.others))
        print(name, figures[name], flush=True)
    print(record("compound", figures))


def alone(whole: EmojiAdapter, half: int) -> EmojiAdapter:
    """A compound adapter as one that hears a half of its identity: the mean of a half with itself."""
    made = EmojiAdapter.from_config({**whole.config, "second_recogniser": None})
    kept, left = ("identity_projection.", "second_identity_projection.")[:: 1 if half == 0 else -1]
    state = {name: tensor for name, tensor in whole.state_dict().items() if not name.startswith(left)}
    made.load_state_dict(
        {
            name.replace(kept, "identity_projection.", 1) if name.startswith(kept) else name: tensor
            for name, tensor in state.items()
        }
    )
    return made.eval()


class Study:
    """People, prompts, noise and perfect answers, the same for every adapter.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace):
        self.steps = options.steps
        self.pipe: Any = EmojiDiffPipeline.from_pretrained("micro")
        self.pipe.set_progress_bar_config(disable=True)
        size = self.pipe.unet.config.sample_size * self.pipe.vae_scale_factor
        benchmark = MicroBenchmark(options.seed, options.identities, options.expressions, 2, size=size)
        self.judges = MicroJudges()
        self.cells = benchmark.cells
        numbers = range(len(self.cells))
        self.people = np.array([cell.identity for cell in self.cells])
        self.bootstrap = ClusterBootstrap(
            self.people, np.array([cell.expression for cell in self.cells]), seed=options.seed
        )
        self.photos = [benchmark.photo(number) for number in numbers]
        self.photo_embeds = self._judged(self.photos)
        answers = self._judged([benchmark.oracle(number) for number in numbers])
        self.floor = different_person_cosine(self.photo_embeds, answers, self.people)
        self.oracle = cosine(self.photo_embeds, answers)
        people = list(dict.fromkeys(self.people.tolist()))
        after = {who: people[(place + 1) % len(people)] for place, who in enumerate(people)}
        first = {who: int(np.argmax(self.people == who)) for who in people}
        self.others = np.array([first[after[who]] for who in self.people.tolist()])
        self.told: dict[str | None, Tensor] = {}

    def read(self, adapter: EmojiAdapter, half: int | None = None, *, apart: bool = False) -> np.ndarray:
        """The judge's embeddings of all pictures.

        Args:
            adapter: draws.
            half: of the compound embedding that it hears; None: what it encodes.
            apart: the second half is somebody else's.
        """
        self.pipe.load_emoji_adapter(adapter)
        embeds = self._encoded(adapter) if half is None else self.told["micro"].chunk(2, dim=1)[half]
        if apart:
            first, second = embeds.chunk(2, dim=1)
            embeds = torch.cat([first, second[torch.from_numpy(self.others)]], dim=1)
        images: list[Image.Image] = []
        for rows in slices(len(self.cells), 32):
            images += self.pipe(
                [cell.prompt for cell in self.cells[rows]],
                identity_embeds=embeds[rows],
                num_inference_steps=self.steps,
                guidance_scale=GUIDANCE,
                generator=[torch.Generator().manual_seed(cell.seed) for cell in self.cells[rows]],
            ).images
        return self._judged(images)

    def position(self, read: np.ndarray, of: np.ndarray | None = None) -> Estimate:
        """ID position of pictures, of the cells' people or of the people of other cells."""
        photos = self.photo_embeds if of is None else self.photo_embeds[of]
        parts = (self.bootstrap.mean(values) for values in (cosine(read, photos), self.floor, self.oracle))
        return combine(position, *parts)

    def _encoded(self, adapter: EmojiAdapter) -> Tensor:
        key = adapter.config["second_recogniser"]
        if key not in self.told:
            found = {who: place for place, who in reversed(list(enumerate(self.people.tolist())))}
            made = {who: self.pipe.encode_identity(self.photos[place]) for who, place in found.items()}
            self.told[key] = torch.stack([made[who] for who in self.people.tolist()])
        return self.told[key]

    def _judged(self, images: list[Any]) -> np.ndarray:
        return self.judges.read(images, count_faces=False).embedding


def shown(estimate: Estimate) -> dict[str, Any]:
    """A figure with its interval."""
    return {"value": round(estimate.value, 4), "ci95": [round(end, 4) for end in estimate.ci95]}


if __name__ == "__main__":
    main()
