"""The learning rate as a function of the step."""

from __future__ import annotations

import math


def learning_rate(
    step: int, *, peak: float, warmup_steps: int, steps: int, final: float = 0.0
) -> float:
    """Learning rate of step `step`, counted from 0: a linear rise, then half a cosine.

        peak * (step + 1) / warmup_steps                                 step < warmup_steps
        final + (peak - final) (1 + cos(pi p)) / 2                      from then on,
                                          p = (step - warmup_steps) / (steps - warmup_steps)

    >>> [learning_rate(n, peak=1.0, warmup_steps=2, steps=6) for n in (0, 1, 2, 4, 6)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return final + (peak - final) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
