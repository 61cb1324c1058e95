"""What a worker is short of, and from when on."""

import asyncio
import logging

import pytest

from app.gateway import memory
from app.gateway.pressure import Pressure
from app.settings.model import Settings

OFF = Settings(memory_limit_mb=0)


def test_one_long_step_is_no_overload():
    pressure = Pressure(OFF)
    for now_s, lag_s in ((1.0, 5.0), (1.5, 0.25), (1.9, 0.1), (2.0, 0.3), (2.9, 0.3)):
        pressure.note_lag(lag_s, now_s=now_s)
        assert pressure.refuses is None


def test_a_loop_that_is_late_for_a_second_is_overloaded_until_it_is_not():
    pressure = Pressure(OFF)
    for now_s in (1.0, 1.3, 1.6, 1.9):
        pressure.note_lag(0.25, now_s=now_s)
    assert pressure.refuses is None
    pressure.note_lag(0.25, now_s=2.0)
    assert pressure.refuses == "loop_lag"
    pressure.note_lag(0.01, now_s=2.2)
    assert pressure.refuses is None


@pytest.mark.parametrize(
    ("used", "refuses_streams", "refuses"),
    [(0.0, False, None), (0.919, False, None), (0.92, True, None), (0.949, True, None), (0.95, True, "memory")],
)
def test_memory_is_short_in_two_steps(used, refuses_streams, refuses, caplog):
    pressure = Pressure(OFF)
    with caplog.at_level(logging.WARNING, "gateway.pressure"):
        pressure.note_memory(used)
    assert (pressure.refuses_streams, pressure.refuses) == (refuses_streams, refuses)
    assert bool(caplog.records) is refuses_streams
    pressure.note_memory(0.5)
    assert (pressure.refuses_streams, pressure.refuses) == (False, None)


def test_the_limit_of_a_worker_is_the_settings():
    assert Pressure(OFF).refuses is None
    tiny = Pressure(Settings(memory_limit_mb=1))
    assert (tiny.refuses, tiny.refuses_streams) == ("memory", True)
    tiny.replace(OFF)
    assert (tiny.refuses, tiny.refuses_streams) == (None, False)


async def test_a_blocked_loop_is_noticed_by_itself(monkeypatch):
    monkeypatch.setattr("app.gateway.pressure._LATE_S", 0.02)
    monkeypatch.setattr("app.gateway.pressure._LATE_FOR_S", 0.05)
    monkeypatch.setattr("app.gateway.pressure._TICK_S", 0.005)
    pressure = Pressure(OFF)
    pressure.start()
    loop = asyncio.get_running_loop()

    def block():
        ends_s = loop.time() + 0.04
        while loop.time() < ends_s:
            pass

    async with asyncio.timeout(20):
        while pressure.refuses is None:
            block()
            await asyncio.sleep(0)
        while pressure.refuses is not None:  # noqa: ASYNC110 - a look of its own ends it
            await asyncio.sleep(0.01)
    pressure.stop()


def test_this_process_is_in_memory():
    assert memory.resident_bytes() > 10 << 20
    memory.give_back()


def group(folder, limit, *, used=0, reclaimable=0, names=memory._V2):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names.limit).write_text(f"{limit}\n")
    (folder / names.used).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names.reclaimable} {reclaimable}\nfile 3\n")


def test_the_lowest_limit_of_all_groups_binds(tmp_path):
    mount, process = tmp_path / "cgroup", tmp_path / "self"
    process.mkdir()
    (process / "cgroup").write_text("0::/pods/one\n")
    group(mount / "pods" / "one", "max")
    group(mount / "pods", 1000, used=900, reclaimable=300)
    group(mount, 2000)
    found = memory.container(process=process, mount=mount)
    assert (found.limit_bytes, found.used_bytes()) == (1000, 600)


def test_version_1_says_no_limit_with_a_number(tmp_path):
    mount, process = tmp_path / "cgroup", tmp_path / "self"
    process.mkdir()
    (process / "cgroup").write_text("5:cpu:/x\n4:memory:/x/y\n0::/\n")
    group(mount / "memory", 9223372036854771712, names=memory._V1)
    assert memory.container(process=process, mount=mount) is None
    group(mount / "memory" / "x", 5000, used=10, reclaimable=20, names=memory._V1)
    found = memory.container(process=process, mount=mount)
    assert (found.limit_bytes, found.used_bytes()) == (5000, 0)


def test_a_system_without_groups_has_no_limit(tmp_path):
    assert memory.container(process=tmp_path, mount=tmp_path) is None
