import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from emoji_adapter.cli import main
from emoji_adapter.cli.evaluate import table_plan
from emoji_adapter.config import packaged_part
from emoji_adapter.errors import InputError
from emoji_adapter.evaluation.plan import load_plan
from emoji_adapter.microworld.networks.judges import ExpressionJudge, IdentityJudge, SceneJudge


@pytest.mark.slow
def test_scores_and_report_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, report = tmp_path / "scores.json", tmp_path / "report.html"
    sizes = ["--identities", "2", "--expressions", "2", "--styles", "1", "--steps", "2", "--seed", "9"]
    assert main(["evaluate", *sizes, "--device", "cpu", "--json", str(scores), "--report", str(report)]) == 0
    assert "emoji adapter" in capsys.readouterr().out
    result = json.loads(scores.read_text())
    assert result["protocol"]["seed"] == 9
    names = [row["name"] for row in result["rows"]]
    assert names[-1] == "emoji adapter"
    assert {"plain", "words only", "oracle", "oracle through autoencoder"} <= set(names)
    assert "base64," in report.read_text()
    sheets = list(tmp_path.glob("report_*.png"))
    assert len(sheets) == 1
    with Image.open(sheets[0]) as sheet:
        assert sheet.height > 4 * 128


def test_rows_come_from_flags_or_a_file(tmp_path: Path) -> None:
    plan = table_plan(None, ["base=runs/base", "IDI round 1=runs/idi"], "c", "mine")
    assert [(row.name, row.adapter) for row in plan.rows[-3:]] == [
        ("base", "runs/base"),
        ("IDI round 1", "runs/idi"),
        ("emoji adapter", None),
    ]
    assert (plan.adapter, plan.checkpoint) == ("mine", "c")
    file = tmp_path / "rows.json"
    file.write_text('{"rows": [{"name": "plain", "draw": "plain"}, {"name": "last", "adapter": "last"}]}')
    plan = table_plan(file, [], "c", "mine")
    assert (plan.adapter, plan.checkpoint, len(plan.rows)) == ("last", "c", 2)
    for more in (["base"], ["=a"], ["emoji adapter=a"]):
        with pytest.raises(InputError, match=r"NAME=ADAPTER|Two rows"):
            table_plan(None, more, "c", "mine")
    with pytest.raises(InputError, match="not both"):
        table_plan(file, ["a=b"], "c", "mine")


def test_the_rows_of_the_ablation_are_those_of_its_issue() -> None:
    plan = load_plan(Path(__file__).parents[2] / "benchmarks" / "ablation.yaml")
    names = [row.name for row in plan.rows if "second seed" not in row.name]
    assert names == [
        "plain",
        "oracle",
        "words only",
        "generate-then-swap",
        "stock two adapters",
        "identity only",
        "base",
        "base continued, photo left out",
        "IDI round 1, photo left out",
        "base continued",
        "base + layers",
        "IDI round 1",
        "IDI round 2",
        "stage 1 continued",
        "ICA one-step",
        "ICA midpoint",
        "ICA one-step, teacher beside it",
        "emoji adapter",
    ]


@pytest.mark.slow
def test_the_benchmarks_run_with_untrained_judges(tmp_path: Path) -> None:
    """The drivers of the tables; figures of judges that know nothing are not looked at."""
    for file in packaged_part("card.json").parent.iterdir():
        if file.name != "judges":
            (tmp_path / "micro").mkdir(exist_ok=True)
            (tmp_path / "micro" / file.name).symlink_to(file)
    for kind in (IdentityJudge, ExpressionJudge, SceneJudge):
        kind().save(tmp_path / "micro" / "judges")
    sizes = ["--identities", "2", "--expressions", "2", "--styles", "1", "--steps", "1", "--device", "cpu"]
    root = Path(__file__).parents[2]
    for name, files in {
        "ablation": ["--out", "a.json", "--report", "a.html", "--keep", "kept"],
        "preflight": ["--adapter", "micro", "--out", "."],
        "community": ["--out", "."],
    }.items():
        done = subprocess.run(
            [sys.executable, str(root / "benchmarks" / f"{name}.py"), *sizes, *files],
            cwd=tmp_path,
            env=os.environ | {"EMOJI_ADAPTER_WEIGHTS": str(tmp_path), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "a.json").read_text())
    assert table["rows"][-1]["name"] == "emoji adapter"
    assert {"plain", "oracle", "generate-then-swap"} < {row["name"] for row in table["rows"]}
    assert {"base", "stock two adapters"} <= {row["name"] for row in table["missing"]}
    found = json.loads((tmp_path / "preflight.json").read_text())["figures"]
    assert [symptom["name"] for symptom in found["symptoms"]] == ["leak", "skin leak", "style", "identity"]


def test_outputs_are_checked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--json", str(tmp_path / "scores.txt")]) == 2
    assert "--json" in capsys.readouterr().err
    assert main(["evaluate", "--report", str(tmp_path)]) == 2
    assert "--report" in capsys.readouterr().err
    assert main(["evaluate", "--identities", "1"]) == 2
    assert "--identities" in capsys.readouterr().err
