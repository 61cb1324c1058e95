import asyncio

from app.gateway.tasks import TaskSupervisor


async def test_work_goes_on_when_its_starter_has_gone():
    tasks, gate, done = TaskSupervisor(), asyncio.Event(), []

    async def work():
        await gate.wait()
        done.append(1)

    async def starter():
        tasks.spawn(work())
        await asyncio.Event().wait()

    started = asyncio.create_task(starter())
    await asyncio.sleep(0)
    started.cancel()
    await asyncio.gather(started, return_exceptions=True)
    assert len(tasks) == 1
    gate.set()
    await tasks.drain(patience_s=20)
    assert (done, len(tasks)) == ([1], 0)


async def test_a_failure_is_logged(caplog):
    async def fail():
        raise RuntimeError("a defect")

    tasks = TaskSupervisor()
    tasks.spawn(fail())
    await tasks.drain(patience_s=20)
    await asyncio.sleep(0)
    assert "a defect" in caplog.text
    assert len(tasks) == 0


async def test_what_does_not_end_is_cancelled():
    tasks = TaskSupervisor()
    tasks.spawn(asyncio.Event().wait())
    await tasks.drain(patience_s=0.01)
    await asyncio.sleep(0)
    assert len(tasks) == 0
    await tasks.drain(patience_s=0.01)
