"""`python -m scenesynth.cli`, for where the script is not on the path."""

from scenesynth.cli import main

main(prog_name="scenesynth")
