"""The options that say where the work of a command runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..engines.engine import Engine

_JOBS = click.option("--jobs", type=click.IntRange(min=1), help="Worker processes.  [default: one a core]")
_ENGINE = click.option(
    "--engine",
    type=click.Choice(["local", "dask", "ray"]),
    default="local",
    show_default=True,
    help="Where to work: this machine, or a running Dask or Ray cluster that sees the same folders.",
)
_ADDRESS = click.option(
    "--address",
    metavar="ADDRESS",
    help="Of the cluster: tcp://HOST:8786, HOST:6379.  [default: as Dask or Ray are configured]",
)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where the work of a command runs."""

    engine: str = "local"
    address: str | None = None
    jobs: int | None = None

    def start(self) -> AbstractContextManager[Engine]:
        """The engine, to be entered. Raises WrongUseError, EngineError."""
        from ..engines.choose import chosen_engine

        return chosen_engine(self.engine, address=self.address, jobs=self.jobs)

    def path(self, path: Path) -> Path:
        """A path as the workers understand it: those of a cluster have another current folder."""
        return path if self.engine == "local" else path.absolute()


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--jobs, --engine, --address: the command gets `workers` for them, and paths as those need them."""

    @wraps(command)
    def call(*, jobs: int | None, engine: str, address: str | None, **options: Any) -> Any:
        workers = Workers(engine=engine, address=address, jobs=jobs)
        return command(workers=workers, **{key: _whole(value, workers) for key, value in options.items()})

    return _JOBS(_ENGINE(_ADDRESS(call)))


def _whole(value: Any, workers: Workers) -> Any:
    if isinstance(value, tuple):
        return tuple(_whole(each, workers) for each in value)
    return workers.path(value) if isinstance(value, Path) else value
