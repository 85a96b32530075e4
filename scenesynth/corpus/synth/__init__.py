"""Procedural sounds of the built-in corpus: physical and signal models in NumPy and SciPy.

A sound is a function `(group, take) -> samples [n]` of two random streams at `tools.SAMPLE_RATE`:
`group` draws what makes the thing (this voice, this door, this bell), `take` how it sounds this
time. So the takes of a group are as alike as recordings of one thing, and groups differ.
"""
