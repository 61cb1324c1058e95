from datetime import UTC

from app.kernel.clock import ManualClock, SystemClock


def test_a_manual_clock_moves_only_when_it_is_moved():
    clock = ManualClock()
    before = clock.now(), clock.now_ns(), clock.monotonic_ns()
    assert before == (clock.now(), clock.now_ns(), clock.monotonic_ns())
    clock.advance(1.5)
    assert clock.now_ns() - before[1] == clock.monotonic_ns() - before[2] == 1_500_000_000
    assert (clock.now() - before[0]).total_seconds() == 1.5


def test_the_system_clock_is_in_utc_and_never_goes_back():
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert abs(clock.now().timestamp() - clock.now_ns() / 1e9) < 5
    assert clock.monotonic_ns() <= clock.monotonic_ns()
