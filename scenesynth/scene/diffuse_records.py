"""What a recipe can say about diffuse noise: see `scenesynth.scene.recipe_records`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, get_args

from scenesynth.distributions import Name, Number, constant, within
from scenesynth.records import did_you_mean
from scenesynth.scene.spec import LEAST_DIFFUSE_CLIP_S, Colour

CLIP: Final = "clip"
SOUNDS: Final = (CLIP, *get_args(Colour))


def _doc(text: str) -> dict[str, Any]:
    return {"doc": text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diffuse:
    """Noise from all around, beside that of the noise emitters or instead of it."""

    share: float = field(
        default=1.0, metadata=_doc("share of the scenes with noise that have diffuse noise")
    )
    alone_share: float = field(
        default=0.0, metadata=_doc("share of those that have no noise emitters then")
    )
    sound: Name = field(
        default=Name((CLIP,)),
        metadata=_doc(
            "clip: of the corpus; or noise of a colour: white, pink (-3 dB per octave), brown (-6)"
        ),
    )
    corpus: str = field(default="noise", metadata=_doc("name of the corpus"))
    labels: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            f"only clips with one of these labels; empty: all. Clips shorter than "
            f"{LEAST_DIFFUSE_CLIP_S:g} s are left out"
        ),
    )
    ratio_db: Number | None = field(
        default=constant(0),
        metadata=_doc(
            "diffuse noise over the wet noise of all emitters, in the pressure; null: both at "
            "level_dbfs. snr_db holds for all noise together"
        ),
    )

    def __post_init__(self) -> None:
        for name in ("share", "alone_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}; must lie in [0, 1]")
        within("ratio_db", self.ratio_db, -200, 200)
        for name in self.sound.options:
            if name not in SOUNDS:
                raise ValueError(
                    f"sound = {name!r}{did_you_mean(name, SOUNDS)}; must be one of "
                    f"{', '.join(SOUNDS)}"
                )
