import asyncio


async def test_a_lease_has_one_holder(installation):
    assert await installation.stores.leases.acquire("writer", holder="a", ttl_s=30)
    assert not await installation.peer.leases.acquire("writer", holder="b", ttl_s=30)


async def test_the_holder_may_acquire_again(stores):
    assert await stores.leases.acquire("writer", holder="a", ttl_s=30)
    assert await stores.leases.acquire("writer", holder="a", ttl_s=30)


async def test_names_are_independent(stores):
    assert await stores.leases.acquire("writer", holder="a", ttl_s=30)
    assert await stores.leases.acquire("sweeper", holder="b", ttl_s=30)


async def test_of_many_at_once_one_wins(installation):
    sides = (installation.stores, installation.peer)
    won = await asyncio.gather(*[sides[n % 2].leases.acquire("writer", holder=f"h{n}", ttl_s=30) for n in range(20)])

    assert won.count(True) == 1


async def test_an_expired_lease_is_free(installation):
    assert await installation.stores.leases.acquire("writer", holder="a", ttl_s=0.2)
    await installation.pass_s(0.3)

    assert not await installation.stores.leases.renew("writer", holder="a", ttl_s=30)
    assert await installation.peer.leases.acquire("writer", holder="b", ttl_s=30)
    assert not await installation.stores.leases.release("writer", holder="a")


async def test_renewing_extends_a_lease(installation):
    assert await installation.stores.leases.acquire("writer", holder="a", ttl_s=0.3)
    assert await installation.stores.leases.renew("writer", holder="a", ttl_s=30)
    await installation.pass_s(0.4)

    assert not await installation.peer.leases.acquire("writer", holder="b", ttl_s=30)


async def test_acquiring_again_extends_a_lease(installation):
    assert await installation.stores.leases.acquire("writer", holder="a", ttl_s=0.3)
    assert await installation.stores.leases.acquire("writer", holder="a", ttl_s=30)
    await installation.pass_s(0.4)

    assert await installation.stores.leases.renew("writer", holder="a", ttl_s=30)


async def test_only_the_holder_renews_and_releases(stores):
    assert await stores.leases.acquire("writer", holder="a", ttl_s=30)

    assert not await stores.leases.renew("writer", holder="b", ttl_s=30)
    assert not await stores.leases.release("writer", holder="b")
    assert await stores.leases.release("writer", holder="a")
    assert not await stores.leases.release("writer", holder="a")
    assert await stores.leases.acquire("writer", holder="b", ttl_s=30)
