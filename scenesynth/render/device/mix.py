"""Events of many scenes to the wet events, the sums of each role, and the mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from scenesynth.render.device.convolve import (
    Blocks,
    Played,
    event_spectra,
    indices,
    response_spectra,
    signals,
    sums,
)
from scenesynth.scene.spec import ROLES, Role

Part = tuple[int, Role]
"""A role of a scene, which is named by its place in the batch."""


class Parts(NamedTuple):
    """What the device holds of some scenes before they are mixed.

    Attributes:
        wet: pressure of each event at the listener, with what outlasts the scene.
            Shape: [events, samples].
        names: the part that each row of `roles` is.
        roles: sum of the events of each part, within the scene. Shape: [parts, channels, samples].
    """

    wet: torch.Tensor
    names: list[Part]
    roles: torch.Tensor


def convolve_parts(
    blocks: Blocks,
    played: Sequence[Played],
    flat: torch.Tensor,
    responses: Sequence[torch.Tensor],
    response_of: Sequence[int],
    members: Mapping[Part, Sequence[int]],
) -> Parts:
    """Every event through its response, alone and summed with those of its role.

    Args:
        flat: the events' dry signals on the device.
        responses: each of shape [channels, samples].
        response_of: the response of each event.
        members: events of each part.
    """
    events = event_spectra(blocks, played, flat)
    through = response_spectra(blocks, responses)
    pressure = events * through[indices(response_of, flat.device), 0, None]
    wet = signals(blocks, pressure, blocks.n_blocks)
    groups = list(members.values())
    roles = [
        signals(blocks, sums(events, through, response_of, groups, c), blocks.n_scene_blocks)
        for c in range(through.shape[1])
    ]
    return Parts(wet, list(members), torch.stack([r[:, : blocks.n_samples] for r in roles], 1))


def mix_parts(parts: Parts, gains: Mapping[Part, float], n_scenes: int) -> torch.Tensor:
    """Sum of the parts of each scene at their gains, role by role.

    Returns:
        Shape: [n_scenes, channels, samples].
    """
    mixture = parts.roles.new_zeros((n_scenes, *parts.roles.shape[1:]))
    for role in ROLES:
        rows = [n for n, part in enumerate(parts.names) if part[1] == role]
        if not rows:
            continue
        scenes = indices([parts.names[row][0] for row in rows], mixture.device)
        gain = torch.tensor([gains[parts.names[row]] for row in rows], dtype=torch.float32)
        scaled = parts.roles[indices(rows, mixture.device)] * gain.to(mixture.device)[:, None, None]
        mixture[scenes] += scaled
    return mixture
