"""A recogniser by itself: what it is called, where it is found, and what is none."""

import shutil

import numpy as np
import pytest

from emoji_adapter.config import packaged_part
from emoji_adapter.errors import WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.packs import NON_COMMERCIAL, PHOTO_PACKS, pack_with
from emoji_adapter.faces.recogniser import Recogniser

FILE = packaged_part("recognizer_2/rec.onnx")
LANDMARKS = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An own home, with a recogniser of one's own among the packs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".insightface" / "models" / "mine"
    folder.mkdir(parents=True)
    content = FILE.read_bytes()
    (folder / "other.onnx").write_bytes(content + b"\x00")
    shutil.copy(packaged_part("faces/rec.onnx"), folder / "rec.onnx")
    return folder


def test_the_embedded_one_is_known_by_its_file_and_others_by_their_content(home):
    assert Recogniser("micro").id == Recogniser(FILE).id == "micro"
    own = Recogniser(home / "rec.onnx")
    assert own.id.startswith("rec@")
    found = Recogniser(own.id)
    assert (found.file, found.id) == (home / "rec.onnx", own.id)
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    assert np.array_equal(found.embed(pixels, LANDMARKS), own.embed(pixels, LANDMARKS))
    assert not np.allclose(Recogniser("micro").embed(pixels, LANDMARKS), own.embed(pixels, LANDMARKS))


def test_one_that_is_not_there_is_told_with_what_to_do(home):
    with pytest.raises(WeightsNotFoundError, match=r"Put rec\.onnx there, or set pipe\.face_encoders"):
        _ = Recogniser("rec@0123456789ab").file
    for name in ("buffalo_l", "nowhere.onnx"):
        with pytest.raises(WeightsNotFoundError, match=rf"no recogniser '{name}'\. Expected 'micro' or"):
            _ = Recogniser(name).id


def test_another_kind_of_network_and_another_length_are_refused():
    with pytest.raises(WeightsFormatError, match="is no recogniser"):
        _ = Recogniser(packaged_part("faces/det.onnx")).network
    with pytest.raises(WeightsFormatError, match="reads 512 numbers in a face, expected 128"):
        _ = Recogniser("micro", dim=128).network


def test_a_recogniser_of_insightface_is_told_by_its_digits():
    digits = PHOTO_PACKS["antelopev2"].recogniser[:12]
    pack = pack_with(f"glintr100@{digits}")
    assert pack is not None
    assert (pack.name, pack.licence) == ("antelopev2", NON_COMMERCIAL)
    assert pack_with("glintr100@0123456789ab") is None
    assert pack_with("micro") is None
