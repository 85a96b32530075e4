"""A guard against numbers that are not finite, which costs no wait for the device.

Losses and gradient norms stay on the device until somebody looks, at the latest before a
checkpoint is written: weights that are not finite are never saved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from scenesynth.errors import TrainingError
from scenesynth.store.local import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What is kept of a step until it is looked at.

    Attributes:
        step: number of the step, from 0.
        ids: scenes of this process's share.
        losses: of each pass [passes].
        finite: whether the features of each clip are finite [clips].
        norm: of the gradient, before it was clipped.
        rate: learning rate.
    """

    step: int
    ids: tuple[str, ...]
    losses: torch.Tensor
    finite: torch.Tensor
    norm: torch.Tensor
    rate: float


@dataclass
class Guard:
    """Steps since the last look.

    Attributes:
        run: folder in which a failure is described.
        rank: number of this process.
    """

    run: Path
    rank: int
    _steps: list[Noted] = field(default_factory=list)

    def note(self, step: Noted) -> None:
        """Keep a step."""
        self._steps.append(step)

    def look(self) -> list[tuple[float, float]]:
        """Loss and gradient norm of each step since the last look.

        Raises:
            TrainingError: one of them is not finite; names the step and its scenes.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return []
        losses = torch.stack([step.losses for step in steps]).double().cpu()
        norms = torch.stack([step.norm for step in steps]).double().cpu().tolist()
        means = losses.mean(dim=1).tolist()
        for step, passes, mean, norm in zip(steps, losses, means, norms, strict=True):
            if not (math.isfinite(mean) and math.isfinite(norm)):
                raise TrainingError(self._describe(step, passes.tolist(), norm))
        return list(zip(means, norms, strict=True))

    def _describe(self, step: Noted, losses: Sequence[float], norm: float) -> str:
        """Write down what is known, and say it in one line."""
        bad = [name for name, fine in zip(step.ids, step.finite.tolist(), strict=True) if not fine]
        clips = len(step.ids) // len(losses)
        suspects = bad or [
            name
            for n, loss in enumerate(losses)
            if not math.isfinite(loss)
            for name in step.ids[n * clips : (n + 1) * clips]
        ]
        path = self.run / f"not-finite-step-{step.step}-process-{self.rank}.json"
        content = {
            "step": step.step,
            "learning_rate": step.rate,
            "losses": [str(loss) for loss in losses],
            "gradient_norm": str(norm),
            "scenes_with_features_that_are_not_finite": bad,
            "scenes": list(step.ids),
        }
        replace(path, (json.dumps(content, indent=1) + "\n").encode())
        shown = ", ".join((suspects or step.ids)[:8])
        where = "features" if bad else "loss" if suspects else "gradient"
        more = max(len(suspects or step.ids) - 8, 0)
        return (
            f"step {step.step}: the {where} is not finite (loss {losses}, gradient norm {norm}, "
            f"learning rate {step.rate:.3g}); scenes {shown}{f' and {more} more' if more else ''}; "
            f"all of them in {path}. Lower --set optimiser.lr or lengthen optimiser.warmup_steps; "
            f"leave out bad scenes with `scenesynth exclude`; --resume auto goes on from the last "
            f"checkpoint, which is from before"
        )
