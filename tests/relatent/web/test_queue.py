"""The queue before the network: order, news, limits, and an end at once when asked."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from relatent.core.errors import BusyError, Cancelled, UsageError
from relatent.web.network_lock import NetworkLock
from relatent.web.queue import JobQueue, follow


class Owner:
    job = None


def held(event):
    def task(report):
        while not event.wait(0.005):
            if report(1, 10) is False:
                raise Cancelled("stopped")
        return "done"

    return task


def test_jobs_run_in_order_and_give_their_results():
    queue, order = JobQueue(9, NetworkLock()), []

    def numbered(number):
        def task(report):
            order.append(number)
            return number * 10

        return task

    jobs = [queue.start(numbered(number)) for number in range(5)]
    assert [job.result() for job in jobs] == [0, 10, 20, 30, 40]
    assert order == [0, 1, 2, 3, 4]
    assert len(queue) == 0


def test_a_job_knows_how_many_come_before_it():
    queue, event = JobQueue(9, NetworkLock()), threading.Event()
    first, second, third = (queue.start(held(event)) for _ in range(3))
    assert [job.news().ahead for job in (first, second, third)] == [0, 1, 2]
    event.set()
    assert third.result() == "done"


def test_a_full_line_refuses_and_says_how_much_it_takes():
    queue, event = JobQueue(2, NetworkLock()), threading.Event()
    jobs = [queue.start(held(event)) for _ in range(2)]
    with pytest.raises(BusyError, match="2 requests are waiting already, and this page takes at most 2"):
        queue.start(held(event))
    event.set()
    assert [job.result() for job in jobs] == ["done", "done"]
    assert queue.start(held(event)).result() == "done"


def test_a_visitor_has_one_job_at_a_time():
    queue, event, owner = JobQueue(9, NetworkLock()), threading.Event(), Owner()
    job = queue.start(held(event), owner)
    with pytest.raises(BusyError, match="still at work"):
        queue.start(held(event), owner)
    event.set()
    job.result()
    assert queue.start(held(event), owner).result() == "done"


def test_cancelling_stops_what_runs_and_what_waits():
    queue, never = JobQueue(9, NetworkLock()), threading.Event()
    running, waiting = queue.start(held(never)), queue.start(held(never))
    waiting.cancel()
    assert waiting.wait(5)
    assert not running.finished
    running.cancel()
    assert running.wait(5)
    for job in (running, waiting):
        with pytest.raises(Cancelled):
            job.result()
    assert len(queue) == 0


def test_an_error_reaches_whoever_asked_and_frees_the_line():
    queue = JobQueue(1, NetworkLock())

    def broken(report):
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        queue.start(broken).result()
    assert queue.start(lambda report: 1).result() == 1


def test_news_have_steps_time_and_pictures():
    queue, go = JobQueue(1, NetworkLock()), threading.Event()
    picture = np.zeros((2, 2, 3), np.uint8)

    def task(report):
        report(0, 4, "drawing", picture=lambda: picture)
        report(1, 4, "drawing", picture=lambda: pytest.fail("a second picture within a moment"))
        go.wait(5)

    job = queue.start(task)
    while job.news().done < 1:
        pass
    news = job.news()
    assert (news.done, news.total, news.text) == (1, 4, "drawing")
    assert news.picture is picture
    assert news.seconds_left is not None
    go.set()
    job.result()


def test_following_ends_with_the_job():
    queue = JobQueue(1, NetworkLock())

    def task(report):
        for step in range(1, 4):
            report(step, 3)
        return "done"

    async def watch():
        job = queue.start(task)
        return [news.done async for news in follow(job, 0.01)], job.result()

    steps, result = asyncio.run(watch())
    assert steps[-1] == 3
    assert result == "done"


def test_whoever_stops_following_cancels():
    queue, never = JobQueue(1, NetworkLock()), threading.Event()

    async def watch():
        job = queue.start(held(never))
        news = follow(job, 0.01)
        await anext(news)
        await news.aclose()
        return job

    job = asyncio.run(watch())
    assert job.wait(5)
    with pytest.raises(Cancelled):
        job.result()


def test_nobody_waits_for_the_step_of_a_cancelled_job():
    queue, release = JobQueue(1, NetworkLock()), threading.Event()

    job = queue.start(lambda report: release.wait(60))  # one step, which does not report

    async def watch():
        async for _ in follow(job, 0.01):
            job.cancel()

    with pytest.raises(Cancelled):
        asyncio.run(watch())
    assert not job.finished
    release.set()
    assert job.wait(5)
