"""Batch renormalisation trains as the network will run."""

import torch

from emoji_adapter.microworld.networks.blocks import RenormBatchNorm2d


def _batch(mean: float, spread: float) -> torch.Tensor:
    return mean + spread * torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_it_starts_as_plain_batch_normalisation():
    ours, plain = RenormBatchNorm2d(3), torch.nn.BatchNorm2d(3)
    features = _batch(2.0, 0.5)
    assert torch.allclose(ours(features), plain(features), atol=1e-5)


def test_in_the_end_training_equals_running_for_batches_of_two_kinds():
    layer = RenormBatchNorm2d(3)
    for step in range(1300):
        layer(_batch(1.0, 1.0) if step % 2 else _batch(0.0, 2.0))
    features = _batch(0.0, 2.0)
    trained = layer(features)
    assert torch.allclose(trained, layer.eval()(features), atol=0.05)
    assert layer.running_mean is not None
    assert 0.3 < float(layer.running_mean.mean()) < 0.7
    assert abs(float(trained.detach().mean())) > 0.2, "not the batch's own mean"


def test_gradients_reach_input_and_affine():
    layer = RenormBatchNorm2d(3)
    features = _batch(0.0, 1.0).requires_grad_()
    layer(features).square().sum().backward()
    assert features.grad is not None
    assert layer.weight.grad is not None
    assert float(layer.weight.grad.abs().sum()) > 0
