"""Signs of life: after silence only, with what is going on."""

import threading

import pytest

from redteam_env.utils.heartbeat import EVERY_S, PHASE_S, Heartbeat, duration


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def heard():
    clock, lines = Clock(), []
    return clock, lines, Heartbeat(lines.append, clock=clock)


def test_silence_is_broken_with_what_is_going_on(heard):
    clock, lines, heartbeat = heard
    heartbeat.doing("defender", 3, 64)
    clock.now = EVERY_S - 1
    heartbeat.beat()
    assert lines == []
    heartbeat.doing("defender", 5, 64)
    clock.now = 90
    heartbeat.beat()
    heartbeat.beat()
    assert lines == ["defender 5/64, for 0:01:30 now"]


def test_what_was_printed_elsewhere_is_no_silence(heard):
    clock, lines, heartbeat = heard
    heartbeat.doing("judge", 0, 1)
    clock.now = EVERY_S
    heartbeat.spoke()
    heartbeat.beat()
    assert lines == []


def test_only_slow_phases_are_told_of(heard):
    clock, lines, heartbeat = heard
    heartbeat.doing("attacker", 0, 64)
    clock.now = PHASE_S
    heartbeat.doing("defender", 0, 64)
    heartbeat.doing("judge", 0, 1)
    assert lines == ["defender 0/64"]


def test_without_beats_only_what_it_is_given_is_said():
    clock, lines = Clock(), []
    heartbeat = Heartbeat(lines.append, beats=False, clock=clock)
    heartbeat.doing("attacker", 0, 64)
    clock.now = 10 * EVERY_S
    heartbeat.doing("defender", 0, 64)
    heartbeat.beat()
    assert lines == []
    heartbeat.say("done")
    assert lines == ["done"]


def test_a_line_of_a_signals_handler_is_printed_by_another_thread():
    said = []
    with Heartbeat(lambda line: said.append((line, threading.current_thread().name))) as heartbeat:
        heartbeat.at_once("finishing")
    assert said == [("finishing", "heartbeat")]


def test_a_duration_is_hours_minutes_and_seconds():
    assert [duration(x) for x in (-1, 59.6, 3725)] == ["0:00:00", "0:01:00", "1:02:05"]
