"""Reading pictures: every kind a user may have, and every way a file can be bad."""

import io

import numpy as np
import pytest
from PIL import Image

from emoji_adapter.errors import EmojiAdapterError, ImageError
from emoji_adapter.faces import images
from emoji_adapter.faces.images import load_image

RED = (250, 10, 20)


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_path_the_bytes_the_picture_and_the_array_are_the_same(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(array)
    path = tmp_path / "a.png"
    picture.save(path)
    for source in (path, str(path), path.read_bytes(), picture, array):
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        assert np.array_equal(np.asarray(loaded), array)


def test_exif_rotation_is_applied(tmp_path):
    picture = Image.new("RGB", (20, 10), "blue")
    picture.paste(RED, (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    loaded = load_image(encoded(picture, exif=exif))
    assert loaded.size == (10, 20)
    assert loaded.getpixel((5, 2)) == RED
    assert loaded.getpixel((5, 17)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (4, 4), 90), (90, 90, 90)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("RGB", (4, 4), (255, 0, 0)).quantize(4), (255, 0, 0)),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 51)), (255, 204, 204)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
    ],
)
def test_grey_palette_and_transparent_pictures(picture, expected):
    assert load_image(encoded(picture)).getpixel((1, 1)) == expected


def test_a_palette_with_a_transparent_colour_lies_over_white():
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([9, 9, 9, 0, 200, 0])
    picture.putpixel((2, 2), 1)
    loaded = load_image(encoded(picture, transparency=0))
    assert loaded.getpixel((0, 0)) == (255, 255, 255)
    assert loaded.getpixel((2, 2)) == (0, 200, 0)


def test_16_bits_keep_their_upper_8():
    values = np.array([[0x0000, 0x80FF], [0xFFFF, 0x1200]], dtype=np.uint16)
    png = encoded(Image.fromarray(values))
    expected = np.array([[0x00, 0x80], [0xFF, 0x12]])
    assert np.array_equal(np.asarray(load_image(png))[..., 0], expected)
    assert np.array_equal(np.asarray(load_image(values))[..., 2], expected)


def test_cmyk_is_read_in_its_colours():
    loaded = load_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(np.asarray(loaded)[4, 4].astype(int) - [255, 0, 0]).max() < 15


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_image(gif).getpixel((0, 0)) == (255, 0, 0)


def test_float_arrays_and_channels():
    assert load_image(np.full((2, 2, 1), 0.2)).getpixel((0, 0)) == (51, 51, 51)
    assert load_image(np.zeros((2, 2, 4), np.uint8)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 2), np.uint8), r"shape \(2, 2, 2\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), r"shape \(1, 2, 2, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.full((2, 2, 3), 255.0), r"must lie in \[0, 1\], got \[255, 255\]"),
        (np.full((2, 2, 3), np.nan), r"must lie in \[0, 1\]"),
        (np.zeros((2, 2, 3), np.int64), "array of int64 is no picture"),
    ],
)
def test_arrays_that_are_no_pictures(array, message):
    with pytest.raises(ImageError, match=message):
        load_image(array)


def test_bad_files_are_refused_in_words(tmp_path):
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    files = {
        "empty.png": (b"", r"empty\.png is empty \(0 bytes\)"),
        "text.png": (b"not a picture at all", r"text\.png is not a picture"),
        "cut.png": (whole[: len(whole) // 2], r"cut\.png is damaged or cut short"),
        "corrupt.png": (whole[:60] + bytes(200) + whole[260:], r"corrupt\.png is damaged or cut short"),
    }
    for name, (content, message) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=message):
            load_image(tmp_path / name)
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match=r"no file .*missing\.png"):
        load_image(tmp_path / "missing.png")
    jpeg = encoded(Image.new("RGB", (64, 64), "red"), "JPEG")
    with pytest.raises(ImageError, match="damaged or cut short"):
        load_image(jpeg[: len(jpeg) // 2])


@pytest.mark.parametrize("source", [None, 3, ["a.png"]])
@pytest.mark.usefixtures("unchecked")
def test_other_things_are_no_pictures(source):
    with pytest.raises(ImageError, match=f"got {type(source).__name__}"):
        load_image(source)


def test_absurd_sizes_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    png = encoded(Image.new("L", (10, 10)))
    with pytest.raises(ImageError, match=r"too large \(10x10 pixels\)"):
        load_image(png)
    with pytest.raises(ImageError, match="too large"):
        load_image(np.zeros((10, 10), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # PIL's own guard: an error above twice that
    with pytest.raises(ImageError, match="too large"):
        load_image(png)


def test_floats_and_32_bit_numbers_have_no_known_white():
    with pytest.raises(ImageError, match="32-bit floats"):
        load_image(encoded(Image.new("F", (2, 2), 0.5), "TIFF"))
    with pytest.raises(ImageError, match="32-bit numbers"):
        load_image(encoded(Image.new("I", (2, 2), 70_000), "TIFF"))


def test_the_error_is_one_of_ours_and_a_value_error():
    assert issubclass(ImageError, EmojiAdapterError)
    assert issubclass(ImageError, ValueError)
