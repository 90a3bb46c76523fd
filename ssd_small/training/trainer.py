"""The training loop: updates, log, evaluation, checkpoints, and stopping so that one can go on."""

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

#: least time between two pictures of the curves
_DRAW_SECONDS = 60.0


@dataclass(frozen=True)
class LoopOptions:
    """How often things other than updates happen.

    Attributes:
        log_every: updates between two lines of the log.
        eval_every: epochs between two evaluations; 0 for one at the end only.
        save_minutes: longest time between two resume files.
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
    """Spend the budget.

    Every update has the same pictures, rate and weights whether the run was stopped before or
    not: on the CPU with one number of threads the results are equal bit for bit (but not with a
    budget of minutes).

    Args:
        run: is moved on to its end.
        evaluate: scores of a network, called by the first process; None for no evaluation.
        reporter: says what is going on.
        options: how often.
        stop: asks to stop after the present update.

    Returns:
        The last evaluation's scores.

    Raises:
        Stopped: asked to; the state was saved.
        BadFile: a picture cannot be read; the state was saved.
        MissingRequirement: a loader or another training process ended; the state was saved.
        Diverged: loss, gradient or weights are not finite; the last saved state stays.
        OutputError: a file could not be written; the one before stays whole.
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
            # no room for a log or curves; what replaces older weights may still have some
            with suppress(OutputError, Diverged):
                run.save()
        raise
    except (BadFile, MissingRequirement):
        # a picture, a loader or a partner: the updates before that are not to blame
        loop.save(draws=True)
        raise


class _Loop:
    """What a session keeps besides the run."""

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
        # the pace: time of updates only, of this session
        self.busy, self.updates, self.line_busy, self.line_updates = 0.0, 0, 0.0, 0
        self.mark = now
        self.lr = 0.0

    def update(self, images: Tensor, targets: Targets, stop: StopRequest) -> StopReason | None:
        """One update and its log line; why to stop after it, or None to go on."""
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
            # the clock of the first process is everybody's
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
            # of several processes any may have got the signal
            return StopReason(signal.SIGTERM if stop.signal is None else stop.signal)
        return TIME_OVER if over else None

    def between(self, reason: StopReason | None) -> None:
        """What is due after an update that is not the last.

        Raises:
            Stopped: there is a reason to.
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
        # neither evaluating nor saving counts as the pace of training
        self.mark = time.monotonic()

    @property
    def lacks_evaluation(self) -> bool:
        """Whether the weights there are were not scored: the last evaluation failed, say."""
        done = self.run.position.iteration
        scored = (row["iteration"] for row in self.run.history.rows if row["AP"] is not None)
        return self.evaluate is not None and done not in scored

    def finish(self) -> Metrics | None:
        """The last losses, evaluation and files."""
        if self.run.position.window[3] and self.run.learner.processes.writer:
            self._log(self.lr)
        metrics = self._score()
        self.save(draws=True)
        return metrics

    def save(self, *, draws: bool) -> None:
        """The files of the run; the curves now and then, or if asked for."""
        run, self.saved = self.run, time.monotonic()
        run.save()
        if run.learner.processes.writer and (draws or self.saved - self.drawn > _DRAW_SECONDS):
            self.drawn = self.saved
            with suppress(ImportError):  # no matplotlib: said when the run began
                draw_curves(run.history, run.folder.curves, run.learner.net.spec.title)

    def _log(self, lr: float) -> None:
        """A line and a row of the history, of the updates since those before."""
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
        """The same in short for the bar."""
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
        """Scores of the present weights, which are kept if they are the best."""
        run, position = self.run, self.run.position
        if self.evaluate is None or not run.learner.processes.writer:
            return None
        metrics = self.evaluate(run.learner.result)
        scores = {name: metrics.get(name) for name in SCORES}
        # the position's clock stands still: it is the same in all processes
        seconds = time.monotonic() - self.offset
        achieved = scores["AP"] or 0.0
        better = position.best is None or achieved > position.best
        texts = (f"{n} {'-' if v is None else f'{v:.4f}'}" for n, v in scores.items())
        # before any file of them, which a full disk may refuse
        self.reporter.line(f"{self._where()}  {'  '.join(texts)}{'  best' if better else ''}")
        run.history.add(iteration=position.iteration, epoch=run.epochs, seconds=seconds, **scores)
        if better:
            run.save_checkpoint(run.folder.best)
            position.best = achieved
        return metrics
