"""The trainer: masked autoencoders on the scenes of datasets, one loop that reads top to bottom.

`scenesynth.train.loop.train(config)` is a plain function: it reads the environment that torchrun
(or Ray Train) sets, and needs nothing else.
"""
