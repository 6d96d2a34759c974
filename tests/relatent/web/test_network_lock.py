"""One at a time; quick drawings pass between two steps of long work, and neither kind waits for ever."""

from __future__ import annotations

import threading
import time

import pytest

from relatent.web.network_lock import NetworkLock


def test_only_one_at_a_time():
    network_lock, inside, most = NetworkLock(), [], []

    def use():
        with network_lock.quick():
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.002)
            inside.pop()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1] * 8


def test_quick_drawings_pass_between_steps():
    network_lock, order = NetworkLock(), []
    started = threading.Event()

    def draw():
        started.set()
        with network_lock.quick():
            order.append("quick")

    with network_lock.long():
        thread = threading.Thread(target=draw)
        thread.start()
        started.wait(5)
        while not network_lock._waiting:
            time.sleep(0.001)
        order.append("step 1")
        network_lock.pause()
        order.append("step 2")
    thread.join(5)
    assert order == ["step 1", "quick", "step 2"]


def test_a_pause_waits_only_for_those_who_wait_already():
    network_lock, stop = NetworkLock(), threading.Event()

    def draw_for_ever():
        while not stop.is_set():
            with network_lock.quick():
                pass

    threads = [threading.Thread(target=draw_for_ever) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with network_lock.long():
            for _ in range(20):
                network_lock.pause()
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_a_pause_does_nothing_when_nobody_waits(monkeypatch):
    network_lock = NetworkLock()
    with network_lock.long(), monkeypatch.context() as patch:
        patch.setattr(network_lock, "_free", lambda: pytest.fail("the lock was released"))
        patch.setattr(network_lock._changed, "wait_for", lambda *_: pytest.fail("it waited"))
        network_lock.pause()


def test_long_work_rests_while_a_picture_is_drawn():
    network_lock, order = NetworkLock(), []
    begun, paused = threading.Event(), threading.Event()

    def job():
        with network_lock.long():
            begun.set()
            paused.wait(10)
            network_lock.pause()
            order.append("next step")

    worker = threading.Thread(target=job)
    worker.start()
    begun.wait(10)
    with network_lock.drawing():
        paused.set()
        with network_lock.quick():
            order.append("drawn")
        order.append("pasted")  # without the lock
    worker.join(10)
    assert order == ["drawn", "pasted", "next step"]


def test_long_work_does_not_rest_for_ever(monkeypatch):
    monkeypatch.setattr("relatent.web.network_lock.REST_SECONDS", 0.01)
    network_lock = NetworkLock()
    with network_lock.drawing(), network_lock.long():
        network_lock.pause()
