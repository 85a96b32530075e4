"""Ambisonic conventions of others, and what swaps of channels do to directions."""

from __future__ import annotations

import numpy as np
import pytest
from receiver_helpers import random_directions, units

from scenesynth.errors import ConfigError
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.conventions import (
    AMBISONIC_CONVENTIONS,
    Convention,
    ambisonic_order,
    from_acn_sn3d,
    to_acn_sn3d,
)


@pytest.mark.parametrize("convention", AMBISONIC_CONVENTIONS)
@pytest.mark.parametrize("n_channels", [1, 4, 9, 16, 64])
def test_there_and_back_is_nothing_done(convention: Convention, n_channels: int) -> None:
    if n_channels > {"fuma": 16, "wxyz-sn3d": 4}.get(convention, 64):
        with pytest.raises(ConfigError, match=f"{n_channels} channels are no Ambisonics in"):
            from_acn_sn3d(convention, n_channels)
        return
    there, back = from_acn_sn3d(convention, n_channels), to_acn_sn3d(convention, n_channels)
    np.testing.assert_allclose(back @ there, np.eye(n_channels), atol=1e-15)
    np.testing.assert_allclose(there @ back, np.eye(n_channels), atol=1e-15)


def test_channels_of_no_order_are_refused() -> None:
    assert (ambisonic_order(1), ambisonic_order(64), ambisonic_order(5)) == (0, 7, None)
    with pytest.raises(ConfigError, match=r"5 channels are no Ambisonics in fuma; it has 1, 4, 9"):
        from_acn_sn3d("fuma", 5)


def test_fuma_channels_have_their_maxima_at_one() -> None:
    """maxN: over all directions each channel peaks at 1, and W at 1 / sqrt 2."""
    directions = np.concatenate([random_directions(40000), np.eye(3), -np.eye(3)])
    fuma = spherical_harmonics(directions, 3) @ from_acn_sn3d("fuma", 16).T
    np.testing.assert_allclose(np.abs(fuma).max(axis=0), [np.sqrt(0.5), *np.ones(15)], atol=1e-3)


def test_fuma_channels_come_in_their_order() -> None:
    x, y, z = random_directions(20).T
    fuma = from_acn_sn3d("fuma", 9) @ spherical_harmonics(np.stack([x, y, z], axis=1), 2).T
    r, s, t, u, v = (3 * z * z - 1) / 2, 2 * x * z, 2 * y * z, x * x - y * y, 2 * x * y
    want = [np.full(20, np.sqrt(0.5)), x, y, z, r, s, t, u, v]
    np.testing.assert_allclose(fuma, want, atol=1e-12)


def test_n3d_has_unit_power_in_every_channel() -> None:
    directions = random_directions(40000)
    n3d = spherical_harmonics(directions, 3) @ from_acn_sn3d("acn-n3d", 16).T
    np.testing.assert_allclose(np.mean(n3d**2, axis=0), 1, atol=0.05)


def test_soundspaces_front_is_one_and_the_root_of_three() -> None:
    front = from_acn_sn3d("acn-n3d", 4) @ [1, 0, 0, 1]
    np.testing.assert_allclose(front, [1, 0, 0, np.sqrt(3)])


# A source at azimuth phi goes to sign * phi + turn where new Y and X are these multiples of old Y
# and X: the channel swaps of Mazzon et al. (2019) and Wang et al. (2021).
SWAPS = [
    (1, 0, (1, 0), (0, 1)),
    (1, 90, (0, 1), (-1, 0)),
    (1, -90, (0, -1), (1, 0)),
    (1, 180, (-1, 0), (0, -1)),
    (-1, 0, (-1, 0), (0, 1)),
    (-1, 90, (0, 1), (1, 0)),
    (-1, -90, (0, -1), (-1, 0)),
    (-1, 180, (1, 0), (0, -1)),
]


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize(("sign", "turn", "new_y", "new_x"), SWAPS)
def test_channel_swaps_move_a_plane_wave(
    sign: int, turn: int, new_y: tuple[int, int], new_x: tuple[int, int], flip: int
) -> None:
    azimuth, elevation = np.random.default_rng(0).uniform((-180, -90), (180, 90), (30, 2)).T
    w, y, z, x = spherical_harmonics(units(np.stack([azimuth, elevation], axis=1)), 1).T
    moved = units(np.stack([sign * azimuth + turn, flip * elevation], axis=1))
    swapped = [w, new_y[0] * y + new_y[1] * x, flip * z, new_x[0] * y + new_x[1] * x]
    np.testing.assert_allclose(spherical_harmonics(moved, 1).T, swapped, atol=1e-12)
