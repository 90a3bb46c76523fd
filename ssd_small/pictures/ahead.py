"""Work done in threads ahead of the consumer of results, or beside the producer of items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int, window: int
) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, in the order of the items.

    Items are pulled in the consumer's thread, at most ``window`` of them ahead of the results: an
    endless source takes bounded memory. If the source raises, the results of the items before come
    first. Closing the generator stops pulling.

    Args:
        work: called in threads; an exception is raised in place of the result.
        items: pulled one by one.
        workers: number of threads; 0 does the work in the consumer's own thread.
        window: items that are worked on ahead of the consumer, at least 1.
    """
    with closing(futures_ahead(work, items, workers=workers, window=window)) as futures:  # type: ignore[type-var]
        for future in futures:
            result = future.result()
            # it would otherwise keep the result alive while the consumer works
            del future
            yield result
            del result


def futures_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int, window: int
) -> Iterator[Future[Result]]:
    """As :func:`map_ahead`, but yield futures, for consumers that also wait for something else.

    Without workers, a future is already done when it is yielded.
    """
    if workers == 0:
        yield from map(partial(_done, work), items)
        return
    source = iter(items)
    pending: deque[Future[Result]] = deque()
    fault: Exception | None = None
    open_ended = True
    with ThreadPoolExecutor(workers, thread_name_prefix="pictures") as pool:
        try:
            while True:
                while open_ended and len(pending) < window:
                    try:
                        item = next(source)
                    except StopIteration:
                        open_ended = False
                    except Exception as error:
                        fault, open_ended = error, False
                    else:
                        pending.append(pool.submit(work, item))
                        # it would otherwise be kept alive until the next item is pulled
                        del item
                if not pending:
                    break
                yield pending.popleft()
            if fault is not None:
                raise fault
        finally:
            for future in pending:
                future.cancel()


def map_beside(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int, window: int
) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, in order, while the source makes the next items.

    A result is handed over as soon as it and those before it are ready, however long the source
    takes for the next item. If the source raises, the results of the items before come first.

    Args:
        work: called in threads; an exception is raised in place of the result.
        items: pulled one by one, in a thread of their own.
        workers: number of threads that call ``work``.
        window: most items worked on at once, at least 1; one more is pulled.
    """
    source, end = iter(items), object()
    pending: deque[Future[Result]] = deque()
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="pictures") as pool,
        ThreadPoolExecutor(1, thread_name_prefix="pictures-source") as puller,
    ):
        upcoming: Future[Any] | None = puller.submit(next, source, end)
        try:
            while pending or upcoming is not None:
                if pending and _is_next(pending[0], upcoming, is_full=len(pending) >= window):
                    yield pending.popleft().result()
                elif upcoming is not None:
                    item = upcoming.result()
                    upcoming = None
                    if item is not end:
                        pending.append(pool.submit(work, item))
                        upcoming = puller.submit(next, source, end)
                    del item
        finally:
            for future in pending:
                future.cancel()


def _is_next(first: Future[Any], upcoming: Future[Any] | None, *, is_full: bool) -> bool:
    """Whether a result comes next, not the source's item; waits for the first of them."""
    if upcoming is None or is_full:
        return True
    wait((first, upcoming), return_when=FIRST_COMPLETED)
    has_failed = upcoming.done() and upcoming.exception() is not None
    return first.done() or has_failed


def _done(work: Callable[[Item], Result], item: Item) -> Future[Result]:
    future: Future[Result] = Future()
    try:
        future.set_result(work(item))
    except Exception as error:
        future.set_exception(error)
    return future
