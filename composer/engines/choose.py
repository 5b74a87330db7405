"""The engine that a user names. What it needs is imported only then: a machine of its own needs neither."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

from ...errors import WrongUseError
from .cluster import Cluster
from .engine import Engine, EngineError, core_count
from .local import LocalProcesses

ENGINES = ("local", "dask", "ray")


def chosen_engine(
    name: str, *, address: str | None = None, jobs: int | None = None
) -> AbstractContextManager[Engine]:
    """An engine of ENGINES, to be entered before it is used.

    address: of the cluster; None for what Dask or Ray find by themselves. jobs: worker processes of `local`,
    None for one a core. Raises WrongUseError for an option of another engine; EngineError, also on entering,
    where the package or the cluster is missing.
    """
    if name == "local":
        if address is not None:
            raise WrongUseError("--address is that of a cluster: say which by --engine dask or --engine ray")
        return nullcontext(LocalProcesses(workers=jobs or core_count()))
    if jobs is not None:
        raise WrongUseError(f"--jobs is for --engine local: with {name} the cluster has as many as it has")
    package = {"dask": "distributed", "ray": "ray"}[name]
    if find_spec(package) is None:
        raise EngineError(f"--engine {name} needs a package that is missing: pip install 'dimtool[{name}]'")
    if name == "dask":
        from .dask import DaskCluster  # noqa: PLC0415

        return DaskCluster(address=address)
    from .ray import RayCluster  # noqa: PLC0415

    return RayCluster(address=address)


def places(engine: Engine) -> int:
    """How many jobs an engine runs at a time."""
    if isinstance(engine, Cluster):
        return engine.slots()
    return engine.workers if isinstance(engine, LocalProcesses) else 1
