"""A round of IDI without networks: portraits of plain colours, and numbers that the noise's seed decides.

As a program it makes a round and kills itself while it writes: `python planted_idi.py SOURCE OUT KILL_AT`.
"""

import os
import signal
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from emoji_adapter.data.examine import Examined
from emoji_adapter.data.folder import list_pictures
from emoji_adapter.data.idi.config import IdiConfig
from emoji_adapter.data.idi.inspect import Inspected, Rendering
from emoji_adapter.data.idi.rounds import make_round, open_round, round_folder
from emoji_adapter.data.idi.synthesis import Synthesis
from emoji_adapter.data.manifest import PictureRecord, Refusal
from emoji_adapter.data.triplets import Measured
from emoji_adapter.faces.images import load_image

SIDE = 8
CONFIG = IdiConfig(shards=3, shard_size=20, batch=6, refused_pictures=6)
UNUSABLE = "c/0.png"
READ = (
    Measured(faces=2),
    Measured(faces=1, identity=0.2, leak=0.1, expression=0.01),
    Measured(faces=1, identity=0.8, leak=0.6, expression=0.01),
    Measured(faces=1, identity=0.8, leak=0.1, expression=0.2),
    Measured(faces=1, identity=0.8, leak=0.1, expression=0.01),
)
"""What is read in a target, by its first pixel modulo 5; only the last passes."""


def portraits(folder: Path) -> Path:
    """Write portraits: people a, b, c and d, two pictures each, with captions."""
    for person in range(4):
        for number in range(2):
            path = folder / "abcd"[person] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (SIDE, SIDE), (10 * person, 10 * number, 200)).save(path)
            path.with_suffix(".txt").write_text(f"caption {person}{number}")
    return folder


def look(jobs):
    """Stand where networks look."""
    for job in jobs:
        if isinstance(job, Rendering):
            yield Inspected(job.pixels, READ[int(job.pixels[0, 0, 0]) % 5])
        elif job.file == UNUSABLE:
            yield Refusal(job.file, "NoFaceError: no face")
        else:
            pixels = np.asarray(load_image(job.content()))
            record = PictureRecord(job.id, job.file, job.person, job.caption, (SIDE, SIDE), (), (0, 0, 0, 0))
            identity = np.eye(512, dtype=np.float32)["abcd".index(job.person)]
            yield Examined(record, pixels, identity, pixels, np.zeros(52, np.float32))


def render(identity, crops, prompts, seeds):
    """Draw plain pictures: red tells the seed, green the person, blue the template."""
    pixels = np.zeros((len(seeds), SIDE, SIDE, 3), np.uint8)
    pixels[..., 0] = np.array([seed % 250 for seed in seeds])[:, None, None]
    pixels[..., 1] = identity.argmax(1)[:, None, None]
    pixels[..., 2] = crops[:, :1, :1, 0]
    return pixels


def make(source: Path, out: Path, config: IdiConfig = CONFIG, part=(0, 1), progress=lambda done, of: None):
    """Make a round as `idi` does."""
    pictures = list_pictures(source)
    folder = round_folder(out, config)
    open_round(folder, config, pictures, {"unet weights": "planted"})
    synthesis = Synthesis(pictures, config, render, look)
    return make_round(folder, config, synthesis.shard, part, progress)


def kill_while_writing(at: int) -> None:
    """From now on the process kills itself when it adds member number `at` to a tar."""
    real, count = tarfile.TarFile.addfile, 0

    def addfile(self, *args):
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, *args)

    tarfile.TarFile.addfile = addfile


if __name__ == "__main__":
    kill_while_writing(int(sys.argv[3]))
    make(Path(sys.argv[1]), Path(sys.argv[2]))
