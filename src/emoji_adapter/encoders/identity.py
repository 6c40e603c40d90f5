"""Who somebody is: one identity embedding from one or several pictures of a person."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.errors import FaceError, InputError
from emoji_adapter.faces.analysis import FaceAnalyzer, FacePolicy
from emoji_adapter.faces.images import ImageSource, load_image
from emoji_adapter.faces.recogniser import Recogniser


class IdentityEncoder:
    """Recogniser embeddings of length 1, as IP-Adapter-FaceID uses them (`normed_embedding` of insightface).

    Args:
        analyzer: finds the faces and reads them.
        second: reads them too (compound embeddings); None: nobody does.
    """

    def __init__(self, analyzer: FaceAnalyzer, second: Recogniser | None = None) -> None:
        self.analyzer = analyzer
        self.second = second

    @property
    def id(self) -> str:
        """Name of the face pack, recorded in an adapter's metadata."""
        return self.analyzer.pack_id

    def encode(
        self, images: Sequence[ImageSource], policy: FacePolicy = "largest", name: str = "identity_image"
    ) -> Float[Tensor, " dim"]:
        """Encode one person: the mean of the pictures' embeddings of length 1, brought to length 1 again.

        The mean of directions is the usual template of several pictures in face recognition.

        Args:
            images: pictures of one person, at least one.
            policy: which face of several in a picture, see `FacePolicy`.
            name: what to call the pictures in messages.

        Returns:
            float32 on the CPU, 512 numbers for every pack in use; with a second recogniser 1024: both
            embeddings, each a mean of its own and of length 1, the analyzer's first.

        Raises:
            InputError: no pictures.
            FaceError, ImageError: see `FaceAnalyzer.face`.
        """
        if not images:
            raise InputError(f"{name} is an empty list; at least one picture of the person is needed.")
        names = [name] if len(images) == 1 else [f"{name}[{i}]" for i in range(len(images))]
        faces = [
            self.analyzer.face(image, policy, name=place) for image, place in zip(images, names, strict=True)
        ]
        first = _mean([face.embedding for face in faces], name)
        if self.second is None:
            return first
        pictures = [np.asarray(load_image(image)) for image in images]
        seen = zip(pictures, faces, strict=True)
        return torch.cat([first, _mean([self.second.embed(x, face.landmarks) for x, face in seen], name)])


def _mean(embeddings: Sequence[np.ndarray | None], name: str) -> Float[Tensor, " dim"]:
    mean = np.mean([_unit(embedding, name) for embedding in embeddings], axis=0)
    return torch.from_numpy(_unit(mean, name))


def _unit(embedding: np.ndarray | None, name: str) -> np.ndarray:
    length = 0.0 if embedding is None else float(np.linalg.norm(embedding))
    if embedding is None or not np.isfinite(length) or length < 1e-6:
        raise FaceError(f"The recogniser reads no identity from {name}. Use a sharper, more frontal picture.")
    return np.asarray(embedding / length, dtype=np.float32)
