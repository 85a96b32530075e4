"""Responses of many different rooms at once, in torch and Triton.

The algorithm, its tables and its lengths are those of the CPU (`scenesynth.acoustics.spread_cpu`).
What differs is the order of the work: responses of like length are rendered in chunks of a fixed
number, so that every transform has the same shape whatever else is rendered beside it.

`requests` of unequal rooms -> groups of like length (`batch`) -> axis tables made on the device
(`tables`) -> images added to time grids in whole numbers (`spread`, `kernels`) -> transforms,
bands, noise tail and high-pass (`spectra`, `late`).

Nothing here is imported before a device is asked for: torch and triton are optional.
"""
