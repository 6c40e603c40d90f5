"""A compound identity in training: what trains, who loses a half, and which sets are refused."""

import dataclasses

import pytest
import torch
from tests.training.running import changed_by, weights_of

import tiny
from emoji_adapter.config import to_mapping
from emoji_adapter.errors import DataError, InputError
from emoji_adapter.training.compound import draw_alone, with_identity_for
from emoji_adapter.training.critics import photo_distance
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.preview import draw_preview
from emoji_adapter.training.resumption import changed_settings
from emoji_adapter.training.session import open_session
from emoji_adapter.training.takes import alike_but_for_the_template


def with_second(data, recogniser):
    """The set with random second embeddings."""
    embeds = tiny.identities(len(data), seed=8).half()
    meta = dataclasses.replace(data.meta, second_recogniser=recogniser)
    return dataclasses.replace(data, meta=meta, second_identity=embeds)


@pytest.fixture(scope="module")
def of_two(data):
    return with_second(data, "micro")


@pytest.fixture(scope="module")
def compound(settings):
    """Settings of a run whose adapter has a second recogniser."""
    shape = dataclasses.replace(settings().adapter, second_recogniser="micro")
    return lambda **changes: settings(adapter=shape, **changes)


def told(session, step=0):
    """What the U-Net is told of eight rows, and the rows."""
    seen = []
    hook = session.models.conditioner.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    rows = session.data.sample(8, seeded(torch.Generator(), 5))
    session.stage.loss(session.models, rows, StepDraw(seeded(torch.Generator(), 6, step), (5, step)))
    hook.remove()
    return seen[0], rows


def test_both_projections_train_and_a_preview_is_drawn(compound, of_two, tmp_path):
    session = open_session(compound(), of_two, "cpu")
    assert session.state.adapter.config["second_recogniser"] == "micro"
    assert any(name.startswith("second_identity_projection") for name in session.state.parameters)
    assert changed_by(session, 4) == weights_of(session, "identity")
    assert draw_preview(session, tmp_path).is_file()


def test_rows_lose_either_half_and_hear_the_other_one_twice(compound, of_two):
    session = open_session(compound(one_recogniser_share=1.0), of_two, "cpu")
    conditions, rows = told(session)
    assert torch.equal(conditions.identity, rows.told_identity.float())
    assert set(conditions.identity_alone.tolist()) == {1, 2}
    adapter = session.state.adapter
    first, second = adapter.identity_tokens_of(conditions.identity).unbind(1)
    alone = torch.where(conditions.identity_alone[:, None, None] == 1, first, second)
    wanted = adapter(torch.stack([alone, alone], dim=1), identity_scale=conditions.identity_scale)
    for layer, parts in session.models.conditioner(conditions).items():
        torch.testing.assert_close(parts.k_identity, wanted[layer].k_identity)
        torch.testing.assert_close(parts.v_identity, wanted[layer].v_identity)


def test_either_half_is_lost_as_often():
    alone = draw_alone(0.4, 20_000, torch.Generator().manual_seed(0))
    shares = alone.bincount(minlength=3) / len(alone)
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.2, 0.2]), atol=0.01, rtol=0)
    assert not draw_alone(0.0, 100, torch.Generator()).any()


def test_the_expression_learns_beside_the_whole_identity(compound, of_two, tmp_path):
    session = open_session(compound(), of_two, "cpu")
    session.state.adapter.save_pretrained(tmp_path)
    session = open_session(compound(stage="expression", start=str(tmp_path)), of_two, "cpu")
    conditions, rows = told(session)
    assert conditions.identity_alone is None
    assert torch.equal(conditions.identity, rows.told_identity.float())
    with pytest.raises(DataError, match="the set holds no second embeddings"):
        open_session(compound(start=str(tmp_path)), dataclasses.replace(of_two, meta=plain(of_two)), "cpu")


def test_an_adapter_of_one_recogniser_gets_the_second_where_a_run_starts_from_it(
    settings, compound, data, of_two, tmp_path
):
    before = open_session(settings(), data, "cpu").state.adapter
    before.save_pretrained(tmp_path)
    after = open_session(compound(start=str(tmp_path)), of_two, "cpu").state.adapter
    assert after.config["second_recogniser"] == "micro"
    kept = before.state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in after.state_dict().items() if name in kept)
    after.save_pretrained(tmp_path / "two")
    same = open_session(compound(start=str(tmp_path / "two")), of_two, "cpu").state.adapter
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in after.state_dict().items())


def plain(data):
    return dataclasses.replace(data.meta, second_recogniser=None)


def test_sets_without_what_the_adapter_listens_to_are_refused(compound, data):
    with pytest.raises(DataError, match=r"recogniser 'micro'; the set holds no second.*--second-recogniser"):
        open_session(compound(), data, "cpu")
    own = with_second(data, "rec@0123456789ab")
    with pytest.raises(DataError, match="the set holds those of 'rec@0123456789ab'"):
        open_session(compound(), own, "cpu")
    with pytest.raises(DataError, match="second recogniser 'rec'; the set holds those of"):
        with_identity_for(tiny.adapter(tiny.unet(), second_recogniser="rec"), own)
    renamed = tiny.adapter(tiny.unet(), second_recogniser="renamed@0123456789ab")
    assert with_identity_for(renamed, own) is own


def test_an_adapter_of_one_recogniser_hears_nothing_of_the_other(settings, data, of_two):
    (alone, _), (beside, _) = (told(open_session(settings(), given, "cpu")) for given in (data, of_two))
    for item in dataclasses.fields(alone):
        one, other = getattr(alone, item.name), getattr(beside, item.name)
        assert one is other is None or torch.equal(one, other)


def test_takes_of_a_pair_share_both_and_the_critic_compares_the_first(of_two):
    rows = of_two.sample(4, seeded(torch.Generator(), 1))
    alike = alike_but_for_the_template(rows, torch.tensor([0, 2]))
    assert torch.equal(alike.told_identity[1::2], rows.told_identity[::2])
    torch.testing.assert_close(photo_distance(rows.identity.float(), rows), torch.zeros(4), atol=1e-3, rtol=0)


def test_settings_that_cannot_be_are_refused_and_earlier_runs_go_on(settings, compound):
    with pytest.raises(InputError, match=r"one_recogniser_share must lie in \[0, 1\], got 1\.5"):
        settings(one_recogniser_share=1.5)
    with pytest.raises(InputError, match="A stock IP-Adapter reads one embedding"):
        compound(stage="stock_identity")
    before = to_mapping(settings())
    del before["one_recogniser_share"], before["adapter"]["second_recogniser"]
    assert changed_settings(before, settings()) == []
    assert changed_settings(before, settings(one_recogniser_share=0.2)) == ["one_recogniser_share"]
    assert changed_settings(before, compound()) == ["adapter"]
