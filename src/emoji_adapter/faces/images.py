"""Reading pictures: whatever a user has, as an upright 8-bit RGB picture, or an error in words."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from emoji_adapter.errors import ImageError

MAX_PIXELS = 100_000_000
"""Pictures of more pixels are refused (our choice: about twice the largest camera sensors in common use)."""

ImageSource = str | Path | bytes | Image.Image | np.ndarray

_FORMATS = "Expected a PNG, JPEG, WebP, BMP, GIF or TIFF picture."


def load_image(source: ImageSource) -> Image.Image:
    """Read a picture as upright RGB of 8 bits.

    EXIF rotation is applied; transparency is laid over white; 16-bit pictures keep their upper 8 bits; of an
    animation the first frame is taken.

    Args:
        source: a path, the bytes of a file, a PIL picture, or an array: (H, W), (H, W, 1), (H, W, 3) or (H,
            W, 4), RGB order, uint8, uint16, or floats in [0, 1].

    Raises:
        ImageError: missing, a folder, empty, damaged, cut short, not a picture, larger than `MAX_PIXELS`, or
            an array of another shape, type or range.
    """
    name = _name(source)
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source), name)
    with _readable(name):
        picture = source if isinstance(source, Image.Image) else Image.open(_stream(source, name))
        _check_size(picture, name)
        upright = ImageOps.exif_transpose(picture)
        upright.load()
    return _to_rgb(upright, name)


def _name(source: object) -> str:
    if isinstance(source, str | Path):
        return str(source)
    kinds = {bytes: "the bytes of a picture", np.ndarray: "the array"}
    return kinds.get(type(source), "the picture")


def _stream(source: object, name: str) -> io.BytesIO:
    if isinstance(source, bytes):
        content = source
    elif isinstance(source, str | Path):
        content = _file_content(Path(source))
    else:
        raise ImageError(
            f"A picture is needed, got {type(source).__name__}. "
            "Pass a path, bytes, a PIL picture or an array of shape (H, W, 3)."
        )
    if not content:
        raise ImageError(f"{name} is empty (0 bytes). {_FORMATS}")
    return io.BytesIO(content)


def _file_content(path: Path) -> bytes:
    if path.is_dir():
        raise ImageError(f"{path} is a folder. Expected one picture file; name a file inside it.")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {path} (looked in {Path.cwd()}). Check the path.") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn whatever PIL raises on bad content into an ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns of sizes and odd metadata; `_check_size` has the say
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture, or of a kind that cannot be read. {_FORMATS}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name, str(error))) from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError) as error:
        raise ImageError(f"{name} is damaged or cut short: {error}. Save or download it again.") from error


def _check_size(picture: Image.Image, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(name, f"{width}x{height} pixels"))
    if not width or not height:
        raise ImageError(f"{name} holds no pixels ({width}x{height}). {_FORMATS}")


def _too_large(name: str, size: str) -> str:
    return f"{name} is too large ({size}). At most {MAX_PIXELS // 10**6} million pixels are read."


def _from_array(array: np.ndarray) -> Image.Image:
    shape = tuple(array.shape)
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))) or 0 in shape:
        raise ImageError(
            f"An array of shape {shape} is no picture. Expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ImageError(_too_large("the array", f"{shape[1]}x{shape[0]} pixels"))
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0.0 and array.max() <= 1.0):
            raise ImageError(f"A float array must lie in [0, 1], got [{array.min():.3g}, {array.max():.3g}].")
        array = np.round(array * 255.0).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            f"An array of {array.dtype} is no picture. Expected uint8, uint16, or floats in [0, 1]."
        )
    return Image.fromarray(
        np.ascontiguousarray(array[..., 0] if array.ndim == 3 and shape[2] == 1 else array)
    )


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I"):
        return _from_16_bit(picture, name)
    if picture.mode == "F":
        raise ImageError(f"{name} holds 32-bit floats, whose white is not known. Save it with 8 or 16 bits.")
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _from_16_bit(picture: Image.Image, name: str) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError(f"{name} holds 32-bit numbers, whose white is not known. Save it with 8 or 16 bits.")
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
