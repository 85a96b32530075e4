"""From waveforms to embeddings, window by window, without a mask.

The encoder takes windows of exactly `frames` frames. A longer waveform is cut into windows end to
end, the last one filled up with zeros; a length that divides exactly gives no extra window. Frame t
is centred on sample t * hop, so the frames of a waveform are those of its windows laid end to end,
and features are computed once, over all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from scenesynth.features.front_end import FrontEnd
from scenesynth.models.mae import MaskedAutoencoder

AT_ONCE: Final = 256
"""Windows that are encoded at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """What the encoder makes of waveforms.

    Attributes:
        steps: [batch, time steps, D], a time step being a column of patches; those of all windows
            end to end.
        summary: [batch, windows, dim], the summary token of each window.
    """

    steps: Tensor
    summary: Tensor


@torch.inference_mode()  # type: ignore[untyped-decorator]
def embed(front_end: FrontEnd, model: MaskedAutoencoder, waveform: Tensor) -> Embeddings:
    """Embeddings of waveforms [batch, channels, samples], of at least one sample."""
    frames = model.config.frames
    window = frames * front_end.config.hop
    n = -(-waveform.shape[-1] // window)
    features = front_end(pad(waveform, (0, n * window - waveform.shape[-1])))[..., : n * frames]
    windows = features.unflatten(-1, (n, frames)).movedim(-2, 1).flatten(0, 1)
    encoded = [model.encode(some) for some in windows.split(AT_ONCE)]
    shape = (len(waveform), n)
    return Embeddings(
        steps=torch.cat([part.steps for part in encoded]).unflatten(0, shape).flatten(1, 2),
        summary=torch.cat([part.cls for part in encoded]).unflatten(0, shape),
    )
