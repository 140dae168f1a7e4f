"""Queries read what they may see, and nothing else."""

import torch

from attrgan.model.fusion import Cells, Fusion


def fused(tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    fusion = Fusion(width=16, layers=2, heads=2, feed_forward=32, dropout=0.0).eval()
    return fusion(torch.ones(len(tokens), seen.shape[1], 16), fusion.keys(tokens), seen)


def test_a_query_does_not_change_with_a_token_that_it_may_not_see():
    tokens, seen = torch.randn(3, 5, 16), torch.ones(3, 2, 5, dtype=torch.bool)
    seen[:, 0, 4] = False
    changed = tokens.clone()
    changed[:, 4] = torch.randn(16)  # another one, not a constant added, which the norm takes away
    before, after = fused(tokens, seen), fused(changed, seen)
    torch.testing.assert_close(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1]), "the other query sees it"


def test_no_query_learns_of_a_token_through_another_query_or_token():
    tokens, seen = torch.randn(1, 4, 16), torch.zeros(1, 3, 4, dtype=torch.bool)
    seen[0, torch.arange(3), torch.arange(3)] = True  # each query sees one token of its own
    changed = tokens.clone()
    changed[0, 2] = torch.randn(16)
    before, after = fused(tokens, seen), fused(changed, seen)
    torch.testing.assert_close(before[0, :2], after[0, :2])


def test_the_order_of_the_tokens_does_not_matter():
    tokens, seen = torch.randn(2, 6, 16), torch.rand(2, 3, 6) < 0.7
    seen[..., 0] = True
    order = torch.randperm(6)
    torch.testing.assert_close(fused(tokens, seen), fused(tokens[:, order], seen[:, :, order]), atol=1e-5, rtol=1e-5)


def test_a_cell_that_is_read_several_times_is_read_as_it_would_be_each_time():
    torch.manual_seed(0)
    fusion = Fusion(width=16, layers=2, heads=2, feed_forward=32, dropout=0.0).eval()
    tokens, queries = torch.randn(3, 5, 16), torch.randn(3, 2, 16)
    seen = torch.rand(3, 2, 4, 5) < 0.6  # each query four times, each time with other tokens
    seen[..., 0] = True
    keys = fusion.keys(tokens)
    row, attribute, time = torch.tensor([[0, 1, 0], [0, 1, 2], [2, 0, 1], [2, 1, 3]]).T
    found = fusion.of_cells(queries[row, attribute], keys, seen[row, attribute, time], Cells.of(row, 3))
    for i, (r, a, t) in enumerate(zip(row, attribute, time, strict=True)):
        torch.testing.assert_close(found[i], fusion(queries, keys, seen[:, :, t])[r, a])
