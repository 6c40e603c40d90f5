"""Packs in folders, nested, by name, downloaded; ids by content; providers; sizes tried where no face is."""

import functools
import hashlib
import http.server
import shutil
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from emoji_adapter.errors import AdapterMismatchError, InputError, WeightsNotFoundError
from emoji_adapter.faces import packs
from emoji_adapter.faces.analysis import FALLBACK_SIZES, FaceAnalyzer
from emoji_adapter.faces.packs import PHOTO_PACKS, PhotoPack, how_to_get, networks_in, same_pack
from emoji_adapter.pipelines.faces import FaceEncoders
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render

CPU = ["CPUExecutionProvider"]


@pytest.fixture(scope="module")
def portrait():
    drawn = render(sample(1, torch.Generator().manual_seed(11)), size=128)
    return Image.fromarray((drawn.image[0].permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy())


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, and insightface's folder of packs in it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    folder = tmp_path / "home" / ".insightface" / "models"
    folder.mkdir(parents=True)
    return folder


def digits(folder):
    return hashlib.sha256((folder / "rec.onnx").read_bytes()).hexdigest()


def other_content(folder):
    """Make the recogniser's file another one that works alike: ONNX files may carry any documentation."""
    import onnx

    model = onnx.load(folder / "rec.onnx")
    model.doc_string = "retrained"
    onnx.save(model, folder / "rec.onnx")


def test_an_own_folder_is_known_by_its_recogniser(face_pack, tmp_path, portrait):
    mine = shutil.copytree(face_pack, tmp_path / "mine")
    renamed = shutil.copytree(face_pack, tmp_path / "renamed")
    analyzer = FaceAnalyzer(mine, threads=1)
    assert analyzer.pack_id == f"mine@{digits(mine)[:12]}"
    assert analyzer.face(portrait).embedding.shape == (512,)
    assert same_pack(analyzer.pack_id, FaceAnalyzer(renamed, threads=1).pack_id)
    other_content(renamed)
    assert not same_pack(analyzer.pack_id, FaceAnalyzer(renamed, threads=1).pack_id)


def test_insightfaces_packs_are_known_by_content_and_not_by_their_names(face_pack, tmp_path, monkeypatch):
    folder = shutil.copytree(face_pack, tmp_path / "antelopev2")
    assert FaceAnalyzer(folder, threads=1).pack_id == f"antelopev2@{digits(folder)[:12]}"
    assert not same_pack("antelopev2", FaceAnalyzer(folder, threads=1).pack_id)
    monkeypatch.setitem(PHOTO_PACKS, "buffalo_l", PhotoPack("buffalo_l", digits(folder), 1))
    assert FaceAnalyzer(folder, threads=1).pack_id == "buffalo_l"


@pytest.mark.parametrize(
    ("trained", "given", "same"),
    [
        ("micro", "micro", True),
        ("buffalo_l", "antelopev2", False),
        ("mine@aa", "mine@aa", True),
        ("mine@aa", "yours@aa", True),
        ("mine@aa", "mine@bb", False),
        ("mine", "mine@aa", True),  # named without digits
        ("mine", "yours@aa", False),
        ("buffalo_l", "buffalo_l@aa", False),  # a folder of that name with another recogniser
        ("micro", "micro@aa", False),
    ],
)
def test_which_packs_are_the_same(trained, given, same):
    assert same_pack(trained, given) is same


def test_a_nested_folder_is_no_trap(face_pack, home, portrait):
    from insightface.app import FaceAnalysis

    shutil.copytree(face_pack, home / "antelopev2" / "antelopev2")
    with pytest.raises(AssertionError):
        FaceAnalysis("antelopev2", providers=CPU)  # the trap
    analyzer = FaceAnalyzer("antelopev2", threads=1)
    assert analyzer.face(portrait).embedding is not None
    assert analyzer.pack_id == "antelopev2"
    assert FaceAnalyzer(home / "antelopev2", threads=1).detect(portrait)
    shutil.copytree(face_pack, home / "antelopev2" / "second")
    assert networks_in(home / "antelopev2") is None  # which of the two?


def test_an_own_pack_is_found_by_its_name_and_a_folder_here_does_not_hide_insightfaces(
    face_pack, home, tmp_path, monkeypatch, portrait
):
    shutil.copytree(face_pack, home / "mine")
    assert FaceAnalyzer("mine", threads=1).detect(portrait)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "buffalo_l").mkdir()
    (tmp_path / "buffalo_l" / "det.onnx").write_bytes(b"no network")
    shutil.copytree(face_pack, home / "buffalo_l")
    assert FaceAnalyzer("buffalo_l", threads=1).detect(portrait)


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A folder that is served as insightface's model zoo."""
    from insightface.utils import storage

    folder = tmp_path / "zoo"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setattr(
            storage, "MODEL_ZOO_RELEASE_DOWNLOAD_URL", f"http://127.0.0.1:{server.server_port}/"
        )
        yield folder
        server.shutdown()


def test_a_download_replaces_what_an_interrupted_one_left(face_pack, home, zoo, tmp_path, portrait, capsys):
    shutil.copytree(face_pack, tmp_path / "packed" / "antelopev2")
    shutil.make_archive(str(zoo / "antelopev2"), "zip", tmp_path / "packed")
    (home / "antelopev2").mkdir()  # insightface takes an empty folder for a pack
    assert FaceAnalyzer("antelopev2", threads=1).detect(portrait)
    assert networks_in(home / "antelopev2") == home / "antelopev2" / "antelopev2"
    assert capsys.readouterr().out == ""


def test_a_download_that_fails_says_what_to_do(home, zoo):
    words = (
        r"'buffalo_l' is not in .*models and could not be fetched: .*Download buffalo_l.zip .*unzip it into"
    )
    with pytest.raises(WeightsNotFoundError, match=words):
        FaceAnalyzer("buffalo_l").detect(Image.new("RGB", (32, 32)))
    (zoo / "antelopev2.zip").write_bytes(b"half an archive")
    with pytest.raises(WeightsNotFoundError, match="not a zip file"):
        FaceAnalyzer("antelopev2").detect(Image.new("RGB", (32, 32)))


def test_other_sizes_are_tried_where_no_face_is_found(face_pack, tmp_path, portrait):
    mine = shutil.copytree(face_pack, tmp_path / "mine")
    room = Image.new("RGB", (320, 320), (127, 127, 127))
    room.paste(portrait.resize((160, 160)), (80, 80))
    usual = {"threads": 1, "det_size": (32, 32)}
    assert FaceAnalyzer(mine, **usual).detect(room) == []
    (face,) = FaceAnalyzer(mine, fallback_sizes=(32, 160), **usual).detect(room)
    assert 130 < face.landmarks[:, 0].mean() < 190  # in pixels of the picture


def test_sizes_are_tried_in_order_and_not_with_the_embedded_pack(face_pack, tmp_path):
    def tried(analyzer):
        sizes, detector = [], analyzer._app.det_model
        detect = detector.detect
        detector.detect = lambda image, input_size=None: (
            sizes.append(input_size) or detect(image, input_size=input_size)
        )
        analyzer.detect(Image.fromarray(np.full((64, 64, 3), 90, np.uint8)))
        return sizes

    mine = shutil.copytree(face_pack, tmp_path / "mine")
    square = [(side, side) for side in FALLBACK_SIZES]
    assert tried(FaceAnalyzer(mine, threads=1)) == [None, None, *square]
    assert tried(FaceAnalyzer(threads=1)) == [None, None]
    assert tried(FaceAnalyzer(mine, threads=1, det_size=(64, 64))) == [None, None]


def test_only_providers_that_are_there_are_used(portrait):
    wishes = [("TensorrtExecutionProvider", {"device_id": 0}), "NoSuchProvider", *CPU]
    analyzer = FaceAnalyzer(providers=wishes, threads=1)
    assert analyzer.detect(portrait)
    assert analyzer.recogniser.session.get_providers()[-1:] == CPU
    with pytest.raises(InputError, match=r"none of the execution providers NoSuchProvider; it has .*CPU"):
        FaceAnalyzer(providers=["NoSuchProvider"]).detect(portrait)


def encoders(trained, **more):
    return FaceEncoders(tiny.adapter(tiny.unet(), identity_encoder=trained).config, **more)


def test_the_pack_of_an_adapter_is_found_by_content_and_its_absence_says_how_to_get_it(face_pack, home):
    trained = f"mine@{digits(face_pack)[:12]}"
    words = (
        rf"'{trained}', which is not here. It is an own pack .*SHA-256 begins with .*put it into .*mine, or"
    )
    with pytest.raises(WeightsNotFoundError, match=words):
        encoders(trained).analyzer  # noqa: B018
    mine = shutil.copytree(face_pack, home / "mine")
    assert encoders(trained).analyzer.pack_id == trained
    assert encoders(trained, analyzer=FaceAnalyzer(mine)).analyzer.pack_id == trained
    other_content(mine)
    with pytest.raises(AdapterMismatchError, match=rf"trained with the face pack '{trained}', got 'mine@"):
        encoders(trained).analyzer  # noqa: B018


def test_a_pack_of_insightface_that_is_missing_is_named_with_its_licence(home, zoo):
    with pytest.raises(AdapterMismatchError, match="289 MB, non-commercial research only"):
        encoders("buffalo_l", analyzer=FaceAnalyzer("micro"))
    assert "embedded" in how_to_get("micro")
    assert str(packs.home()) == str(home)
