"""One piece of work for many models, here or on many machines: ``fan_out``.

A piece is a function of its task alone, and a task carries all that it needs (bars, bundles and parameters by value,
never a path), so that results are the same in this process, on local worker processes and on a cluster elsewhere.
A worker that dies takes nothing along: Dask runs its tasks again on another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final, Protocol, TypeVar

from threadpoolctl import threadpool_limits

from oracle_batch.errors import OracleBatchError, UsageError

Task = TypeVar("Task")
Answer = TypeVar("Answer")

CONNECT_TIMEOUT_S: Final = 20
LOOPBACK: Final = "127.0.0.1:0"
DEATHS: Final = 3
"""Workers that one task may lose before it is given up as the likely cause."""
SCHEMES: Final = ("tcp://", "tls://")
ONE_THREAD: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SETTINGS: Final = {
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.worker.profile.enabled": False,  # it stops a worker's only thread a hundred times a second
    "distributed.admin.tick.interval": "1s",  # fifty looks a second at whether a loop is stuck cost 4 % of a core each
    # Dask's own also makes workers give memory back at each large array's end, and ask for it anew at the next.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(ONE_THREAD, 1),
}

_log = logging.getLogger(__name__)


class ProgressBar(Protocol):
    """Something that shows how far a loop has come."""

    def advance(self) -> None: ...


ShowProgress = Callable[[str, int], AbstractContextManager[ProgressBar]]
"""Title and total number of steps to a progress bar."""


class WorkerLost(OracleBatchError):
    """A task took every worker down that tried it, or its cluster went away. Run again; nothing was written."""


class Fleet:
    """Where the work is done: ``run`` it here one after another, or on the workers of a Dask client."""

    def __init__(self, client: Any = None) -> None:
        self._client = client

    @property
    def is_cluster(self) -> bool:
        return self._client is not None

    def fan_out(
        self,
        work: Callable[[Task], Answer],
        tasks: Mapping[str, Task],
        progress: ShowProgress,
        title: str,
        done: Callable[[str, Answer], None] | None = None,
    ) -> dict[str, Answer | OracleBatchError]:
        """The answer to each task by its name, in the tasks' order; an error in the place of one that failed.

        ``done`` hears of each answer as it comes, in any order. One task's failure never stops the others.
        """
        found: dict[str, Answer | OracleBatchError] = {}
        with progress(title, len(tasks)) as bar:
            for name, answer in self._answers(work, tasks):
                found[name] = answer
                if done is not None and not isinstance(answer, OracleBatchError):
                    done(name, answer)
                bar.advance()
        return {name: found[name] for name in tasks}

    def _answers(
        self, work: Callable[[Task], Answer], tasks: Mapping[str, Task]
    ) -> Iterator[tuple[str, Answer | OracleBatchError]]:
        if self._client is None:
            for name, task in tasks.items():
                yield name, attempt(work, name, task)
            return
        from distributed import as_completed

        futures = {
            self._client.submit(attempt, work, name, task, pure=False): name  # pure: a key is an answer for ever
            for name, task in tasks.items()
        }
        try:
            for future in as_completed(list(futures)):
                yield futures[future], _answer_of(future, futures[future])
        finally:
            self._client.cancel([future for future in futures if not future.done()])


def attempt(work: Callable[[Task], Answer], name: str, task: Task) -> Answer | OracleBatchError:
    """The answer, or the error. The one place where one model's failure is kept from the others."""
    try:
        with threadpool_limits(1):
            return work(task)
    except OracleBatchError as error:
        return error
    except Exception as error:  # noqa: BLE001 - see above
        _log.error("%s: unexpected %s: %s", name, type(error).__name__, error, exc_info=error)
        return OracleBatchError(f"unexpected {type(error).__name__}: {error}", field=name, fix="please report this")


def _answer_of(future: Any, name: str) -> Any:
    """A future's answer; whatever the cluster itself raises becomes an error of that task."""
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - KilledWorker, CancelledError, a task that cannot be pickled …
        why = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        return WorkerLost(f"{type(error).__name__}: {why}", field=name, fix="look at the workers' logs, then run again")


@contextmanager
def fleet(cluster: str | None, workers: int = 1) -> Iterator[Fleet]:
    """A fleet: a Dask scheduler's address, or ``workers`` local processes, or (1) just this process.

    Local workers listen on the loopback interface only.

    Raises:
        UsageError: the address is none, nobody answers there, or the extra ``fleet`` is not installed.
    """
    if cluster is None and workers <= 1:
        yield Fleet()
        return
    with ExitStack() as stack:
        yield Fleet(_client(cluster, workers, stack))


def _client(cluster: str | None, workers: int, stack: ExitStack) -> Any:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UsageError(f"needs Dask: {error}", field="--cluster", fix="pip install 'oracle-batch[fleet]'") from None
    logging.getLogger("distributed").setLevel(logging.ERROR)
    dask.config.set(SETTINGS)
    if cluster is None:
        own = stack.enter_context(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=LOOPBACK,
                worker_dashboard_address=LOOPBACK,
                memory_limit=0,
            )
        )
        return stack.enter_context(Client(own, timeout=CONNECT_TIMEOUT_S))
    if not cluster.startswith(SCHEMES):
        raise UsageError(f"{cluster!r} is no address", field="--cluster", fix="tcp://HOST:8786, the scheduler's")
    try:
        client = stack.enter_context(Client(cluster, timeout=CONNECT_TIMEOUT_S))
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no scheduler answers at {cluster}: {type(error).__name__}",
            field="--cluster",
            fix="start one: dask scheduler; and workers: dask worker ADDRESS",
        ) from None
    if not client.scheduler_info()["workers"]:
        _log.warning("%s has no workers yet: the work waits for the first one", cluster)
    return client
