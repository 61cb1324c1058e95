import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.stores.redis.slots import first_key, slot_of

KEYS = st.binary(max_size=40) | st.text(alphabet="{}ab", max_size=12).map(str.encode)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(KEYS, min_size=1, max_size=50))
def test_a_key_has_the_slot_that_the_server_says(redis_cluster, keys):
    with redis.Redis(port=redis_cluster.primaries[0].port) as client, client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.execute_command("CLUSTER KEYSLOT", key)
        said = pipeline.execute()

    assert [slot_of(key) for key in keys] == said


def test_text_and_numbers_have_the_slot_of_what_is_sent():
    assert slot_of("{é}x") == slot_of("é".encode())
    assert slot_of(42) == slot_of(b"42")


KEYED = [
    ("GET", "k"),
    ("set", "k", 1),
    (b"XADD", "k", "*", "f", "v"),
    ("XLEN", "k"),
    ("XAUTOCLAIM", "k", "group", "consumer", 0, "0-0"),
    ("XGROUP", "CREATE", "k", "group", "0", "MKSTREAM"),
    ("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "k", ">"),
    ("XREAD", "COUNT", 1, "BLOCK", 5, "streams", "k", "0"),
    ("EVAL", "return 1", 1, "k", "a"),
    ("EVALSHA", "0" * 40, 2, "k", "{k}2", "a"),
    ("OBJECT", "ENCODING", "k"),
]
KEYLESS = [
    ("PING",),
    ("PUBLISH", "channel", "payload"),
    ("CLUSTER", "INFO"),
    ("SCRIPT", "EXISTS", "0" * 40),
]


def keys_found_by_server(cluster, command) -> list[str]:
    with redis.Redis(port=cluster.primaries[0].port, decode_responses=True) as client:
        keys: list[str] = client.execute_command("COMMAND GETKEYS", *command)
        return keys


@pytest.mark.parametrize("command", KEYED, ids=lambda command: str(command[0]))
def test_the_first_key_is_the_one_that_the_server_finds(redis_cluster, command):
    assert keys_found_by_server(redis_cluster, command)[0] == first_key(command) == "k"


def test_a_script_without_keys_has_no_first_one(redis_cluster):
    command = ("EVAL", "return 1", 0, "a")
    assert keys_found_by_server(redis_cluster, command) == []
    assert first_key(command) is None


@pytest.mark.parametrize("command", KEYLESS, ids=lambda command: command[0])
def test_a_command_without_a_key_has_none(redis_cluster, command):
    with pytest.raises(redis.ResponseError, match="no key arguments"):
        keys_found_by_server(redis_cluster, command)
    assert first_key(command) is None
