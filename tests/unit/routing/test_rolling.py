"""Counts over the last seconds, against a list of moments."""

from hypothesis import given
from hypothesis import strategies as st

from app.routing.rolling import Rolling

S_NS = 1_000_000_000


class Listed:
    """The same, the long way: every moment is kept, and no moment is before the one before it."""

    def __init__(self, window_s):
        self.window_s = window_s
        self.seconds = []
        self.latest = 0

    def add(self, now_ns):
        self.seconds.append(self.look(now_ns))

    def total(self, now_ns):
        latest = self.look(now_ns)
        return sum(1 for second in self.seconds if second > latest - self.window_s)

    def look(self, now_ns):
        self.latest = max(self.latest, now_ns // S_NS)
        return self.latest


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "total", "clear"]),
        st.one_of(st.integers(0, 2 * S_NS), st.integers(-3 * S_NS, 40 * S_NS)),
    ),
    max_size=60,
)


@given(window_s=st.integers(1, 12), began_ns=st.integers(0, 10**18), steps=STEPS)
def test_it_counts_what_a_list_would(window_s, began_ns, steps):
    rolling, listed = Rolling(window_s), Listed(window_s)
    now_ns = began_ns
    for verb, passed_ns in steps:
        now_ns = max(0, now_ns + passed_ns)
        if verb == "clear":
            rolling.clear()
            listed.seconds.clear()
        elif verb == "add":
            rolling.add(now_ns)
            listed.add(now_ns)
        assert rolling.total(now_ns) == listed.total(now_ns)


def test_a_moment_counts_for_at_least_nine_and_less_than_ten_seconds_of_ten():
    rolling = Rolling()
    rolling.add(S_NS - 1)
    assert rolling.total(10 * S_NS - 1) == 1
    assert rolling.total(10 * S_NS) == 0
    rolling.add(20 * S_NS)
    assert rolling.total(30 * S_NS - 1) == 1
    assert rolling.total(30 * S_NS) == 0
