"""The recurrence of Mamba-2 as matrix products against the recurrence itself."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from scenesynth.models.mamba import Mamba2, MambaBlock  # noqa: E402
from scenesynth.models.ssd import ssd  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

LENGTHS = [(1, 8), (5, 8), (8, 8), (16, 8), (41, 16), (45, 64), (67, 16)]


def inputs(length: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """x [2, L, 3, 4], dt [2, L, 3], a [3], b and c [2, L, 5]."""
    draw = torch.Generator().manual_seed(seed)
    x, b, c = (torch.randn(2, length, *shape, generator=draw) for shape in ((3, 4), (5,), (5,)))
    dt = 0.5 * torch.rand(2, length, 3, generator=draw)
    a = -torch.tensor([0.5, 2.0, 16.0])
    return x, dt, a, b, c


def recurrence(
    x: torch.Tensor, dt: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """S_t = exp(dt_t a) S_{t-1} + dt_t b_t x_t^T, y_t = S_t^T c_t, token by token."""
    batch, length, heads, _ = x.shape
    outputs = []
    for n in range(batch):
        for h in range(heads):
            state = torch.zeros(b.shape[2], x.shape[3], dtype=x.dtype)
            for t in range(length):
                state = torch.exp(dt[n, t, h] * a[h]) * state
                state = state + dt[n, t, h] * torch.outer(b[n, t], x[n, t, h])
                outputs.append(state.mT @ c[n, t])
    return torch.stack(outputs).reshape(batch, heads, length, -1).transpose(1, 2)


@pytest.mark.parametrize(("length", "chunk"), LENGTHS)
def test_matrix_form_equals_the_recurrence(length: int, chunk: int) -> None:
    values = inputs(length)
    expected = recurrence(*(value.double() for value in values))
    found = ssd(*values, chunk)
    assert found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("length", "chunk"), [(5, 8), (16, 8), (21, 8)])
def test_gradients_equal_those_of_the_recurrence(length: int, chunk: int) -> None:
    weights = torch.randn(2, length, 3, 4, generator=torch.Generator().manual_seed(1))
    gradients = []
    for form in (lambda *values: ssd(*values, chunk), recurrence):
        values = [value.clone().requires_grad_() for value in inputs(length)]
        (form(*values) * weights).sum().backward()
        gradients.append([value.grad for value in values])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_chunks_change_nothing() -> None:
    values = inputs(50)
    whole = ssd(*values, 50)
    for chunk in (1, 7, 16, 64):
        torch.testing.assert_close(ssd(*values, chunk), whole, rtol=0, atol=1e-5)


def test_outputs_depend_on_nothing_later() -> None:
    x, dt, a, b, c = inputs(30)
    changed = x.clone()
    changed[:, 20] += 10.0
    before, after = ssd(x, dt, a, b, c, 8), ssd(changed, dt, a, b, c, 8)
    torch.testing.assert_close(after[:, :20], before[:, :20], rtol=0, atol=0)
    assert (after[:, 20:] - before[:, 20:]).abs().amax() > 0.1


def test_long_decay_stays_finite() -> None:
    x, dt, a, b, c = inputs(400)
    x.requires_grad_()
    y = ssd(x, 100.0 * dt, a, b, c, 64)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()


def mixer(seed: int = 0) -> Mamba2:
    torch.manual_seed(seed)
    return Mamba2(16, inner=32, heads=4, state=8, conv=4, chunk=8)


def test_a_mixer_looks_back_only_and_a_block_both_ways() -> None:
    torch.manual_seed(0)
    block = MambaBlock(16, inner=32, heads=4, state=8, conv=4, chunk=8)
    tokens = torch.randn(1, 12, 16)
    changed = tokens.clone()
    changed[:, 6] += 1.0
    for module, touched in ((mixer(), range(6, 12)), (block, range(12))):
        moved = (module(changed) - module(tokens)).abs().amax(dim=(0, 2)) > 1e-6
        assert moved.nonzero().flatten().tolist() == list(touched)


def test_a_mixer_is_its_formula_token_by_token() -> None:
    module = mixer()
    tokens = torch.randn(2, 11, 16)
    gate, mixed, dt = module.project(tokens).split(module.sizes, dim=2)
    convolved = torch.zeros_like(mixed) + module.offset
    for t in range(11):
        for back in range(min(4, t + 1)):
            convolved[:, t] += module.taps[3 - back] * mixed[:, t - back]
    x, b, c = torch.nn.functional.silu(convolved).split([32, 8, 8], dim=2)
    x = x.unflatten(2, (4, 8))
    dt = torch.log1p(torch.exp(dt + module.step))
    y = recurrence(x, dt, -module.log_rate.exp(), b, c) + module.skip[:, None] * x
    y = y.flatten(2) * torch.nn.functional.silu(gate)
    y = y / (y.square().mean(2, keepdim=True) + 1e-6).sqrt() * module.norm.weight
    torch.testing.assert_close(module(tokens), y @ module.out.weight.T, rtol=0, atol=1e-5)


def test_first_steps_and_rates_lie_where_the_paper_draws_them() -> None:
    module = Mamba2(16, inner=256, heads=64, state=8, conv=4, chunk=8)
    steps = torch.nn.functional.softplus(module.step)
    rates = module.log_rate.exp()
    assert 0.001 <= float(steps.detach().min()) < float(steps.detach().max()) <= 0.1001
    assert 1.0 <= float(rates.detach().min()) < float(rates.detach().max()) <= 16.001
