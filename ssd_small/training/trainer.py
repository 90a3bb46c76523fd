"""The training loop: updates, log, evaluation, checkpoints, and stopping with a saved state."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

from torch import Tensor

from ..errors import BadFile, Diverged, MissingRequirement, OutputError
from ..models.network import SsdNetwork
from .history import SCORES, draw_curves
from .matching import Targets
from .reporter import Reporter, as_duration
from .run import Run
from .schedule import lr_factor
from .step import update
from .stopping import TIME_OVER, Stopped, StopReason, StopRequest

Metrics = Mapping[str, float | None]

#: minimum time between two plots of the curves
_DRAW_SECONDS = 60.0


@dataclass(frozen=True)
class LoopOptions:
    """How often the loop logs, evaluates and saves, and when it stops.

    Attributes:
        log_every: updates between two lines of the log.
        eval_every: epochs between two evaluations; 0 to evaluate only at the end.
        save_minutes: longest time between two saves of the resume file.
        stop_after: minutes after which this session ends, to be resumed; None for no limit.
    """

    log_every: int = 50
    eval_every: int = 1
    save_minutes: float = 5.0
    stop_after: float | None = None


def train(
    run: Run,
    evaluate: Callable[[SsdNetwork], Metrics] | None,
    reporter: Reporter,
    options: LoopOptions,
    stop: StopRequest,
) -> Metrics | None:
    """Train until the budget is spent.

    Every update has the same pictures, rate and weights whether or not the run was stopped before
    it: on the CPU, with the same number of threads, the results are bit-identical (except with a
    budget of minutes).

    Args:
        run: the run to continue to its end.
        evaluate: returns the scores of a network, called by the first process; None for no
            evaluation.
        reporter: reports progress.
        options: how often to log, evaluate and save.
        stop: may request a stop after the current update.

    Returns:
        The scores of the last evaluation; None without one, or if nothing was left to do.

    Raises:
        Stopped: a stop was requested, or the session's time is over; the state was saved.
        BadFile: a picture cannot be read; the state was saved.
        MissingRequirement: a loader or another training process ended; the state was saved.
        Diverged: loss, gradient or weights are not finite; the last saved state is kept.
        OutputError: a file could not be written; the previous one stays intact.
    """
    loop = _Loop(run, evaluate, reporter, options)
    if run.progress >= 1 and not loop.lacks_evaluation:
        return None
    try:
        if run.progress >= 1:
            return loop.finish()
        with closing(run.batches.starting_at(run.position.iteration)) as batches:
            for images, targets in batches:
                reason = loop.update(images, targets, stop)
                if run.progress >= 1:
                    break
                loop.between(reason)
        return loop.finish()
    except OutputError as error:
        if error.path not in (run.folder.resume, run.folder.last):
            # a log or plot did not fit; files that replace older ones may still do
            with suppress(OutputError, Diverged):
                run.save()
        raise
    except (BadFile, MissingRequirement):
        # a picture, a loader or another process failed: the updates until then are sound
        loop.save(draws=True)
        raise


class _Loop:
    """The state of a session, besides the run itself."""

    def __init__(
        self,
        run: Run,
        evaluate: Callable[[SsdNetwork], Metrics] | None,
        reporter: Reporter,
        options: LoopOptions,
    ) -> None:
        self.run, self.evaluate, self.reporter, self.options = run, evaluate, reporter, options
        now = time.monotonic()
        self.begun, self.offset = now, now - run.position.seconds
        self.saved, self.drawn = now, now
        # for the pace: time and number of updates in this session and since the last log line
        self.busy, self.updates, self.line_busy, self.line_updates = 0.0, 0, 0.0, 0
        self.mark = now
        self.lr = 0.0

    def update(self, images: Tensor, targets: Targets, stop: StopRequest) -> StopReason | None:
        """Perform and log one update; return the reason to stop after it, or None."""
        run, position, processes = self.run, self.run.position, self.run.learner.processes
        lr = self.lr = run.learner.set_lr(lr_factor(run.learner.recipe, run.progress, run.epochs))
        clock = time.monotonic() - self.offset if processes.writer else 0.0
        time_over = self.options.stop_after is not None and (
            time.monotonic() - self.begun > 60 * self.options.stop_after
        )
        iteration = position.iteration
        report = update(
            run.learner,
            images,
            targets,
            lambda: run.batches.names(iteration),
            # all processes use the clock of the first one
            (clock, float(stop.signal is not None), float(time_over)),
        )
        position.seconds, signalled, over = report.extras
        position.iteration += 1
        for i, value in enumerate((report.loc, report.conf, report.positives, 1.0)):
            position.window[i] += value
        now = time.monotonic()
        self.busy, self.line_busy = self.busy + now - self.mark, self.line_busy + now - self.mark
        self.updates, self.line_updates = self.updates + 1, self.line_updates + 1
        self.mark = now
        if processes.writer:
            self._show(report.loc, report.conf, lr)
        if position.iteration % self.options.log_every == 0 and processes.writer:
            self._log(lr)
        if signalled:
            # another process may have received the signal
            return StopReason(signal.SIGTERM if stop.signal is None else stop.signal)
        return TIME_OVER if over else None

    def between(self, reason: StopReason | None) -> None:
        """Evaluate, save or stop, as due after an update that is not the last.

        Raises:
            Stopped: a reason to stop was given.
        """
        run = self.run
        every = self.options.eval_every * run.batches.per_epoch
        evaluates = bool(every) and run.position.iteration % every == 0
        if evaluates:
            self._score()
        save_due = time.monotonic() - self.saved > 60 * self.options.save_minutes
        if evaluates or reason or save_due:
            self.save(draws=reason is not None)
        if reason:
            raise Stopped(reason)
        # evaluating and saving do not count towards the pace of training
        self.mark = time.monotonic()

    @property
    def lacks_evaluation(self) -> bool:
        """Whether the current weights have not been scored, as after a failed evaluation."""
        done = self.run.position.iteration
        scored = (row["iteration"] for row in self.run.history.rows if row["AP"] is not None)
        return self.evaluate is not None and done not in scored

    def finish(self) -> Metrics | None:
        """Log the last losses, evaluate, and write the final files."""
        if self.run.position.window[3] and self.run.learner.processes.writer:
            self._log(self.lr)
        metrics = self._score()
        self.save(draws=True)
        return metrics

    def save(self, *, draws: bool) -> None:
        """Save the files of the run; the curves only now and then, unless ``draws``."""
        run, self.saved = self.run, time.monotonic()
        run.save()
        if run.learner.processes.writer and (draws or self.saved - self.drawn > _DRAW_SECONDS):
            self.drawn = self.saved
            with suppress(ImportError):  # no matplotlib: reported when the run began
                draw_curves(run.history, run.folder.curves, run.learner.net.spec.title)

    def _log(self, lr: float) -> None:
        """Write a log line and a row of the history, on the updates since the previous ones."""
        run, position = self.run, self.run.position
        loc, conf, positives, count = position.window
        position.window = [0.0] * 4
        rate = self.line_updates * run.learner.recipe.batch / max(self.line_busy, 1e-9)
        self.line_busy, self.line_updates = 0.0, 0
        loc, conf, positives = loc / count, conf / count, positives / count
        self.reporter.line(
            f"{self._where()}  lr {lr:.2e}  loss {loc + conf:.3f} (loc {loc:.3f}, conf {conf:.3f})"
            f"  {positives:.0f} positives  {rate:.1f} images/s  ETA {self._eta()}",
            terminal=False,
        )
        run.history.add(
            iteration=position.iteration,
            epoch=run.epochs,
            seconds=position.seconds,
            lr=lr,
            loss=loc + conf,
            loc=loc,
            conf=conf,
            positives=positives,
            images_per_second=rate,
        )

    def _show(self, loc: float, conf: float, lr: float) -> None:
        """Show the same in short form on the bar."""
        if self.reporter.bar is not None:
            rate = self.updates * self.run.learner.recipe.batch / max(self.busy, 1e-9)
            self.reporter.show(
                self.run.progress,
                f"{self._where()} loss {loc + conf:.2f} (loc {loc:.2f}, conf {conf:.2f}) "
                f"lr {lr:.1e} {rate:.1f} images/s ETA {self._eta()}",
            )

    def _where(self) -> str:
        return f"epoch {self.run.epochs:.2f}  iteration {self.run.position.iteration}"

    def _eta(self) -> str:
        """Time left, at the pace of this session."""
        run, recipe = self.run, self.run.learner.recipe
        if recipe.minutes is not None:
            return as_duration(60 * recipe.minutes - run.position.seconds)
        if recipe.epochs is not None:
            total = recipe.epochs * run.batches.per_epoch
        else:
            assert recipe.iterations is not None
            total = recipe.iterations
        pace = self.busy / max(self.updates, 1)
        return as_duration((total - run.position.iteration) * pace)

    def _score(self) -> Metrics | None:
        """Score the current weights, and save them if they are the best so far."""
        run, position = self.run, self.run.position
        if self.evaluate is None or not run.learner.processes.writer:
            return None
        metrics = self.evaluate(run.learner.result)
        scores = {name: metrics.get(name) for name in SCORES}
        # not position.seconds, which only updates advance, equally in all processes
        seconds = time.monotonic() - self.offset
        achieved = scores["AP"] or 0.0
        better = position.best is None or achieved > position.best
        texts = (f"{n} {'-' if v is None else f'{v:.4f}'}" for n, v in scores.items())
        # reported before writing files, which may fail on a full disk
        self.reporter.line(f"{self._where()}  {'  '.join(texts)}{'  best' if better else ''}")
        run.history.add(iteration=position.iteration, epoch=run.epochs, seconds=seconds, **scores)
        if better:
            run.save_checkpoint(run.folder.best)
            position.best = achieved
        return metrics
