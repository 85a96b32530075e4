"""An exported encoder as a HEAR module (hearbenchmark.com/hear-api).

    model = load_model("encoder.safetensors")
    scene = get_scene_embeddings(audio, model)                        # [n, D]
    steps, times_ms = get_timestamp_embeddings(audio, model)          # [n, T, D], [n, T]

Audio is float32 in [-1, 1] at `model.sample_rate`: [n, samples], or [n, channels, samples] with the
channels of the encoder's format (two ears: left, right; Ambisonics: W, Y, Z, X, ACN and SN3D).

- Audio of one channel for an encoder of two ears is given to both: a source in the median plane.
- Audio of one channel for an encoder of Ambisonics becomes W, and the others are silent: sound
  without a direction.

The encoder sees windows of a fixed length, end to end, the last one filled up with zeros; a length
that divides exactly gives no extra window. A time stamp is the centre of its column of patches. Of
the last window only columns whose centre lies within the sound are kept, and a scene's embedding is
the mean of the columns that are kept. A sound that is shorter than half a column has one all the
same, its time stamp being the end of the sound.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from scenesynth.evaluate.embedding import embed
from scenesynth.evaluate.encoder import Encoder, load_encoder

WINDOWS_AT_ONCE: Final = 64


class HearModel(nn.Module):  # type: ignore[misc]
    """An encoder with the attributes that HEAR asks for.

    Attributes:
        sample_rate: of the audio it takes, in hertz.
        channel_names: of the audio it takes.
        scene_embedding_size, timestamp_embedding_size: numbers of an embedding.
        step_s: time from one time stamp to the next.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.front_end = encoder.front_end
        self.encoder = encoder.model
        self.origin = encoder.origin
        features, config = encoder.front_end.config, encoder.model.config
        self.sample_rate: int = features.sample_rate
        self.channel_names: tuple[str, ...] = features.channel_order
        self.scene_embedding_size: int = config.step_dim
        self.timestamp_embedding_size: int = config.step_dim
        self.step_s: float = config.patch[1] * features.hop / features.sample_rate

    def channels_of(self, audio: Tensor) -> Tensor:
        """Audio with the channels of the encoder. Shape: [n, channels, samples].

        Raises:
            TypeError: no tensor of floating-point numbers.
            ValueError: another shape or number of channels, no samples, or some not finite.
        """
        if not isinstance(audio, Tensor) or not audio.is_floating_point():
            kind = audio.dtype if isinstance(audio, Tensor) else type(audio).__name__
            raise TypeError(
                f"audio is {kind}; must be a tensor of floating-point numbers in [-1, 1], such as "
                f"torch.from_numpy(pcm / 32768)"
            )
        names = self.channel_names
        if audio.ndim not in (2, 3) or audio.shape[-1] == 0:
            raise ValueError(
                f"audio has shape {list(audio.shape)}; must be [n, samples] or [n, channels = "
                f"{len(names)}, samples] with at least one sample"
            )
        fine = audio.isfinite().flatten(1).all(dim=1)
        if not fine.all():
            raise ValueError(f"audio[{int(fine.int().argmin())}] holds samples that are not finite")
        if audio.ndim == 2 or audio.shape[1] == 1:
            mono = (audio if audio.ndim == 3 else audio[:, None]).float()
            if len(names) <= 2:
                return mono.expand(-1, len(names), -1)
            only = torch.tensor([float(name == "W") for name in names], device=audio.device)
            return mono * only[:, None]
        if audio.shape[1] != len(names):
            raise ValueError(
                f"audio has {audio.shape[1]} channels; this encoder takes {len(names)} "
                f"({', '.join(names)}), or one"
            )
        return audio.float()

    def forward(self, audio: Tensor) -> Tensor:
        """Embeddings of every time step of sounds. Shapes: [n, channels, samples] -> [n, T, D]."""
        audio = audio.to(next(self.parameters()).device)
        n_steps = len(self.times_s(audio.shape[-1]))
        window = self.encoder.config.frames * self.front_end.config.hop
        at_once = max(1, WINDOWS_AT_ONCE * window // audio.shape[-1])
        parts = [
            embed(self.front_end, self.encoder, some).steps[:, :n_steps]
            for some in audio.split(at_once)
            if len(some)
        ]
        return torch.cat(parts) if parts else audio.new_zeros(0, n_steps, self.scene_embedding_size)

    def times_s(self, n_samples: int) -> Tensor:
        """Time stamps of a sound of so many samples. Shape: [T], float64, T >= 1."""
        end_s = n_samples / self.sample_rate
        patch = self.encoder.config.patch[1]
        first_s = (patch - 1) / 2 * self.front_end.config.hop / self.sample_rate
        count = max(1, int((end_s - first_s) / self.step_s + 1e-9) + 1 if end_s >= first_s else 1)
        times = first_s + self.step_s * torch.arange(count, dtype=torch.float64)
        return times.clamp(max=end_s)


def load_model(model_file_path: str = "") -> HearModel:
    """The encoder of a file that `scenesynth export` wrote.

    Raises:
        FileNotFoundError, ConfigError: see `scenesynth.evaluate.encoder.load_encoder`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = HearModel(load_encoder(Path(model_file_path)))
    model.to(device)
    return model


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embeddings over time, and their times in milliseconds.

    Shapes: [n, samples] or [n, channels, samples] -> float32 [n, T, D] and [n, T].
    """
    found = model(model.channels_of(audio)).float()
    times_ms = 1000.0 * model.times_s(audio.shape[-1]).to(found.device, torch.float32)
    return found, times_ms.expand(len(found), -1)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """One embedding per sound: the mean over time.

    Shapes: [n, samples] or [n, channels, samples] -> float32 [n, D].
    """
    return get_timestamp_embeddings(audio, model)[0].mean(dim=1)
