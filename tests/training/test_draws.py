"""Draws depend on seed and step only; conditions are dropped as often as asked, and only as asked."""

import torch

from emoji_adapter.training.config import DropConfig
from emoji_adapter.training.draws import draw_drops, mixed_seed, rows_from_anywhere, seeded, share_of_rows

CPU = torch.device("cpu")


def test_neighbouring_numbers_give_unrelated_seeds():
    seeds = {mixed_seed(*numbers) for numbers in [(0, 0), (0, 1), (1, 0), (0, 0, 0), (1, 1), (0, 2), (2, 0)]}
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_reseeded_generator_forgets_what_it_drew():
    generator = torch.Generator()
    first = torch.rand(3, generator=seeded(generator, 1, 7))
    torch.rand(100, generator=generator)
    assert torch.equal(torch.rand(3, generator=seeded(generator, 1, 7)), first)
    assert not torch.equal(torch.rand(3, generator=seeded(generator, 1, 8)), first)


def test_every_case_is_drawn_as_often_as_asked():
    config = DropConfig(
        text=0.1,
        identity=0.15,
        expression=0.05,
        text_and_identity=0.1,
        text_and_expression=0.02,
        everything=0.08,
    )
    masks = torch.stack(draw_drops(200_000, config, torch.Generator().manual_seed(0), CPU), dim=1)
    cases, counts = masks.unique(dim=0, return_counts=True)
    share = {
        tuple(case.tolist()): count / 200_000 for case, count in zip(cases, counts.tolist(), strict=True)
    }
    expected = {
        (True, False, False): 0.1,
        (False, True, False): 0.15,
        (False, False, True): 0.05,
        (True, True, False): 0.1,
        (True, False, True): 0.02,
        (True, True, True): 0.08,
        (False, False, False): 0.5,
    }
    assert share.keys() == expected.keys()
    assert all(abs(share[case] - expected[case]) < 0.005 for case in expected)


def test_shares_of_zero_and_one_are_exact():
    generator = torch.Generator().manual_seed(0)
    nothing = draw_drops(1000, DropConfig(text=0.0), generator, CPU)
    assert not torch.stack(nothing).any()
    everything = draw_drops(1000, DropConfig(text=0.0, everything=1.0), generator, CPU)
    assert torch.stack(everything).all()


def test_a_share_of_rows_is_whole_where_it_can_be_and_right_on_average():
    assert {share_of_rows(0.25, 16, 0, step) for step in range(200)} == {4}
    counts = [share_of_rows(0.3, 4, 0, step) for step in range(4000)]
    assert set(counts) == {1, 2}
    assert abs(sum(counts) / 4000 - 1.2) < 0.03
    assert share_of_rows(0.0, 8, 1) == 0
    assert share_of_rows(1.0, 8, 1) == 8


def test_rows_come_in_turn_and_begin_anywhere():
    orders = torch.stack([rows_from_anywhere(5, CPU, 0, step) for step in range(200)])
    assert torch.equal(orders.sort(1).values, torch.arange(5).expand(200, 5))
    assert bool(((orders[:, 1:] - orders[:, :-1]) % 5 == 1).all())
    assert set(orders[:, 0].tolist()) == set(range(5))
    assert torch.equal(rows_from_anywhere(5, CPU, 0, 7), orders[7])
