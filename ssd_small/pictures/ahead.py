"""Work done in threads ahead of the one who consumes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int, window: int
) -> Iterator[Result]:
    """``work`` of each item, in the order of the items.

    Items are pulled in the consumer's thread, and no more than ``window`` of them are pulled and
    not yet handed over: a source without end takes bounded memory. If the source raises, the
    results of what it gave before come first. Closing the generator stops pulling.

    Args:
        work: called in threads; what it raises is raised in the place of its result.
        items: pulled one by one.
        workers: threads; 0 does the work in the consumer's own thread, without a pool.
        window: items that are worked on ahead of the consumer, at least 1.
    """
    with closing(futures_ahead(work, items, workers=workers, window=window)) as futures:  # type: ignore[type-var]
        for future in futures:
            result = future.result()
            # it would otherwise keep the result for as long as the consumer takes
            del future
            yield result
            del result


def futures_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int, window: int
) -> Iterator[Future[Result]]:
    """As :func:`map_ahead`, without waiting for a result: for who has something else to wait for.

    Without workers a result is there, or its exception, when its future is.
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
                        # its result would otherwise keep company with the item it came from
                        del item
                if not pending:
                    break
                yield pending.popleft()
            if fault is not None:
                raise fault
        finally:
            for future in pending:
                future.cancel()


def _done(work: Callable[[Item], Result], item: Item) -> Future[Result]:
    future: Future[Result] = Future()
    try:
        future.set_result(work(item))
    except Exception as error:
        future.set_exception(error)
    return future
