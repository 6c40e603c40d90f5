"""`emoji-adapter probe`: files and messages; and `train --layers`, which reads its result."""

import json

import pytest
from PIL import Image

from emoji_adapter.checkpoints.format import load_adapter
from emoji_adapter.cli import main


@pytest.mark.slow
def test_a_probe_of_the_embedded_adapter_writes_json_and_a_picture(tmp_path, capsys):
    out, cut = tmp_path / "layers.json", tmp_path / "cut"
    sizes = ["--identities", "2", "--expressions", "2", "--styles", "1", "--steps", "2"]
    assert main(["probe", *sizes, "--device", "cpu", "--out", str(out), "--cut", str(cut)]) == 0
    result = json.loads(out.read_text())
    config = load_adapter(cut).config
    assert list(config["expression_layers"]) == result["chosen"]
    assert len(config["identity_layers"]) == len(load_adapter("micro").config["identity_layers"])
    assert set(result["chosen"]) <= {row["layer"] for row in result["layers"]}
    assert result["protocol"]["seed"] == 1000
    assert f"{len(result['chosen'])} of {len(result['layers'])} layers chosen" in capsys.readouterr().out
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.height > 24 * len(result["layers"])


def test_the_output_and_the_rule_are_checked_first(tmp_path, capsys):
    assert main(["probe", "--out", str(tmp_path / "layers.txt")]) == 2
    assert ".json" in capsys.readouterr().err
    assert main(["probe", "--out", str(tmp_path / "layers.json"), "--style", "3"]) == 2
    assert "style must lie in [0, 1]" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["probe", "--out", str(tmp_path / "layers.json"), "--cut", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{}", "is not the result of `emoji-adapter probe`"),
        ("layers", "is not the result of `emoji-adapter probe`"),
        ('{"chosen": []}', "chooses no layers"),
    ],
)
def test_a_file_without_layers_is_refused(tmp_path, capsys, content, message):
    file = tmp_path / "layers.json"
    if content is not None:
        file.write_text(content)
    words = ["--recipe", "micro_identity_cpu", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["train", *words, "--layers", str(file)]) == 2
    assert message in capsys.readouterr().err
