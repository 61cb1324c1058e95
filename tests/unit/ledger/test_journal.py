"""What a journal keeps of a process that dies at any moment, and that it keeps no more than it must."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.journal import Journal
from app.stores.accounts import Granted, Reservation
from app.stores.entries import UsageEntry
from app.stores.journal import JournalBusy, JournalFiles


def entry(name):
    return UsageEntry(3, name, b"payload of " + name.encode(), 5, 7, ("o", "", "k"))


def granted(at_ms=11):
    return Granted(at_ms=at_ms, cap=22, held_nusd=33)


def hold(name, orphan=b"at first"):
    return Reservation(partition=3, id=name, orphan=orphan)


def left(folder):
    """Return what another process would find; the journal under test must have let go of the folder."""
    journal = Journal(folder)
    found = journal.left()
    journal._files.close()
    return sorted(one.id for one in found.entries), {one.id: one.orphan for one in found.holds}


def abandon(journal):
    """Let go of a journal as a process does that dies: nothing is tidied up."""
    journal._files.close()


def test_what_ended_is_found_and_what_did_not_is_a_hold(tmp_path):
    journal = Journal(tmp_path)
    journal.reserved(hold("one"), granted())
    journal.reserved(hold("two"), granted())
    journal.progressed("two", b"later")
    journal.ended("one", [entry("a"), entry("b")])
    journal.ended("", [entry("c")])
    abandon(journal)
    assert left(tmp_path) == (["a", "b", "c"], {"two": b"later"})


def test_a_hold_is_found_as_it_was_granted(tmp_path):
    journal = Journal(tmp_path)
    journal.reserved(hold("one"), granted())
    abandon(journal)
    [found] = Journal(tmp_path).left().holds
    assert (found.partition, found.granted) == (3, granted())


def test_a_hold_that_was_given_back_is_none(tmp_path):
    journal = Journal(tmp_path)
    journal.reserved(hold("one"), granted())
    journal.ended("one", ())
    abandon(journal)
    assert left(tmp_path) == ([], {})


def test_progress_of_what_has_ended_changes_nothing(tmp_path):
    journal = Journal(tmp_path)
    journal.reserved(hold("one"), granted())
    journal.ended("one", [entry("a")])
    journal.progressed("one", b"too late")
    abandon(journal)
    assert left(tmp_path) == (["a"], {})


@pytest.fixture
def small_files(monkeypatch):
    monkeypatch.setattr("app.stores.journal._FILE_BYTES", 4_096)
    monkeypatch.setattr("app.ledger.journal._SPARE_BYTES", 4_096)


def files(folder):
    return sorted(path.name for path in folder.glob("*.journal"))


def test_files_go_when_the_database_has_what_is_in_them(tmp_path, small_files):
    journal = Journal(tmp_path)
    names = [f"n{number:04}" for number in range(1_000)]
    for name in names:
        journal.ended("", [entry(name)])
    assert len(files(tmp_path)) > 5
    journal.written(names)
    assert len(files(tmp_path)) == 1
    abandon(journal)
    assert set(left(tmp_path)[0]) <= set(names)


def test_a_file_stays_as_long_as_anything_in_it_is_needed(tmp_path, small_files):
    journal = Journal(tmp_path)
    names = [f"n{number:04}" for number in range(300)]
    for name in names:
        journal.ended("", [entry(name)])
    journal.written(names[1:])
    abandon(journal)
    assert "n0000" in left(tmp_path)[0]


def test_a_long_hold_moves_on_and_keeps_no_file(tmp_path, small_files):
    journal = Journal(tmp_path)
    journal.reserved(hold("long"), granted())
    for number in range(1_000):
        journal.ended("", [entry(f"n{number}")])
        journal.written([f"n{number}"])
    assert len(files(tmp_path)) <= 2
    journal.progressed("long", b"moved")
    abandon(journal)
    assert left(tmp_path)[1] == {"long": b"moved"}


def test_the_end_of_a_hold_never_goes_before_the_hold(tmp_path, small_files):
    """The first file stays for an entry in it; what ended the hold in a later file must then stay too."""
    journal = Journal(tmp_path)
    journal.ended("", [entry("needed")])
    journal.reserved(hold("one"), granted())
    journal.ended("one", ())
    for number in range(300):
        journal.ended("", [entry(f"n{number}")])
        journal.written([f"n{number}"])
    abandon(journal)
    ids, holds = left(tmp_path)
    assert "needed" in ids
    assert holds == {}


def test_a_record_larger_than_a_file_has_one_of_its_own(tmp_path, small_files):
    journal = Journal(tmp_path)
    journal.reserved(hold("large", orphan=b"x" * 100_000), granted())
    journal.ended("", [entry("after")])
    abandon(journal)
    ids, holds = left(tmp_path)
    assert ids == ["after"]
    assert len(holds["large"]) == 100_000


async def test_a_journal_that_nobody_needs_leaves_nothing(tmp_path):
    journal = Journal(tmp_path)
    journal.start()
    journal.ended("", [entry("a")])
    journal.written(["a"])
    await journal.aclose()
    assert files(tmp_path) == []


async def test_what_the_database_has_not_stays_for_the_next_process(tmp_path):
    journal = Journal(tmp_path)
    journal.start()
    journal.ended("", [entry("a")])
    await journal.aclose()
    assert left(tmp_path) == (["a"], {})


def test_two_processes_never_have_one_journal(tmp_path):
    first = JournalFiles(tmp_path)
    with pytest.raises(JournalBusy):
        JournalFiles(tmp_path)
    first.close()
    JournalFiles(tmp_path).close()


def test_a_new_process_writes_behind_what_was_left(tmp_path):
    first = Journal(tmp_path)
    first.ended("", [entry("a")])
    abandon(first)
    second = Journal(tmp_path)
    second.ended("", [entry("b")])
    abandon(second)
    assert left(tmp_path)[0] == ["a", "b"]


@given(records=st.lists(st.binary(min_size=1, max_size=60), max_size=12), data=st.data())
def test_of_a_file_cut_anywhere_only_whole_records_count(tmp_path_factory, records, data):
    folder = tmp_path_factory.mktemp("journal")
    made = JournalFiles(folder)
    for record in records:
        made.append(record)
    made.close()
    if not records:
        return
    path = folder / "0000000001.journal"
    whole = path.read_bytes()
    used = sum(8 + len(record) for record in records)
    cut = data.draw(st.integers(0, used))
    path.write_bytes(whole[:cut])
    found = list(_read(path))
    assert found == records[: len(found)]
    assert sum(8 + len(record) for record in found) <= cut
    at = data.draw(st.integers(0, used - 1))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    found = list(_read(path))
    assert found == records[: len(found)]
    assert len(found) < len(records)


def _read(path):
    files_of = object.__new__(JournalFiles)
    files_of.folder = path.parent
    return files_of.read(1)


def test_a_disk_that_is_full_is_an_error_and_no_signal(tmp_path, monkeypatch):
    journal = Journal(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        journal.reserved(hold("one"), granted())
    monkeypatch.undo()
    journal.ended("", [entry("a")])
    abandon(journal)
    assert left(tmp_path) == (["a"], {})


_DIES = """
import os, signal, sys
from pathlib import Path
from app.ledger.journal import Journal
from app.stores.entries import UsageEntry
journal = Journal(Path(sys.argv[1]))
number = 0
while True:
    journal.ended("", [UsageEntry(0, f"n{number}", b"x" * 300)])
    os.write(1, b"%d\\n" % number)
    number += 1
    if number == 5_000:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_had_written_is_there(tmp_path):
    repository = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _DIES, str(tmp_path)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(repository)},
        timeout=60,
    )
    assert done.returncode == -9
    said = done.stdout.split()
    assert len(said) == 5_000
    assert set(left(tmp_path)[0]) == {f"n{int(number)}" for number in said}
