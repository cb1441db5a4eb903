"""A signal is answered while something goes on, and as before afterwards; Ctrl-C is noted once."""

import signal
import threading

import pytest

from redteam_env.utils.interrupts import heard, noted_interrupts


def press(number=signal.SIGINT, times=1):
    for _ in range(times):
        signal.raise_signal(number)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_each_signal_is_answered_and_the_handling_before_comes_back(number, error):
    before = signal.getsignal(number)
    counts = []
    with heard(number, lambda came: counts.append(len(came))) as came:
        press(number, times=2)
    assert (counts, came) == ([1, 2], [number, number])
    assert signal.getsignal(number) is before
    with pytest.raises(error), heard(number, counts.append):
        raise error
    assert signal.getsignal(number) is before


def test_the_first_ctrl_c_is_noted_and_told_of_and_the_second_raises():
    told = []
    with noted_interrupts(lambda: told.append("heard")) as noted:
        press()
        assert (noted, told) == ([signal.SIGINT], ["heard"])
        with pytest.raises(KeyboardInterrupt):
            press()
    assert (noted, told) == ([signal.SIGINT], ["heard"])


def test_a_second_ctrl_c_stops_a_shells_job_in_the_background_too():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), noted_interrupts(lambda: None):
            press(times=2)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_the_callers_own_handling_stays():
    before = signal.getsignal(signal.SIGINT)
    inside = []

    def work():
        with heard(signal.SIGINT, print) as came, noted_interrupts(print) as noted:
            inside.extend((signal.getsignal(signal.SIGINT), came, noted))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before, [], []]
