"""Rounds of IDI: what is tried, what is kept and why not, resumed after a kill; without networks."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import planted_idi
from emoji_adapter.data.archive import read_json, read_samples
from emoji_adapter.data.examine import Examined
from emoji_adapter.data.folder import list_pictures
from emoji_adapter.data.idi.config import IdiConfig, Thresholds, load_idi
from emoji_adapter.data.idi.filters import reason_of, refused_by
from emoji_adapter.data.idi.inspect import Rendering
from emoji_adapter.data.idi.plan import Planner
from emoji_adapter.data.idi.rates import rates_of
from emoji_adapter.data.idi.synthesis import Synthesis
from emoji_adapter.data.manifest import MANIFEST, read_lines
from emoji_adapter.data.sources import list_training
from emoji_adapter.data.triplets import Measured, TripletRecord, list_triplets, shard_file, triplet_folders
from emoji_adapter.errors import DataError, InputError

GOOD = Measured(faces=1, identity=0.5, leak=0.3, expression=0.06, cycle=0.1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return planted_idi.portraits(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """A finished round, and its pass rates."""
    out = tmp_path_factory.mktemp("undisturbed")
    return out, planted_idi.make(source, out)


def files(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, None),
        ({"unusable": "template: no face", "faces": None}, "source"),
        ({"faces": 0}, "faces"),
        ({"faces": 2}, "faces"),
        ({"identity": 0.49}, "identity"),
        ({"identity": float("nan")}, "identity"),
        ({"leak": 0.31}, "leak"),
        ({"leak": None}, "leak"),
        ({"expression": 0.061}, "expression"),
        ({"cycle": 0.21}, "cycle"),
        ({"identity": 0.1, "leak": 0.9}, "identity"),
    ],
)
def test_the_first_filter_that_does_not_hold_refuses(change, name):
    thresholds = Thresholds(cycle=0.2)
    measured = dataclasses.replace(GOOD, **change)
    refusing = refused_by(measured, thresholds)
    assert (refusing and refusing.name) == name
    if name:
        assert len(reason_of(name, measured, thresholds)) > 10


def test_without_a_bound_nothing_needs_to_swap_back():
    assert refused_by(dataclasses.replace(GOOD, cycle=None), Thresholds()) is None


def test_a_plan_pairs_everybodys_expression_with_other_people(source):
    pictures = list_pictures(source)
    planner = Planner(pictures, planted_idi.CONFIG)
    attempts = [attempt for shard in range(4) for attempt in planner.shard(shard)]
    assert all(pictures[a.template].person != pictures[a.photo].person for a in attempts)
    used = [attempt.template for attempt in attempts]
    assert all(sorted(used[start : start + 8]) == list(range(8)) for start in range(0, 80, 8))
    assert {attempt.caption for attempt in attempts} == {picture.caption for picture in pictures}
    assert {attempt.photo for attempt in attempts} == set(range(8))
    assert len({attempt.id for attempt in attempts}) == len({attempt.seed for attempt in attempts}) == 80


def test_a_shard_depends_on_seed_round_and_number_only(source):
    pictures, config = list_pictures(source), planted_idi.CONFIG
    plan = Planner(pictures, config).shard(2)
    assert Planner(pictures, dataclasses.replace(config, shards=9, batch=1)).shard(2) == plan
    for change in ({"seed": 1}, {"round": 2}):
        other = Planner(pictures, dataclasses.replace(config, **change)).shard(2)
        assert [a.seed for a in other] != [a.seed for a in plan]
        assert [a.template for a in other] != [a.template for a in plan]


def test_prompts_of_the_settings_replace_the_captions(source):
    config = IdiConfig(shard_size=9, prompts=("red", "blue"))
    assert {a.caption for a in Planner(list_pictures(source), config).shard(0)} == {"red", "blue"}


def test_one_person_alone_is_refused(source):
    with pytest.raises(DataError, match="two people or more, got 1"):
        Planner(list_pictures(source)[:2], planted_idi.CONFIG)


def test_what_is_kept_passes_all_filters_and_lies_in_the_shards(undisturbed):
    out, rates = undisturbed
    folder = out / "round_1"
    attempts = [
        record for n in range(3) for record in read_lines(folder / f"attempts-{n:05d}.jsonl", TripletRecord)
    ]
    kept = [record for record in attempts if record.refused is None]
    assert len(attempts) == 60
    assert {record.refused for record in attempts} >= {
        None, "source", "faces", "identity", "leak", "expression"
    }  # fmt: skip
    assert all(refused_by(record.measured, Thresholds()) is None for record in kept)
    assert read_lines(folder / MANIFEST, TripletRecord) == kept
    samples = [item for n in range(3) for item in read_samples(shard_file(folder, n))]
    assert [key for key, _ in samples] == [record.id for record in kept]
    for (_, sample), record in zip(samples, kept, strict=True):
        assert sample.keys() == {"target.png", "identity.png", "template.png", "json"}
        assert read_json(sample["json"])["person"] == record.person
        assert record.person != record.template_person
        assert planted_idi.UNUSABLE not in (record.identity, record.template)
    assert rates.kept == len(kept) > 3
    assert rates.attempts == 60
    assert rates_of(1, 3, attempts) == rates


def test_pass_rates_count_down_from_all_attempts_to_those_kept(undisturbed):
    out, rates = undisturbed
    reached = [rate.reached for rate in rates.filters]
    assert reached[0] == 60
    assert reached[1:] == [rate.passed for rate in rates.filters[:-1]]
    assert rates.filters[-1].passed == rates.kept
    assert all(rate.rate == rate.passed / rate.reached for rate in rates.filters)
    (written,) = json.loads((out / "rates.json").read_text())
    assert written["kept"] == rates.kept
    assert written["filters"][0]["name"] == "source"


def test_the_report_shows_rates_pictures_and_reasons(undisturbed):
    out, rates = undisturbed
    text = (out / "report.html").read_text()
    assert text.count("<figure>") == rates.kept + 18
    assert "another expression: distance 0.200 &gt; 0.060" in text
    assert "source cannot be used" in text
    svg = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    told = [bar.findtext("title") for bar in svg.iter("rect")]
    assert told[-1] == f"round 1, kept: {rates.kept / 60:.3f}"
    assert len(told) == len(rates.filters) + 1


def test_a_second_round_stands_beside_the_first(source, tmp_path):
    planted_idi.make(source, tmp_path)
    second = dataclasses.replace(planted_idi.CONFIG, round=2)
    planted_idi.make(source, tmp_path, second)
    assert [item["round"] for item in json.loads((tmp_path / "rates.json").read_text())] == [1, 2]
    assert "<title>round 2, kept" in (tmp_path / "report.html").read_text()
    triplets = list_triplets(triplet_folders(tmp_path))
    assert len({triplet.id for triplet in triplets}) == len(triplets)
    assert {triplet.file.split("/")[0] for triplet in triplets} == {"round_1", "round_2"}
    assert len(list_triplets(triplet_folders(tmp_path / "round_2"))) < len(triplets)


def test_parts_made_apart_are_the_same_set(source, undisturbed, tmp_path):
    assert planted_idi.make(source, tmp_path, part=(1, 2)) is None
    assert sorted(path.name for path in (tmp_path / "round_1").glob("shard*")) == ["shard-00001.tar"]
    assert planted_idi.make(source, tmp_path, part=(0, 2)) == undisturbed[1]
    assert files(tmp_path) == files(undisturbed[0])


def test_more_shards_may_be_asked_for_later(source, undisturbed, tmp_path):
    planted_idi.make(source, tmp_path, dataclasses.replace(planted_idi.CONFIG, shards=1))
    before = (tmp_path / "round_1" / "shard-00000.tar").stat().st_mtime_ns
    assert planted_idi.make(source, tmp_path) == undisturbed[1]
    assert (tmp_path / "round_1" / "shard-00000.tar").stat().st_mtime_ns == before
    assert files(tmp_path) == files(undisturbed[0])


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_killed_run_goes_on_and_ends_the_same(source, undisturbed, tmp_path):
    command = [sys.executable, planted_idi.__file__, str(source), str(tmp_path), "45"]
    root = Path(__file__).parents[2] / "src"
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = tmp_path / "round_1"
    left = {path.name for path in folder.iterdir()}
    assert any(name.endswith(".partial") for name in left)
    whole = [path for path in sorted(folder.glob("shard-*.tar")) if list(read_samples(path))]
    assert 0 < len(whole) < 3
    for place in (tmp_path, folder):
        with pytest.raises(DataError, match=r"round_1 is not complete.*idi"):
            list_training(place)
    times = [path.stat().st_mtime_ns for path in whole]
    assert planted_idi.make(source, tmp_path) == undisturbed[1]
    assert [path.stat().st_mtime_ns for path in whole] == times
    assert files(tmp_path) == files(undisturbed[0])


def test_an_interruption_leaves_nothing_half_written(source, undisturbed, tmp_path):
    def interrupt(done, of):
        if done > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        planted_idi.make(source, tmp_path, progress=interrupt)
    names = {path.name for path in (tmp_path / "round_1").iterdir()}
    assert names == {"idi.json", "attempts-00000.jsonl", "refused-00000.tar", "shard-00000.tar"}
    told = []
    planted_idi.make(source, tmp_path, progress=lambda done, of: told.append((done, of)))
    assert told[0] == (20, 60)
    assert told[-1] == (60, 60)
    assert files(tmp_path) == files(undisturbed[0])


def test_a_round_goes_on_with_the_same_settings_only(source, tmp_path):
    planted_idi.make(source, tmp_path)
    changed = dataclasses.replace(planted_idi.CONFIG, seed=3, thresholds=Thresholds(leak=0.2))
    with pytest.raises(InputError, match="begun with other seed, thresholds"):
        planted_idi.make(source, tmp_path, changed)


def test_a_round_that_was_begun_before_a_setting_was_added_goes_on(source, tmp_path):
    planted_idi.make(source, tmp_path)
    path = tmp_path / "round_1" / "idi.json"
    settings = json.loads(path.read_text())
    assert settings.pop("precision") == "fp32"
    path.write_text(json.dumps(settings))
    planted_idi.make(source, tmp_path)
    with pytest.raises(InputError, match="begun with other precision"):
        planted_idi.make(source, tmp_path, dataclasses.replace(planted_idi.CONFIG, precision="bf16"))


def test_settings_come_from_a_recipe_with_changes():
    config = load_idi("micro", ["thresholds.leak=0.1", "round=2", "swapper=null"])
    assert (config.thresholds.leak, config.round, config.swapper) == (0.1, 2, None)
    with pytest.raises(InputError, match=r"no recipe 'nothing'\. Packaged: micro"):
        load_idi("nothing")
    with pytest.raises(InputError, match="needs a swapper"):
        load_idi("micro", ["swapper=null", "thresholds.cycle=0.1"])
    with pytest.raises(InputError, match=r"thresholds.leak is a cosine.*got 2"):
        load_idi("micro", ["thresholds.leak=2"])
    with pytest.raises(InputError, match="shard_size must be above 0"):
        load_idi("micro", ["shard_size=0"])


def test_hugging_face_reads_the_shards(undisturbed, tmp_path):
    datasets = pytest.importorskip("datasets")
    out, rates = undisturbed
    rows = list(
        datasets.load_dataset(
            "webdataset",
            data_files=[str(path) for path in sorted((out / "round_1").glob("shard-*.tar"))],
            split="train",
            streaming=True,
            cache_dir=str(tmp_path),
        )
    )
    assert len(rows) == rates.kept
    assert rows[0]["target.png"].size == (planted_idi.SIDE,) * 2
    assert rows[0]["json"]["round"] == 1


def test_an_adapter_of_two_recognisers_is_told_both_and_compared_by_the_first(source):
    told, compared = [], []

    def look(jobs):
        for found in planted_idi.look(seen(jobs)):
            if isinstance(found, Examined):
                found = dataclasses.replace(found, second_identity=-found.identity)
            yield found

    def seen(jobs):
        for job in jobs:
            compared.extend([job.identity, job.template_identity] if isinstance(job, Rendering) else [])
            yield job

    def render(identity, *rest):
        told.append(identity)
        return planted_idi.render(identity[:, :512], *rest)

    Synthesis(list_pictures(source), planted_idi.CONFIG, render, look).shard(0)
    assert {embeds.shape[1] for embeds in told} == {1024}
    assert all((embeds[:, 512:] == -embeds[:, :512]).all() for embeds in told)
    assert {embedding.shape for embedding in compared} == {(512,)}
