"""The run of a plan: batches on an executor, one after the other without one.

Thread safety: functions of a cache, as thread-safe as that. See CacheManager.warm.
"""

from __future__ import annotations

import sys
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

from barcache.bars.look import calls_for, look_at, missing_of
from barcache.errors import ForkedPolars, InvalidArgument, InvalidType, ReadOnly
from barcache.progress import no_progress
from barcache.warming.batch import Job, Work
from barcache.warming.estimate import bars_expected
from barcache.warming.pace import Pace, Stopped
from barcache.warming.report import WarmReport

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Executor, Future
    from contextlib import AbstractContextManager

    from barcache.bars.asking import AskingCore, BarOptions
    from barcache.progress import Progress
    from barcache.sources import Source
    from barcache.warming.plan import WarmPlan


def warm(
    cache: AskingCore,
    plan: WarmPlan,
    source: Source,
    options: BarOptions,
    *,
    executor: Executor | None,
    batch_size: int,
    requests_per_second: float | None,
    progress: Progress | bool | None,
) -> WarmReport:
    """Fetch what is missing of a plan."""
    if not cache._stores:
        raise ReadOnly(
            "the cache was opened read-only, so nothing that is fetched could be kept: open it "
            "without read_only=True, or ask with dry_run=True"
        )
    pace = Pace(_checked_rate(requests_per_second))
    call = (plan.start_date, plan.end_date, plan.resolution)
    work = Work(*call, source, plan.data_source, options, pace)
    jobs = [Job(cache, work, symbols) for symbols in plan.batches(batch_size)]
    _check_request(cache, work, plan)
    report, done = WarmReport(), 0
    reports = _in_turn(jobs) if executor is None else _on(executor, jobs, pace)
    with _shown(progress) as show, closing(reports):
        try:
            for part in reports:
                report.add(part)
                done += 1
                show(f"{done} of {len(jobs)} batches, {report.rows} bars", done / len(jobs))
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(
                f"warm: {done} of {len(jobs)} batches were done; what came is kept, and the same "
                "call goes on from there"
            )
            raise
    return report


def _check_request(cache: AskingCore, work: Work, plan: WarmPlan) -> None:
    """Refuses what makes no sense before anything is sent."""
    call = (list(plan.batches(1)[0]), work.start_date, work.end_date, work.resolution)
    cache._request(call, work.source, None, work.options)


def _checked_rate(requests_per_second: Any) -> float | None:
    if requests_per_second is None:
        return None
    if isinstance(requests_per_second, bool) or not isinstance(requests_per_second, int | float):
        raise InvalidType(f"requests_per_second must be a number, not {requests_per_second!r}")
    if not requests_per_second > 0:
        raise InvalidArgument(f"requests_per_second={requests_per_second} must be more than 0")
    return float(requests_per_second)


def _in_turn(jobs: list[Job]) -> Generator[WarmReport, None, None]:
    """The reports of the jobs, done here. An interrupt gives up the call under way."""
    return (job() for job in jobs)


def _on(executor: Executor, jobs: list[Job], pace: Pace) -> Generator[WarmReport, None, None]:
    """The reports of the jobs, as they come.

    After an interrupt nothing more is begun, and the calls under way are waited for and kept; a
    second interrupt leaves them behind.
    """
    from concurrent.futures import as_completed, wait

    _refuse_what_cannot_be_sent(executor, jobs)
    futures: dict[Future[WarmReport], Job] = {}
    try:
        for job in jobs:
            futures[executor.submit(job)] = job
        for future in as_completed(futures):
            yield _report_of(future, futures[future])
    except BaseException:
        pace.stop()
        for future in futures:
            future.cancel()
        wait(futures)
        raise


def _report_of(future: Future[WarmReport], job: Job) -> WarmReport:
    """The job's report; of one that could not be run, that it failed."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, ForkedPolars):
        raise error
    if isinstance(error, Stopped) or not isinstance(error, Exception):
        raise KeyboardInterrupt from error  # A process of the terminal's was interrupted too.
    return job.failed(error)


def _refuse_what_cannot_be_sent(executor: Executor, jobs: list[Job]) -> None:
    import pickle
    from concurrent.futures import ProcessPoolExecutor

    if jobs and isinstance(executor, ProcessPoolExecutor):
        pickle.dumps(jobs[0])


def dry_run(
    cache: AskingCore, plan: WarmPlan, source: Source, options: BarOptions, batch_size: int
) -> WarmReport:
    """What warm would send, by the ledger."""
    report = WarmReport(dry_run=True)
    now_s = int(cache._bar_reader.clock())
    for symbols in plan.batches(batch_size):
        call = (list(symbols), plan.start_date, plan.end_date, plan.resolution)
        request = cache._request(call, source, None, options)
        look = look_at(cache, request, now_s=now_s)
        report.requests += len(calls_for(request, look, look.gaps()))
        report.rows += sum(bars_expected(request.rule, gap, now_s) for _, gap in look.gaps())
        report.symbols += len(symbols)
        missing = missing_of(request, look)
        report.covered += len(symbols) - len(missing)
        report.missing.update(missing)
    return report


def _shown(progress: Progress | bool | None) -> AbstractContextManager[Progress]:
    """Whom to tell how far it is: by default a bar on a terminal."""
    if callable(progress):
        return nullcontext(progress)
    if progress is False or not sys.stderr.isatty():
        return nullcontext(no_progress)
    try:
        from barcache.cli.progress import progress_bar

        return progress_bar()
    except ImportError:  # The extra "cli" is not installed.
        return nullcontext(no_progress)
