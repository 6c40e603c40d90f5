"""How well a face pack finds drawn faces, through the unmodified insightface package."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from emoji_adapter.faces.pixels import to_bytes
from emoji_adapter.microworld.networks.backdrops import backdrops
from emoji_adapter.microworld.networks.decoys import decoys
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.render import Rendered, render

Picture = UInt8[np.ndarray, "h w 3"]
Detect = Callable[[Picture], list]
"""RGB bytes to faces with `kps` and `bbox`."""
CHUNK = 32


def detector(pack: str | Path, det_thresh: float = 0.5) -> Detect:
    """The detector of a pack as `FaceAnalysis` uses it with the default `prepare()`; nothing is printed."""
    from insightface.app import FaceAnalysis

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = FaceAnalysis(name=str(Path(pack).resolve()), allowed_modules=["detection"])
        analysis.prepare(ctx_id=-1, det_thresh=det_thresh)
    return lambda picture: analysis.get(np.ascontiguousarray(picture[..., ::-1]))


def detector_figures(
    pack: str | Path, people: FaceParameters, seed: int = 0, empty: int = 500
) -> dict[str, float]:
    """Measure a pack on fresh drawings.

    Args:
        pack: folder with the detector.
        people: who and what to draw; one picture each, and one picture of two for every neighbouring pair.
        seed: of the layouts and of the face-free pictures.
        empty: how many face-free pictures.

    Returns:
        "found_one": share of portraits with exactly one face; "missed", "doubled": with none, with more;
        "found_two": share of pictures of two people with exactly two; "false_hits": share of face-free
        pictures in which something is found; "landmark_error": mean distance in eye distances.
    """
    detect, errors = detector(pack), []
    counts: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for count, picture, points in pictures_by_count(people, seed, empty):
        faces = detect(picture)
        counts[count].append(len(faces))
        if points is not None and len(faces) == 1:
            errors.append(landmark_errors(faces[0].kps[None], points[None])[0])
    hits, found, twos = (np.array(counts[count]) for count in (0, 1, 2))
    return {
        "found_one": float((found == 1).mean()), "missed": float((found == 0).mean()),
        "doubled": float((found > 1).mean()), "found_two": float((twos == 2).mean()),
        "false_hits": float((hits > 0).mean()),
        "landmark_error": float(np.mean(errors)) if errors else float("nan"),
    }  # fmt: skip


def landmark_errors(
    found: Float[np.ndarray, "n 5 2"], true: Float[np.ndarray, "n 5 2"]
) -> Float[np.ndarray, " n"]:
    """Mean distance of the five landmarks of each face, in distances of the eyes."""
    eyes = np.linalg.norm(true[:, 1] - true[:, 0], axis=-1)
    return np.linalg.norm(found - true, axis=-1).mean(axis=1) / eyes


def pictures_by_count(
    people: FaceParameters, seed: int, empty: int
) -> Iterator[tuple[int, Picture, np.ndarray | None]]:
    """Number of faces, picture, and the landmarks (5, 2) of portraits: one, two and no face.

    Args:
        people: one portrait each, and one picture of two for every neighbouring pair.
        seed: of the layouts and of the face-free pictures.
        empty: how many face-free pictures.
    """
    people, generator = people.to("cpu"), torch.Generator().manual_seed(seed)
    for drawn in _portraits(people):
        pictures = to_bytes(drawn.image)
        for picture, points in zip(pictures, drawn.landmarks.numpy(), strict=True):
            yield 1, picture, points
        for picture in _pairs(pictures, generator):
            yield 2, picture, None
    for picture in face_free(people, empty, generator):
        yield 0, picture, None


def face_free(people: FaceParameters, count: int, generator: torch.Generator) -> Iterator[Picture]:
    """Pictures of 128 pixels without a face: two in three mere backdrops, one in three a spoilt portrait."""
    size, done = 128, 0
    while done < count:
        some = min(CHUNK, count - done)
        pictures = backdrops(some, size, generator)
        rows = torch.randint(len(people), (some,), generator=generator)
        drawn = render(people.index(rows), size)
        spoilt = decoys(drawn.image, drawn.landmarks, generator)
        kind = torch.rand(some, 1, 1, 1, generator=generator) < 1 / 3
        yield from to_bytes(torch.where(kind, spoilt, pictures))
        done += some


def _portraits(people: FaceParameters) -> Iterator[Rendered]:
    for start in range(0, len(people), CHUNK):
        yield render(people.index(slice(start, start + CHUNK)))


def _pairs(pictures: np.ndarray, generator: torch.Generator) -> Iterator[Picture]:
    """Neighbours side by side or one above the other, some on a larger grey ground."""
    for first, second in zip(pictures[:-1:2], pictures[1::2], strict=False):
        across, pad = torch.randint(2, (2,), generator=generator).tolist()
        both = np.concatenate([first, second], axis=1 if across else 0)
        yield np.pad(both, ((24, 24), (24, 24), (0, 0)), constant_values=127) if pad else both
