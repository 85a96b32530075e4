"""The loop of the quantisation: one pass through memory where NumPy takes four."""

from __future__ import annotations

import numpy as np

from scenesynth.jit import kernel


@kernel
def rounded(audio, gain, full_scale, stored):  # type: ignore[no-untyped-def]
    """stored = audio / gain * full_scale, in float32, to the nearest whole number (ties to even).

    Shapes: [channels, samples].
    """
    for c in range(audio.shape[0]):
        for k in range(audio.shape[1]):
            stored[c, k] = np.int16(np.rint(audio[c, k] / gain * full_scale))
