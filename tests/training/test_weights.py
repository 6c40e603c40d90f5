"""What trains, how fast, and its average."""

import pytest
import torch
from torch import nn

import tiny
from emoji_adapter.errors import InputError
from emoji_adapter.models.adapter import is_adapter_parameter
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.weights import MovingAverage, freeze_all_but, learning_rate


def parameters(value):
    return {"w": nn.Parameter(torch.full((3,), value))}


@pytest.mark.parametrize("branch", ["identity", "expression", None])
def test_exactly_the_branch_trains(branch):
    adapter = tiny.adapter(tiny.unet())
    trained = freeze_all_but(adapter, branch)
    expected = {name for name, _ in adapter.named_parameters() if is_adapter_parameter(name, branch)}
    assert set(trained) == expected
    assert {name for name, p in adapter.named_parameters() if p.requires_grad} == expected
    assert expected


def test_only_the_modules_that_are_named_train():
    adapter = tiny.adapter(tiny.unet(), second_recogniser="micro")
    trained = freeze_all_but(adapter, "identity", ["second_identity_projection", "to_k_identity"])
    assert {name.split(".")[0] for name in trained} == {"second_identity_projection", "to_k_identity"}
    assert {name for name, p in adapter.named_parameters() if p.requires_grad} == set(trained)


@pytest.mark.parametrize("name", ["to_k_expression", "second_identity_projection", "nonsense"])
def test_modules_that_do_not_train_are_refused(name):
    with pytest.raises(InputError, match=rf"trains names '{name}'.*Known: .*to_k_identity"):
        freeze_all_but(tiny.adapter(tiny.unet()), "identity", ["to_k_identity", name])


def test_the_rate_warms_up_and_ends_at_its_final_share():
    config = TrainingConfig(stage="identity", learning_rate=1.0, warmup=10, final_learning_rate=0.1)
    rates = [learning_rate(step, 100, config) for step in range(101)]
    assert rates[0] == 0.1
    assert rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.1)


def test_the_average_follows_its_formula():
    weights = parameters(0.0)
    average = MovingAverage(weights, decay=0.9)
    with torch.no_grad():
        weights["w"].fill_(1.0)
    average.update(0)  # decay (1 + 0) / (10 + 0)
    torch.testing.assert_close(average.average["w"], torch.full((3,), 0.9))
    average.update(10_000)
    torch.testing.assert_close(average.average["w"], torch.full((3,), 0.9 * 0.9 + 0.1))


def test_the_average_is_copied_to_another_adapter_in_its_own_dtype():
    adapter, other = tiny.adapter(tiny.unet(), seed=1), tiny.adapter(tiny.unet(), seed=2).half()
    average = MovingAverage(freeze_all_but(adapter, "identity"), decay=0.5)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    average.copy_to(other)
    for name, tensor in other.state_dict().items():
        expected = average.average[name].half() if name in average.average else before[name]
        assert torch.equal(tensor, expected)
