from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import original_layout
import tiny
import tiny_families as families
from emoji_adapter.checkpoints.format import save_adapter
from emoji_adapter.cli import main
from emoji_adapter.cli.generate import face_policy
from emoji_adapter.cli.output import check_output, numbered, write_pictures, write_text
from emoji_adapter.errors import InputError
from emoji_adapter.microworld.drawing import draw
from emoji_adapter.microworld.splits import pictures
from loopback_hub import LoopbackHub


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("faces")
    files = folder / "me.png", folder / "template.png"
    for file, picture in zip(files, draw(pictures("test", 2, 11)), strict=True):
        Image.fromarray(picture).save(file)
    return files


def generate(faces: tuple[Path, Path], out: Path, *words: str) -> int:
    inputs = ("--identity", str(faces[0]), "--expression", str(faces[1]), "--prompt", "a photo portrait")
    return main(["generate", *inputs, "--steps", "2", "--device", "cpu", "--out", str(out), *words])


def test_a_portrait_is_written_and_repeatable(
    faces: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        assert generate(faces, tmp_path / "new" / name, "--seed", "3") == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "new" / n) for n in ("a.png", "b.png")]
    assert sorted(f.name for f in (tmp_path / "new").iterdir()) == ["a.png", "b.png"]
    with Image.open(tmp_path / "new/a.png") as a, Image.open(tmp_path / "new/b.png") as b:
        assert a.size == (64, 64)
        assert np.array_equal(np.asarray(a), np.asarray(b))


def test_several_portraits_continue_the_seed(faces: tuple[Path, Path], tmp_path: Path) -> None:
    assert generate(faces, tmp_path / "p.png", "--count", "2", "--seed", "5") == 0
    assert generate(faces, tmp_path / "one.png", "--seed", "6") == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == ["one.png", "p_1.png", "p_2.png"]
    with Image.open(tmp_path / "p_2.png") as a, Image.open(tmp_path / "one.png") as b:
        assert np.abs(np.asarray(a, float) - np.asarray(b, float)).max() <= 1


def test_one_branch_alone(faces: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "p.png"
    words = ["--prompt", "x", "--steps", "1", "--device", "cpu", "--out", str(out)]
    assert main(["generate", "--identity", str(faces[0]), "--identity", str(faces[0]), *words]) == 0
    out.unlink()
    assert main(["generate", "--expression", str(faces[1]), *words]) == 0
    assert out.is_file()


@pytest.fixture(scope="module")
def community(faces: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words of a portrait by a tiny checkpoint in a single file, and last the folder of the rest."""
    folder = tmp_path_factory.mktemp("community")
    kind = families.kind_of("SD", "text-to-image")
    pipe = families.pipeline(kind.stock, kind.family, kind.task)
    pipe.save_pretrained(folder / "rest")
    file = original_layout.write(pipe, folder / "model.safetensors")
    save_adapter(tiny.adapter(tiny.unet(), identity_encoder="micro"), folder / "adapter")
    there = {"--checkpoint": file, "--adapter": folder / "adapter", "--identity": faces[0], "--prompt": "x"}
    words = [str(word) for pair in there.items() for word in pair]
    return ["generate", "--device", "cpu", "--steps", "2", *words, "--config", str(folder / "rest")]


def test_a_single_file_is_drawn_with_diffusers_guidance_in_the_format_asked_for(
    community: list[str], tmp_path: Path
) -> None:
    flags = {"own": [], "7.5": ["--guidance", "7.5"], "half": ["--dtype", "bfloat16"]}
    made = {}
    for name, more in flags.items():
        assert main([*community, "--out", str(tmp_path / f"{name}.png"), *more]) == 0
        with Image.open(tmp_path / f"{name}.png") as picture:
            made[name] = np.asarray(picture, float)
    assert np.array_equal(made["own"], made["7.5"])
    assert 0 < np.abs(made["own"] - made["half"]).mean() < 20


def test_a_single_file_without_its_rest_says_what_to_pass(
    community: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LoopbackHub() as hub:
        hub.connect(monkeypatch, tmp_path)
        assert main([*community[:-2], "--out", str(tmp_path / "p.png")]) == 2
    assert "--config FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dtype", "int8"], "--dtype must be float32 or float16 or bfloat16, got 'int8'"),
        (["--checkpoint", "gone.safetensors"], "neither a file nor a link"),
        (["--expression-scale", "nan"], "--expression-scale must be a finite number"),
        (["--guidance", "inf"], "--guidance must be a finite number"),
        (["--face", "prettiest"], "--face must be largest, raise or"),
        (["--identity", "missing.png"], "missing.png"),
        (["--device", "abacus"], "--device abacus"),
        (["--adapter", "/nowhere/adapter"], "/nowhere/adapter"),
        (["--checkpoint", "/nowhere/model"], "/nowhere/model"),
    ],
)
def test_bad_input_writes_nothing(
    faces: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    assert generate(faces, tmp_path / "p.png", *words) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_a_face_names_the_pack_for_photographs(
    faces: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank = tmp_path / "blank.png"
    Image.new("RGB", (128, 128), "navy").save(blank)
    assert generate((blank, faces[1]), tmp_path / "p.png") == 2
    said = capsys.readouterr().err
    assert "drawn faces" in said
    assert "buffalo_l" in said
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("text", "policy"), [("largest", "largest"), ("raise", "raise"), ("0", 0), ("12", 12)]
)
def test_face_policy(text: str, policy: str | int) -> None:
    assert face_policy(text) == policy


@pytest.mark.parametrize("text", ["-1", "", "1.5", "²"])
def test_strange_face_policies_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="largest, raise or"):
        face_policy(text)


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in .png or .jpg, got no ending"):
        check_output(tmp_path / "portrait", [".png", ".jpg"])
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        check_output(tmp_path / "folder.png", [".png"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        check_output(tmp_path / "file" / "p.png", [".png"])
    check_output(tmp_path / "new" / "deep" / "P.PNG", [".png"])
    assert (tmp_path / "new" / "deep").is_dir()


def test_names_of_several_results() -> None:
    assert numbered(Path("a/p.jpg"), 1) == [Path("a/p.jpg")]
    assert numbered(Path("a/p.jpg"), 2) == [Path("a/p_1.jpg"), Path("a/p_2.jpg")]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "p.png"
    file.write_bytes(b"old")

    def fail(self: Image.Image, target: Path, **options: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        write_pictures([Image.new("RGB", (4, 4))], [file])
    assert [f.name for f in tmp_path.iterdir()] == ["p.png"]
    assert file.read_bytes() == b"old"


@pytest.mark.parametrize(("name", "kind"), [("p.png", "PNG"), ("p.JPG", "JPEG"), ("p.webp", "WEBP")])
def test_the_ending_chooses_the_format(tmp_path: Path, name: str, kind: str) -> None:
    write_pictures([Image.new("RGB", (8, 8))], [tmp_path / name])
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kind
    assert [f.name for f in tmp_path.iterdir()] == [name]


def test_texts_are_replaced_whole(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_text(text, tmp_path / "t.json")
    assert (tmp_path / "t.json").read_text() == "two"
    assert len(list(tmp_path.iterdir())) == 1
