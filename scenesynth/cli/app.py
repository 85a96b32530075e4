"""What all commands share: errors in one line, options under headings, numbers for people."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from scenesynth.data import cache_root
from scenesynth.errors import (
    ConfigError,
    ContentError,
    CorruptShardError,
    StoreError,
    TrainingError,
)

DONE, FAILED, USAGE, DRAINED = 0, 1, 2, 75

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST}

F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """The top group: turns the library's errors into one clear line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an expected error ends it without a traceback."""
        _tell_whatever_it_is()
        try:
            return super().invoke(ctx)
        except (ConfigError, StoreError, ContentError, TrainingError, OSError) as error:
            if os.environ.get("SCENESYNTH_DEBUG") or _is_broken_pipe(error):
                raise
            click.echo(f"error: {_message(error)}", err=True)
            ctx.exit(exit_code(error))


def _tell_whatever_it_is() -> None:
    """Have names that the terminal cannot show told by their codes, not end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def exit_code(error: Exception) -> int:
    """2 where nothing was begun and the command has to change, else 1."""
    wrong = isinstance(error, ConfigError | StoreError) and not isinstance(error, CorruptShardError)
    return USAGE if wrong else FAILED


def _is_broken_pipe(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}{_cache_hint(error)}"
    return str(error)


def _cache_hint(error: OSError) -> str:
    """The way out where it is the cache that cannot be written; write() names no file."""
    cache = cache_root()
    if error.errno not in _UNWRITABLE or not (
        error.filename is None or Path(str(error.filename)).is_relative_to(cache)
    ):
        return ""
    return f" (caches are written to {cache}; make room there, or set SCENESYNTH_CACHE to a folder)"


class Sectioned(click.Command):
    """A command whose help lists options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each heading with its options, in the order of their first use."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                heading = getattr(parameter, "section", None) or "Other"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=34)


class _Option(click.Option):
    def __init__(self, *args: Any, section: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


def option(section: str, *names: str, **settings: Any) -> Callable[[F], F]:
    """A `click.option` under the heading `section`; its default is shown."""
    settings.setdefault("show_default", True)
    return click.option(*names, cls=_Option, section=section, **settings)


def pairs(given: Sequence[str]) -> list[tuple[str, str]]:
    """The (field, value) of each `--set a.b=v`.

    Raises:
        ConfigError: one without an equals sign or a field.
    """
    found = []
    for item in given:
        field, equals, value = item.partition("=")
        if not (field.strip() and equals):
            raise ConfigError(f"--set {item}: must be FIELD=VALUE, such as noise.snr_db=10")
        found.append((field.strip(), value))
    return found


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns of text; a row without a value is left out."""
    shown = [(name, value) for name, value in rows if value]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in shown)


def counted(counts: dict[str, int], limit: int = 8, unnamed: str = "not stated") -> str:
    """Names with their counts, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{name or unnamed} ({n})" for name, n in ordered[:limit])
    more = len(ordered) - limit
    return f"{text} and {more} more" if more > 0 else text


def plural(n: int, noun: str) -> str:
    """A number and its noun: 1 clip, 2 clips."""
    ending = "" if n == 1 else "es" if noun.endswith(("s", "sh", "ch")) else "s"
    return f"{n:,} {noun}{ending}"


def span(seconds: float) -> str:
    """A length of time: 0.8 s, 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def tell(text: str) -> None:
    """Say something that is not the result: on stderr, so that stdout can be piped."""
    click.echo(text, err=True)


def on_terminal() -> bool:
    """Whether a person watches stderr."""
    return sys.stderr.isatty()
