"""Masked autoencoders against slow oracles, and what a trainer relies on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scenesynth.errors import ConfigError
from scenesynth.models.config import SIZES, DecoderConfig, MaeConfig, sized
from scenesynth.records import from_json, from_plain, to_json, to_plain

torch = pytest.importorskip("torch", reason="torch is not installed")

from scenesynth.models.attention import Block, WindowBias  # noqa: E402
from scenesynth.models.flops import flops, n_parameters  # noqa: E402
from scenesynth.models.losses import direction, info_nce, reconstruction  # noqa: E402
from scenesynth.models.mae import MaskedAutoencoder  # noqa: E402
from scenesynth.models.masking import in_time_order, masking  # noqa: E402
from scenesynth.models.patches import patched, positions, unpatched  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

BACKBONES = ["vit", "mamba"]


def small_window(**changes: Any) -> MaeConfig:
    """Tiny, over 4 x 5 patches of 8 mels x 4 frames in 2 channels."""
    shape = {"channels": 2, "mels": 32, "frames": 20, "patch": (8, 4), "mask_ratio": 0.6}
    return sized("tiny", **{**shape, **changes})


def built(seed: int = 0, **changes: Any) -> MaskedAutoencoder:
    torch.manual_seed(seed)
    return MaskedAutoencoder(small_window(**changes))


def windows(n: int, config: MaeConfig, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, config.channels, config.mels, config.frames, generator=draw) * 2 - 7


# Patches and masks.


def test_patches_are_cut_low_to_high_and_early_to_late() -> None:
    features = torch.randn(2, 3, 8, 12)
    tokens = patched(features, (4, 3))
    assert tokens.shape == (2, 8, 36)
    for token in range(8):
        freq, time = divmod(token, 4)
        cut = features[:, :, freq * 4 : freq * 4 + 4, time * 3 : time * 3 + 3]
        assert torch.equal(tokens[:, token], cut.flatten(1))
    assert torch.equal(unpatched(tokens, (2, 4), (4, 3)), features)


def test_positions_tell_every_place_apart() -> None:
    codes = positions(16, (3, 5))
    assert codes.shape == (15, 16)
    rates = [10000 ** (-n / 4) for n in range(4)]
    for token in range(15):
        freq, time = divmod(token, 5)
        expected = [
            f(place * w) for place in (freq, time) for f in (math.sin, math.cos) for w in rates
        ]
        np.testing.assert_allclose(codes[token], expected, atol=1e-6)
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=2)
    assert distances[~np.eye(15, dtype=bool)].min() > 0.5


def test_the_tokens_of_largest_noise_are_hidden() -> None:
    noise = torch.rand(6, 20, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    found = masking(noise, 12, (4, 5))
    for row in range(6):
        by_noise = sorted(range(20), key=lambda token: (float(noise[row, token]), token))
        seen, hidden = by_noise[:8], by_noise[8:]
        assert sorted(found.hidden[row].tolist()) == sorted(hidden)
        assert found.mask[row].nonzero().flatten().tolist() == sorted(hidden)
        assert found.visible[row].tolist() == sorted(seen, key=lambda token: (token % 5, token))


def test_time_order_goes_from_step_to_step() -> None:
    assert in_time_order(torch.arange(6)[None], (2, 3))[0].tolist() == [0, 3, 1, 4, 2, 5]


# The decoder against loops over heads, windows and tokens.


def attend_by_loops(block: Block, x: torch.Tensor, windows: tuple[int, ...]) -> torch.Tensor:
    """Attention of one sequence [tokens, dim], with no mask: every window on its own."""
    n, dim = x.shape
    width = dim // len(windows)
    projected = x @ block.attention.qkv.weight.T + block.attention.qkv.bias
    mixed = torch.zeros(n, dim)
    first = 0
    for head, window in enumerate(windows):
        own = slice(head * width, (head + 1) * width)
        query, key, value = (projected[:, k * dim : (k + 1) * dim][:, own] for k in range(3))
        reach = min(window, n)
        table = block.bias.table[first : first + 2 * reach - 1] if window else None
        first += 2 * reach - 1 if window else 0
        for i in range(n):
            start = i // window * window if window else 0
            keys = range(start, min(start + window, n) if window else n)
            scores = [
                query[i] @ key[j] / math.sqrt(width)
                + (table[i - j + reach - 1] if table is not None else 0.0)
                for j in keys
            ]
            weights = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
            mixed[i, own] = sum(w * value[j] for w, j in zip(weights, keys, strict=True))
    return mixed @ block.attention.out.weight.T + block.attention.out.bias


def layer_norm_by_formula(x: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight + norm.bias
    )


@pytest.mark.parametrize("windows", [(5, 4, 0, 0), (1, 3, 20, 40), (0, 0, 0, 0)])
def test_decoder_equals_loops_over_heads_windows_and_tokens(windows: tuple[int, ...]) -> None:
    decoder = DecoderConfig(dim=32, depth=2, heads=4, windows=windows)
    model = built(decoder=decoder)
    with torch.no_grad():
        for block in model.decoder:
            block.bias.table.normal_()
            block.norm1.weight.normal_()
        encoded = torch.randn(1, 8, 64)
        visible = torch.tensor([[3, 19, 0, 7, 11, 4, 18, 9]])
        x = torch.stack([model.mask_token] * 20)
        for place, token in enumerate(visible[0].tolist()):
            x[token] = encoded[0, place] @ model.bridge.weight.T + model.bridge.bias
        x = x + torch.from_numpy(positions(32, (4, 5)))
        for block in model.decoder:
            x = x + attend_by_loops(block, layer_norm_by_formula(x, block.norm1), windows)
            x = x + torch.stack([block.mlp(row) for row in layer_norm_by_formula(x, block.norm2)])
        expected = layer_norm_by_formula(x, model.decoder_norm)
        found = model._decode(encoded, visible)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_bias_is_learned_within_windows_only() -> None:
    bias = WindowBias(6, (2, 4, 0))
    assert len(bias.table) == 3 + 7
    bias().masked_fill(bias._outside, 0.0).sum().backward()
    # Distances -1, 0, 1 of three windows of 2; -3 to 3 of one of 4 and of the 2 left over.
    assert bias.table.grad.tolist() == [3, 6, 3, 1, 2, 4, 6, 4, 2, 1]


# The whole model.


def test_loss_is_the_mean_over_hidden_patches_of_the_mean_over_their_values() -> None:
    model = built()
    features = windows(3, model.config)
    output = model(features, generator=torch.Generator().manual_seed(5))
    assert output.prediction.shape == output.target.shape == (3, 20, 64)
    assert output.mask.sum(dim=1).tolist() == [12, 12, 12]
    errors = [
        float(((output.prediction[n, t] - output.target[n, t]) ** 2).mean().detach())
        for n in range(3)
        for t in range(20)
        if output.mask[n, t]
    ]
    assert output.loss.item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    scaled = built(loss_scale="channels")(features, generator=torch.Generator().manual_seed(5))
    assert scaled.loss.item() == pytest.approx(2 * output.loss.item(), rel=1e-6)


def test_target_is_the_normalised_window_over_all_channels() -> None:
    model = built()
    features = windows(2, model.config)
    features[:, 1] += 5.0  # a level difference between the channels has to survive
    normalised = model.normalise(features)
    for one, found in zip(features, normalised, strict=True):
        expected = (one - one.mean()) / (one.var(correction=0) + 1e-5).sqrt()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        assert float(found[1].mean() - found[0].mean()) > 1.0
    torch.testing.assert_close(model.unpatch(model(features).target), normalised, rtol=0, atol=0)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_hidden_values_change_no_prediction(backbone: str) -> None:
    model = built(backbone=backbone)
    noise = torch.rand(1, 20)
    one = model.normalise(windows(1, model.config))
    hidden = model(one, noise=noise).mask[0]
    tokens = patched(one, model.config.patch)
    # Exchanged among themselves, so that the normalisation of the window stays as it was.
    tokens[0, hidden] = tokens[0, hidden].flip(0)
    other = model.unpatch(tokens)
    torch.testing.assert_close(
        model(other, noise=noise).prediction, model(one, noise=noise).prediction, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("backbone", BACKBONES)
def test_order_in_a_batch_changes_nothing(backbone: str) -> None:
    model = built(backbone=backbone)
    features, noise = windows(3, model.config), torch.rand(3, 20)
    together = model(features, noise=noise).prediction
    alone = torch.cat(
        [model(features[n : n + 1], noise=noise[n : n + 1]).prediction for n in range(3)]
    )
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_embeddings_hold_the_patches_of_a_step_from_low_to_high(backbone: str) -> None:
    model = built(backbone=backbone)
    features = windows(2, model.config)
    found = model.encode(features)
    assert found.cls.shape == (2, 64)
    assert found.steps.shape == (2, 5, 4 * 64) == (2, 5, model.config.step_dim)
    tokens = patched(model.normalise(features), model.config.patch)
    order = [freq * 5 + time for time in range(5) for freq in range(4)]
    encoded = model._encode(tokens[:, order], torch.tensor(order).expand(2, -1))
    torch.testing.assert_close(found.cls, encoded[:, 0], rtol=0, atol=0)
    for time in range(5):
        for freq in range(4):
            part = found.steps[:, time, freq * 64 : (freq + 1) * 64]
            torch.testing.assert_close(part, encoded[:, 1 + time * 4 + freq], rtol=0, atol=0)


def test_an_encoder_of_attention_sees_a_set_and_positions() -> None:
    model = built()
    tokens = torch.randn(1, 8, 64)
    places = torch.tensor([[3, 19, 0, 7, 11, 4, 18, 9]])
    shuffled = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    one, other = (
        model._encode(tokens, places),
        model._encode(tokens[:, shuffled], places[:, shuffled]),
    )
    torch.testing.assert_close(other[:, 1:], one[:, 1:][:, shuffled], rtol=0, atol=1e-5)


@pytest.mark.parametrize("objective", ["mae", "joint"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_batch_is_learned_by_heart(backbone: str, objective: str) -> None:
    model = built(backbone=backbone, objective=objective)
    draw = torch.Generator().manual_seed(3)
    features = torch.randn(4, 2, 4, 5, generator=draw)
    features = features.repeat_interleave(8, dim=2).repeat_interleave(4, dim=3)
    noise = torch.rand(4, 20, generator=draw)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    losses: list[float] = []
    while len(losses) < 250 and (not losses or losses[-1] > losses[0] / 10):
        output = model(features, noise=noise)
        optimiser.zero_grad(set_to_none=True)
        output.loss.backward()
        optimiser.step()
        losses.append(output.parts["mse"].item())
    assert losses[-1] <= losses[0] / 10


@pytest.mark.parametrize("objective", ["mae", "joint"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_everything_that_is_trained_gets_a_gradient(backbone: str, objective: str) -> None:
    model = built(backbone=backbone, objective=objective)
    model(windows(2, model.config)).loss.backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []
    assert "mask_token" in dict(model.named_parameters())


def test_a_frozen_mask_token_stays_as_drawn() -> None:
    model = built(learn_mask_token=False)
    model(windows(2, model.config)).loss.backward()
    assert model.mask_token.grad is None
    assert "mask_token" in model.state_dict()
    assert model.mask_token.std() > 0.01


def test_the_same_noise_gives_the_same_bytes() -> None:
    model = built()
    features, noise = windows(2, model.config), torch.rand(2, 20)
    one, other = model(features, noise=noise), model(features, noise=noise)
    assert torch.equal(one.prediction, other.prediction)
    assert torch.equal(one.loss, other.loss)
    drawn = [model(features, generator=torch.Generator().manual_seed(s)).mask for s in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_seed_decides_the_first_weights() -> None:
    one, same, other = built(seed=1), built(seed=1), built(seed=2)
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    assert not torch.equal(one.embed.weight, other.embed.weight)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_load_strictly_and_alone(backbone: str) -> None:
    model, other = built(seed=1, backbone=backbone), built(seed=2, backbone=backbone)
    weights = model.state_dict()
    assert set(weights) == {name for name, _ in model.named_parameters()}
    other.load_state_dict(weights)
    features = windows(1, model.config)
    assert torch.equal(other.encode(features).steps, model.encode(features).steps)
    del weights["cls"]
    with pytest.raises(RuntimeError, match=r"Missing key.*cls"):
        other.load_state_dict(weights)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_normalisation_and_loss_are_float32_under_autocast(backbone: str) -> None:
    model = built(backbone=backbone, objective="joint")
    features, noise = windows(2, model.config), torch.rand(2, 20)
    expected = model(features, noise=noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(features, noise=noise)
        embedded = model.encode(features)
    assert found.prediction.dtype == torch.bfloat16
    assert torch.equal(found.target, expected.target)
    assert {part.dtype for part in found.parts.values()} == {torch.float32}
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=0.02)
    assert embedded.steps.dtype == torch.float32
    found.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


# Objectives.


def test_info_nce_is_its_formula() -> None:
    codes, target = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    total = 0.0
    for n in range(2):
        for i in range(6):
            scores = [math.exp(float(codes[n, i] @ target[n, j])) for j in range(6)]
            total -= math.log(scores[i] / sum(scores)) / 12
    assert info_nce(codes, target).item() == pytest.approx(total, rel=1e-5)


def test_codes_that_know_their_patch_have_a_small_loss() -> None:
    target = torch.randn(3, 5, 16)
    assert info_nce(20 * target, target).item() < 1e-3
    assert info_nce(torch.zeros_like(target), target).item() == pytest.approx(math.log(5))


def test_joint_loss_weighs_its_parts() -> None:
    model = built(objective="joint", generative_weight=3.0)
    output = model(windows(2, model.config))
    expected = output.parts["info_nce"] + 3.0 * output.parts["mse"]
    assert output.loss.item() == pytest.approx(expected.item())
    assert set(built()(windows(1, model.config)).parts) == {"mse"}


def test_direction_loss_is_the_angle_weighed_with_length() -> None:
    target = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).mT
    for prediction, expected in (
        ([[1.0, 0.0, 0.0], [0.0, 9.0, 0.0]], 0.0),
        ([[0.0, 1.0, 0.0], [0.0, 9.0, 0.0]], 3 / 4),
        ([[1.0, 0.0, 0.0], [0.0, -9.0, 0.0]], 2 / 4),
    ):
        found = direction(torch.tensor(prediction).mT, target).item()
        assert found == pytest.approx(expected, abs=1e-5)


def test_direction_loss_is_taken_between_vectors_as_they_were_before_normalisation() -> None:
    model = built(channels=5, direction_channels=(2, 4, 3), direction_weight=0.5)
    features = windows(2, model.config)
    features[:, 2:] = features[:, 2:] / 40 + 0.3  # vectors are short beside levels
    output = model(features)
    std = (features.var(dim=(1, 2, 3), correction=0) + 1e-5).sqrt()
    mean = features.mean(dim=(1, 2, 3))
    predicted = (
        model.unpatch(output.prediction) * std[:, None, None, None] + mean[:, None, None, None]
    )
    places = model.unpatch(output.mask[..., None].expand_as(output.target).float())[:, 0] > 0
    total = weight = 0.0
    for n, mel, frame in places.nonzero().tolist():
        p, v = (x[n, [2, 4, 3], mel, frame].detach() for x in (predicted, features))
        total += float(v.norm() - p @ v / p.norm())
        weight += float(v.norm())
    assert output.parts["direction"].item() == pytest.approx(total / weight, rel=1e-3)
    expected = output.parts["mse"] + 0.5 * output.parts["direction"]
    assert output.loss.item() == pytest.approx(expected.item())


def test_reconstruction_is_computed_in_float32() -> None:
    prediction = torch.full((1, 2, 3), 1.0, dtype=torch.bfloat16)
    assert reconstruction(prediction, torch.full((1, 2, 3), 1.001)).item() == pytest.approx(
        1e-6, rel=0.01
    )


# Size and cost.


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_compiles_as_one_graph(backbone: str) -> None:
    model = built(backbone=backbone, objective="joint")
    features, noise = windows(2, model.config), torch.rand(2, 20)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(features, noise=noise).loss, model(features, noise=noise).loss)


def test_base_has_the_size_and_cost_of_gram() -> None:
    config = sized("base", channels=2)
    assert config.n_tokens == 200
    assert config.n_hidden == 160
    assert config.step_dim == 6144
    assert n_parameters(config) / 1e6 == pytest.approx(111.0, abs=0.5)
    cost = flops(config)
    assert cost.forward / 1e9 == pytest.approx(17.5, rel=0.03)
    assert cost.training / cost.forward == pytest.approx(3.0, abs=0.05)


def test_a_smaller_decoder_and_mask_change_the_cost_as_computed_by_hand() -> None:
    config = small_window()
    encoder, decoder = config.encoder.dim, config.decoder.dim
    seen, tokens, values = 8, 20, 64

    def block(n: int, dim: int) -> int:
        return 2 * n * 12 * dim * dim + 4 * n * n * dim

    by_hand = (
        2 * seen * values * encoder
        + 2 * block(1 + seen, encoder)
        + 2 * seen * encoder * decoder
        + block(tokens, decoder)
        + 2 * tokens * decoder * values
    )
    assert flops(config).forward == by_hand


def test_time_patches_are_half_as_many() -> None:
    config = sized("base", channels=7, patch=(128, 2))
    assert (config.grid, config.n_tokens, config.n_hidden) == ((1, 100), 100, 80)
    assert config.n_values == 7 * 128 * 2


# Records.


@pytest.mark.parametrize("size", sorted(SIZES))
@pytest.mark.parametrize("backbone", BACKBONES)
def test_records_round_trip(size: str, backbone: str) -> None:
    config = sized(size, channels=7, backbone=backbone, objective="joint")
    assert from_json(MaeConfig, to_json(config)) == config


def test_fields_of_a_size_can_be_set() -> None:
    config = sized("small", channels=2, decoder={"depth": 3})
    assert config.decoder == replace(SIZES["small"].decoder, depth=3)
    assert config.encoder == SIZES["small"].encoder
    assert sized("small", channels=2, encoder=SIZES["tiny"].encoder).encoder.dim == 64
    assert sized("small", channels=2, backbone="mamba").encoder.heads == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_ratio": 0.99}, r"mask_ratio = 0.99 hides 20 of 20 tokens; .*leave at least 1"),
        ({"mask_ratio": 0.01}, r"hides 0 of 20 tokens; must hide at least 1"),
        ({"mask_ratio": 0.05, "objective": "joint"}, r"hides 1 of 20 .*at least 2"),
        ({"frames": 21}, r"frames = 21 is no multiple of patch\[1\] = 4; the nearest is 20"),
        ({"mels": 30}, r"mels = 30 is no multiple of patch\[0\] = 8; the nearest is 32"),
        ({"patch": (0, 4)}, r"patch\[0\] = 0; must be at least 1"),
        ({"channels": 0}, r"channels = 0; must be at least 1"),
        ({"encoder": {"dim": 64, "depth": 2, "heads": 5}}, r"encoder.dim = 64 .*encoder.heads = 5"),
        (
            {"backbone": "mamba", "encoder": {"heads": 7}},
            r"encoder.dim = 64 times ssd.expand .*encoder.heads = 7",
        ),
        ({"encoder": {"dim": 6, "depth": 2, "heads": 2}}, r"encoder.dim = 6; .*multiple of 4"),
        ({"encoder": {"dim": 64, "depth": 0, "heads": 4}}, r"encoder: .*must be at least 1"),
        (
            {"decoder": {"dim": 32, "depth": 1, "heads": 4, "windows": [5, 0]}},
            r"decoder.windows has 2 numbers; .*decoder.heads = 4",
        ),
        (
            {"decoder": {"dim": 32, "depth": 1, "heads": 2, "windows": [5, -1]}},
            r"decoder.windows has -1; must be 0 \(all\) or more",
        ),
        ({"objective": "joined"}, r"objective: got 'joined', .*did you mean 'joint'"),
        ({"backbone": "mambda"}, r"backbone: got 'mambda', .*did you mean 'mamba'"),
        ({"mask_ration": 0.5}, r"mask_ration: unknown key .*did you mean 'mask_ratio'"),
        ({"mlp_ratio": 0}, r"mlp_ratio = 0.0; must be above 0"),
        ({"generative_weight": -1}, r"generative_weight = -1.0; must be 0 or more"),
        ({"direction_channels": [0, 1, 2]}, r"direction_channels = \[0, 1, 2\]; .*0 to 1"),
        ({"direction_weight": 1}, r"direction_channels has 0 numbers; must have 3"),
        ({"channels": 7, "direction_channels": [4, 5]}, r"direction_channels has 2 numbers"),
        ({"channels": 7, "direction_channels": [4, 5, 5]}, r"must be different ones of 0 to 6"),
        ({"ssd": {"chunk": 0}}, r"ssd: all numbers must be at least 1"),
    ],
)
def test_a_wrong_record_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_window(**changes)


def test_records_built_in_code_are_checked_as_well() -> None:
    plain = to_plain(small_window())
    config = from_plain(MaeConfig, plain)
    with pytest.raises(ConfigError, match=r"backbone = 'Vit'; .*did you mean 'vit'"):
        replace(config, backbone="Vit")


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"size = 'bass'; .*did you mean 'base'"):
        sized("bass", channels=2)


def test_wrong_features_or_noise_are_refused() -> None:
    model = built()
    features = windows(2, model.config)
    with pytest.raises(
        ValueError, match=r"\(2, 2, 32, 19\); must be \[batch, channels = 2, .*20\]"
    ):
        model(features[..., :19])
    with pytest.raises(ValueError, match=r"\(2, 1, 32, 20\); must be .*channels = 2"):
        model.encode(features[:, :1])
    with pytest.raises(ValueError, match=r"noise has shape \(2, 19\); .*\[2, 20\]"):
        model(features, noise=torch.rand(2, 19))
    with pytest.raises(ValueError, match="both noise and a generator"):
        model(features, noise=torch.rand(2, 20), generator=torch.Generator())
