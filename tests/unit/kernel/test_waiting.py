import asyncio

import pytest

from app.kernel.waiting import outcome_of


async def test_the_outcome_is_that_of_what_is_waited_for():
    async def work():
        await asyncio.sleep(0)
        return 7

    assert await outcome_of(asyncio.ensure_future(work())) == 7


async def test_a_failure_is_raised_to_every_waiter():
    pending = asyncio.get_running_loop().create_future()
    waiters = [asyncio.create_task(outcome_of(pending)) for _ in range(2)]
    await asyncio.sleep(0)
    pending.set_exception(LookupError("gone"))
    assert [str(each) for each in await asyncio.gather(*waiters, return_exceptions=True)] == ["gone", "gone"]


async def test_what_is_cancelled_is_cancelled_for_its_waiter():
    pending = asyncio.get_running_loop().create_future()
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outcome_of(pending)


async def test_it_goes_on_without_its_waiter_and_its_failure_is_logged_nowhere():
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    pending = asyncio.get_running_loop().create_future()
    waiter = asyncio.create_task(outcome_of(pending))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert not pending.cancelled()
    pending.set_exception(LookupError("gone"))
    pending.exception()
    await asyncio.sleep(0)
    assert complaints == []
