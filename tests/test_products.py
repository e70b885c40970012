"""Weights laid out once multiply like plain ones, and the head's own gradient is autograd's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cascade_rl.model import head, products
from cascade_rl.model.head import target_logprobs
from cascade_rl.model.products import Weight, laid_out, linear, read_out_linear
from cascade_rl.model.truncated import truncate
from cascade_rl.protocols import WHOLE, SamplingRule


def weights_of(dtype: torch.dtype) -> dict[str, Weight]:
    rng = torch.Generator().manual_seed(0)
    found = {name: torch.randn(48, 32, generator=rng).to(dtype) for name in ("embed", "0.qkv", "0.down")}
    found["0.norm"] = torch.ones(32, dtype=dtype)
    master = torch.randn(48, 32, generator=rng)
    return {name: Weight.of(w, master if name == "embed" else None) for name, w in found.items()}


def rows(count: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_laid_out_product_is_the_plain_one(dtype):
    weights, bias = weights_of(dtype), torch.randn(48, generator=torch.Generator().manual_seed(2)).to(dtype)
    with torch.inference_mode(), laid_out(weights, layers=True):
        for count in (1, 3, 33, 200):
            x = rows(count, dtype)
            for added in (None, bias):
                found, wanted = linear(x, weights["0.qkv"], added), F.linear(x, weights["0.qkv"], added)
                torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 if dtype is torch.float32 else 0)
            exact = x.float() @ weights["embed"].master.T
            torch.testing.assert_close(read_out_linear(x.float(), weights["embed"]), exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layers", [True, False])
def test_nothing_stays_laid_out_even_after_a_fault(layers):
    weights = weights_of(torch.float32)
    with pytest.raises(ZeroDivisionError), laid_out(weights, layers=layers):
        assert (weights["0.qkv"].laid_out is not None) is layers and weights["embed"].laid_out is not None
        assert weights["0.norm"].laid_out is None
        raise ZeroDivisionError
    assert not any(w.laid_out is not None for w in weights.values())
    with torch.no_grad():
        weights["0.qkv"].mul_(2)
    with torch.inference_mode(), laid_out(weights, layers=True):
        x = rows(3, torch.float32)
        torch.testing.assert_close(linear(x, weights["0.qkv"]), x @ weights["0.qkv"].T)


def test_a_fault_while_laying_out_leaves_nothing_behind(monkeypatch):
    weights, real, calls = weights_of(torch.float32), torch.ops.mkldnn._reorder_linear_weight, []

    def fails_at_last(weight, rows):
        calls.append(weight)
        if len(calls) == 3:
            raise MemoryError
        return real(weight, rows)

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", fails_at_last)
    with pytest.raises(MemoryError), laid_out(weights, layers=True):
        pass
    assert not any(w.laid_out is not None for w in weights.values())


def test_without_the_kernels_products_are_plain(monkeypatch):
    monkeypatch.setattr(products, "_can_lay_out", lambda dtype: False)
    weights, x = weights_of(torch.bfloat16), rows(5, torch.bfloat16)
    with torch.inference_mode(), laid_out(weights, layers=True):
        assert weights["0.qkv"].laid_out is None
        assert torch.equal(linear(x, weights["0.qkv"]), F.linear(x, weights["0.qkv"]))


@pytest.mark.parametrize("kept", [1 << 28, 7 * 48 * 4, 1])
@pytest.mark.parametrize("at_once", [1 << 23, 5 * 48, 1])
@pytest.mark.parametrize("rule", [(0.7,), (0.7, 0.9), (1.3, 1.0, 6), (0.7, 0.8, 20, 0.1)], ids=str)
def test_the_heads_gradient_is_autograds_however_it_is_split(monkeypatch, kept, at_once, rule):
    """In float64 the two differ by rounding only; `kept` 1 makes every probability anew, a row at a time."""
    rule = SamplingRule(*rule)
    monkeypatch.setattr(head, "HEAD_KEPT", kept)
    monkeypatch.setattr(head, "HEAD_ROWS", at_once)
    rng = torch.Generator().manual_seed(3)
    hidden, weight, pull = (
        torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((23, 32), (48, 32), (23,))
    )
    targets = torch.randint(48, (23,), generator=rng)
    twins = [t.clone().requires_grad_() for t in (hidden, weight)]
    own = [t.clone().requires_grad_() for t in (hidden, weight)]
    logprobs = truncate(twins[0] @ twins[1].T, rule, targets)
    assert rule.truncates(48) == bool(logprobs.isinf().any())
    wanted = logprobs.gather(-1, targets[:, None])[:, 0]
    (wanted * pull).sum().backward()
    found = target_logprobs(*own, targets, rule)
    (found * pull).sum().backward()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    for mine, theirs in zip(own, twins, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(
            target_logprobs(hidden, weight, targets, rule), wanted.detach(), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("kept", [1 << 28, 7 * 48 * 2])
def test_the_head_adds_its_gradient_to_main_grad_in_whatever_parts(monkeypatch, kept):
    """bf16 products over an fp32 master: near the exact gradient, added to what was there."""
    monkeypatch.setattr(head, "HEAD_KEPT", kept)
    monkeypatch.setattr(head, "HEAD_ROWS", 5 * 48)
    rng = torch.Generator().manual_seed(4)
    master, hidden = torch.randn(48, 32, generator=rng), torch.randn(23, 32, generator=rng)
    targets, pull = torch.randint(48, (23,), generator=rng), torch.randn(23, generator=rng)
    weight = Weight.of(master.bfloat16(), master, torch.ones_like(master)).requires_grad_()
    twins = [t.clone().requires_grad_() for t in (hidden, master)]
    ((twins[0] @ twins[1].T).log_softmax(-1).gather(-1, targets[:, None])[:, 0] * pull).sum().backward()
    own = hidden.clone().requires_grad_()
    with laid_out({"embed": weight}, layers=False):
        (target_logprobs(own, weight, targets, WHOLE) * pull).sum().backward()
    assert weight.grad is None
    for found, wanted in ((weight.main_grad - 1, twins[1].grad), (own.grad, twins[0].grad)):
        assert (found - wanted).norm() < 0.01 * wanted.norm()


def test_log_probabilities_hold_where_the_probability_underflows():
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [-200.0]]).requires_grad_()
    for targets, wanted in (([0], 0.0), ([1], -200.0)):
        assert target_logprobs(hidden, weight, torch.tensor(targets), WHOLE).item() == pytest.approx(
            wanted, abs=1e-6
        )
