"""The benchmark of folders and the judges of photographs, with stand-ins for the networks nobody ships."""

import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

import tiny
from emoji_adapter.acceptance.benchmark import FolderBenchmark
from emoji_adapter.acceptance.clip_score import ClipScore
from emoji_adapter.acceptance.face_mesh import FaceMesh
from emoji_adapter.acceptance.judges import PhotoJudges
from emoji_adapter.acceptance.recogniser import JudgeRecogniser
from emoji_adapter.config import packaged_part
from emoji_adapter.errors import InputError, MissingExtraError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.recogniser import Recogniser

SECOND = "recognizer_2/rec.onnx"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    from emoji_adapter.microworld.gallery import Gallery, write_gallery

    folder = tmp_path_factory.mktemp("drawn") / "people"
    write_gallery(Gallery(people=2, per_person=2, seed=4, split="test"), folder)
    return folder


@pytest.fixture(scope="module")
def conditioning():
    return FaceAnalyzer(threads=1, det_size=(128, 128))


def test_every_person_meets_every_template_under_every_prompt(drawn):
    benchmark = FolderBenchmark(drawn, drawn / "person_00001", {"photo": "p", "anime": "q"}, seed=2)
    cells = benchmark.cells
    assert len({(c.identity, c.expression, c.style) for c in cells}) == len(cells) == 2 * 2 * 2
    assert len({c.seed for c in cells}) == 8
    assert {(c.style, c.prompt, c.plain_prompt) for c in cells} == {("photo", "p", "p"), ("anime", "q", "q")}
    assert benchmark.people == ["person_00000", "person_00001"]
    with Image.open(drawn / "person_00001" / "0000.png") as photo:
        assert benchmark.photo(7).tobytes() == photo.convert("RGB").tobytes()
    with Image.open(drawn / "person_00001" / "0001.png") as template:
        assert benchmark.template(7).tobytes() == template.convert("RGB").tobytes()
    assert benchmark.oracle(0) is None


def test_one_person_is_refused(drawn, tmp_path):
    shutil.copytree(drawn / "person_00000", tmp_path / "a")
    with pytest.raises(InputError, match="two people and a prompt or more, got 1 people"):
        FolderBenchmark(tmp_path, drawn, {"photo": "p"})


def test_the_conditioning_recogniser_is_no_judge(conditioning, tmp_path):
    with pytest.raises(InputError, match="which the adapter listens to"):
        JudgeRecogniser("micro", conditioning)
    copy = shutil.copytree(packaged_part("faces"), tmp_path / "renamed")
    for name in (str(copy), str(copy / "rec.onnx")):
        with pytest.raises(InputError, match="Judge with another pack"):
            JudgeRecogniser(name, conditioning)
    with pytest.raises(InputError, match="recogniser of 'micro', which the adapter listens to"):
        JudgeRecogniser(str(packaged_part(SECOND)), conditioning, Recogniser("micro"))
    with pytest.raises(WeightsNotFoundError, match="no recogniser"):
        JudgeRecogniser(str(tmp_path / "rec.onnx"), conditioning)


def test_judges_read_who_it_is_and_count_faces(drawn, conditioning):
    judges = PhotoJudges(JudgeRecogniser(str(packaged_part(SECOND)), conditioning))
    pictures = [Image.open(drawn / "person_00000" / "0000.png").convert("RGB"), Image.new("RGB", (64, 64))]
    readings = judges.read([*pictures, pictures[0]])
    assert readings.faces.tolist() == [1, 0, 1]
    assert readings.embedding.shape == (3, 512)
    assert np.isnan(readings.embedding[1]).all()
    assert np.array_equal(readings.embedding[0], readings.embedding[2])
    assert readings.blendshapes is None
    assert judges.read(pictures, count_faces=False).faces.tolist() == [1, 1]
    own = conditioning.face(pictures[0], min_size=8).embedding
    assert abs(np.dot(own, readings.embedding[0])) < 0.9 * np.linalg.norm(own) * np.linalg.norm(
        readings.embedding[0]
    )


def test_a_network_of_another_kind_is_refused(drawn, conditioning):
    judge = JudgeRecogniser(str(packaged_part("faces/det.onnx")), conditioning)
    with pytest.raises(WeightsFormatError, match="is no recogniser"):
        judge.read(Image.open(drawn / "person_00000" / "0000.png").convert("RGB"))


class Landmarker:
    """Stands where MediaPipe's landmarker stands: the blendshapes count up, black pictures have no face."""

    @classmethod
    def create_from_options(cls, options):
        assert options.output_face_blendshapes
        return cls()

    def detect(self, image):
        if not image.data.any():
            return SimpleNamespace(face_blendshapes=[], face_landmarks=[])
        shapes = [SimpleNamespace(score=number / 52) for number in range(52)]
        points = [SimpleNamespace(x=number / 478, y=number % 7 / 7) for number in range(478)]
        return SimpleNamespace(face_blendshapes=[shapes], face_landmarks=[points])


@pytest.fixture
def mediapipe(monkeypatch):
    record = SimpleNamespace
    names = {"mediapipe": {"Image": record, "ImageFormat": record(SRGB="srgb")}, "mediapipe.tasks": {}}
    names["mediapipe.tasks.python"] = {"BaseOptions": record}
    names["mediapipe.tasks.python.vision"] = {"FaceLandmarker": Landmarker, "FaceLandmarkerOptions": record}
    for name, content in names.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


def test_mediapipe_gives_blendshapes_and_ratios(mediapipe, tmp_path):
    (tmp_path / "face.task").write_bytes(b"weights")
    mesh = FaceMesh(tmp_path / "face.task")
    shapes, ratios = mesh.read(Image.new("RGB", (20, 10), "white"))
    assert shapes == pytest.approx(np.arange(52) / 52)
    assert ratios.shape == (5,)
    assert np.isfinite(ratios).all()
    assert all(np.isnan(part).all() for part in mesh.read(Image.new("RGB", (20, 10))))


def test_without_mediapipe_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(WeightsNotFoundError, match="no face landmarker"):
        FaceMesh(tmp_path / "face.task")
    (tmp_path / "face.task").write_bytes(b"weights")
    with pytest.raises(MissingExtraError, match=r"emoji_adapter\[eval\]"):
        FaceMesh(tmp_path / "face.task")


def test_clip_embeds_pictures_and_prompts(tmp_path):
    torch.manual_seed(0)
    words = tiny.tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    text = sizes | {"vocab_size": len(words), "max_position_embeddings": 16}
    text |= {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    vision = sizes | {"image_size": 28, "patch_size": 14}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    clip = ClipScore(str(tmp_path))
    texts = clip.texts(["red", "blue", "red"])
    assert texts.shape == (3, 8)
    assert np.array_equal(texts[0], texts[2])
    assert not np.allclose(texts[0], texts[1])
    images = clip.images([Image.new("RGB", (40, 30), "red"), Image.new("RGB", (28, 28), "blue")])
    assert np.linalg.norm(images, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert not np.allclose(images[0], images[1])
    with pytest.raises(WeightsNotFoundError, match="cannot be loaded"):
        ClipScore(str(tmp_path / "nothing"))
