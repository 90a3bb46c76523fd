"""Work done in threads ahead of the one who consumes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    if workers == 0:
        yield from map(work, items)
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
                yield pending.popleft().result()
            if fault is not None:
                raise fault
        finally:
            for future in pending:
                future.cancel()
