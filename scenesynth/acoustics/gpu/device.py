"""Which device is meant, and whether it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenesynth.errors import ConfigError

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda")


def torch_device(name: str) -> torch.device:
    """The torch device of that name: "cpu", "cuda" or "cuda:1".

    Raises:
        ConfigError: torch, triton or the device is missing; says how to get it.
    """
    kind = str(name).partition(":")[0]
    if kind not in DEVICES:
        raise ConfigError(f"device = {name!r}; must be {', '.join(DEVICES)} or cuda:N")
    try:
        import torch
    except ImportError:
        raise ConfigError(
            f"device = {name!r} needs torch; pip install 'scenesynth[gpu]', or use device='cpu'"
        ) from None
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            f"device = {name!r}: torch {torch.__version__} sees no CUDA device; it takes an NVIDIA "
            f"GPU with its driver and a CUDA build of torch (https://pytorch.org); or use "
            f"device='cpu'"
        )
    device = torch.device(name)
    if (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device = {name!r}; this machine has {torch.cuda.device_count()}")
    _check_triton(name)
    return device


def _check_triton(name: str) -> None:
    try:
        import triton  # noqa: F401
    except ImportError:
        raise ConfigError(
            f"device = {name!r} needs triton; pip install 'scenesynth[gpu]', or use device='cpu'"
        ) from None
