"""Convolution, levels and mixing of many scenes at once, in torch.

What decides a length is a scene's own: its number of samples and its longest response, rounded up.
Transforms always take the same number of rows, and sums run over the events of a scene in their
order, so that a scene has the same samples whatever is rendered beside it.

Nothing here is imported before a device is asked for: torch is optional.
"""
