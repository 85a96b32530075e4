"""Which part of the package may import which: the arrows only point down."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import scenesynth

PACKAGE = Path(scenesynth.__file__).parent
FLOORS = [
    {
        *("errors", "data", "jit", "records", "yaml_files"),
        *("seeds", "timing", "distributions", "fourier", "sofa", "plots"),
    },
    {"room", "spatial", "corpus", "store", "features", "models"},
    {"scene"},
    {"acoustics"},
    {"render"},
    {"pipeline"},
    {"localization"},
    {"evaluate", "preview", "audit"},
    {"train"},
    {"cli"},
]
LEVEL = {part: level for level, parts in enumerate(FLOORS) for part in parts}
LEVEL["__version__"] = -1  # of the package itself; comes from its metadata
HEAVY = {"numpy", "scipy", "numba", "ray", "zarr", "matplotlib", "pyarrow", "soundfile", "torch"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(source: str) -> Iterator[tuple[int, str]]:
    """Line and first sub-package of each import of scenesynth, type-checking ones included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == "scenesynth":
                yield node.lineno, rest.partition(".")[0]


def points_down(part: str, target: str) -> bool:
    """True too between the modules of the ground floor, which know each other."""
    return LEVEL[target] < LEVEL[part] or LEVEL[target] == LEVEL[part] == 0


def broken_arrows(part: str, source: str) -> list[str]:
    """Imports of `source`, a module of `part`, that do not point down."""
    return [
        f"line {line}: {part} imports {target}"
        for line, target in imported_parts(source)
        if target != part and not points_down(part, target)
    ]


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    assert part in LEVEL, f"{part} has no floor"
    assert broken_arrows(part, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("store", "from scenesynth.acoustics.response import shoebox_response"),
        ("store", "from scenesynth import acoustics"),
        ("room", "import scenesynth.corpus.clips"),
        ("preview", "def f():\n    from scenesynth.cli import main"),
        ("seeds", "from scenesynth.room.model import Room"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(part: str, source: str) -> None:
    assert len(broken_arrows(part, source)) == 1


def modules_after(statement: str) -> set[str]:
    """Top-level names in `sys.modules` of a fresh interpreter after `statement`."""
    told = told_by(f"{statement}\nimport sys\nprint(*sys.modules)")
    return {name.partition(".")[0] for name in told.splitlines()[-1].split()}


def told_by(program: str) -> str:
    """What a program prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import scenesynth",
        "import scenesynth.cli",
        "from scenesynth.cli import main\nmain(['--help'], standalone_mode=False)",
        "from scenesynth.cli import main\nmain(['render', '--help'], standalone_mode=False)",
        "from scenesynth.cli import main\nmain(['train', '--help'], standalone_mode=False)",
    ],
)
def test_help_needs_no_heavy_package(statement: str) -> None:
    assert modules_after(statement) & HEAVY == set()


def test_reading_a_dataset_needs_no_torch() -> None:
    statement = "import scenesynth\nscenesynth.open_dataset, scenesynth.stream, scenesynth.frames"
    assert "torch" not in modules_after(statement)


def test_a_stream_without_torch_says_how_to_install_it() -> None:
    program = "import sys\nsys.modules['torch'] = None\nimport scenesynth\n"
    program += (
        "try:\n    scenesynth.stream('nowhere')\nexcept ValueError as error:\n    print(error)"
    )
    assert "pip install 'scenesynth[torch]'" in told_by(program)


def test_every_public_name_resolves() -> None:
    assert set(scenesynth.__all__) <= set(dir(scenesynth))
    for name in scenesynth.__all__:
        assert getattr(scenesynth, name) is not None


def test_every_public_name_is_declared_for_type_checkers() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        f"{node.module}.{alias.name}"
        for node in guard.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == {f"scenesynth.{home}.{name}" for name, home in scenesynth._HOMES.items()}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'render_scenes'"):
        scenesynth.render_scenes  # noqa: B018
