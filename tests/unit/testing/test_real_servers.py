import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from servers import postgres, redis
from servers.process import ServerFailed, ServerProcess, Workspace, wait_until

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[postgres.PostgresProcess]:
    server = postgres.PostgresProcess.launch()
    yield server
    server.close()


@pytest.fixture(scope="module")
def own_redis() -> Iterator[redis.RedisProcess]:
    server = redis.RedisProcess.launch(durable=True)
    yield server
    server.close()


async def test_each_database_is_fresh_and_reached_over_tcp(database_url, postgres_server):
    connection = await asyncpg.connect(postgres.dsn(database_url))
    try:
        await connection.execute("CREATE TABLE here (n int)")
    finally:
        await connection.close()
    other = postgres_server.new_database()
    assert other != database_url
    assert postgres_server.execute("SELECT 1 FROM pg_tables WHERE tablename = 'here'", database=_name(other)) == []
    postgres_server.drop_database(other)


def test_a_template_is_prepared_once_and_copied(postgres_server):
    prepared = []

    def prepare(url: str) -> None:
        prepared.append(url)
        postgres_server.execute("CREATE TABLE ready (n int)", database=_name(url))

    for _ in range(2):
        url = postgres_server.new_database(template=postgres_server.template("ready", prepare))
        assert postgres_server.execute("SELECT n FROM ready", database=_name(url)) == []
    assert len(prepared) == 1


@pytest.mark.parametrize("immediate", [False, True])
def test_postgres_keeps_port_and_committed_data_over_a_stop(own_postgres, immediate):
    url = own_postgres.new_database()
    own_postgres.execute("CREATE TABLE kept (n int)", database=_name(url))
    own_postgres.stop(immediate=immediate)
    with pytest.raises(OSError, match="onnect"):
        own_postgres.execute("SELECT 1")
    own_postgres.start()
    assert own_postgres.execute("SELECT n FROM kept", database=_name(url)) == []


def test_postgres_comes_back_after_a_kill(own_postgres):
    before = own_postgres.pid
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.pid != before
    assert own_postgres.execute("SELECT 1 AS one")[0]["one"] == 1


async def test_a_paused_postgres_answers_nothing_until_it_is_resumed(own_postgres):
    own_postgres.pause()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(postgres.dsn(own_postgres.url()), timeout=0.2)
    own_postgres.resume()
    assert own_postgres.execute("SELECT 1 AS one")[0]["one"] == 1


def test_the_shared_redis_is_emptied_for_each_test(redis_server, redis_url):
    assert redis_url == redis_server.url
    assert redis_server.execute("DBSIZE") == 0


def test_a_durable_redis_keeps_its_data_over_a_kill(own_redis):
    # The append-only file is written before the reply; only a crash of the machine could lose it.
    own_redis.execute("SET", "kept", "yes")
    own_redis.kill()
    with pytest.raises(RedisConnectionError):
        own_redis.execute("PING")
    own_redis.start()
    assert own_redis.execute("GET", "kept") == "yes"


def test_redis_is_also_reached_by_its_unix_socket(own_redis):
    assert redis.Redis(f"unix://{own_redis.socket}").execute("PING") is True


def test_a_paused_redis_is_alive_and_goes_on_later(own_redis):
    own_redis.pause()
    assert wait_until(lambda: psutil.Process(own_redis.pid).status() == psutil.STATUS_STOPPED, within_s=10)
    own_redis.resume()
    assert own_redis.execute("PING") is True


@pytest.mark.parametrize(
    ("module", "environ"),
    [
        (postgres, {"GATEWAY_TEST_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}),
        (redis, {"GATEWAY_TEST_REDIS_URL": "redis://127.0.0.1:1/0"}),
    ],
)
def test_a_named_server_that_does_not_answer_is_a_failure_with_instructions(module, environ):
    with pytest.raises(ServerFailed, match=f"{module.ENVIRONMENT_NAME} is set.*pip install"):
        module.launch(environ)


def test_the_server_named_by_the_environment_is_used_and_left_alone(redis_server, postgres_server):
    named = redis.launch({"GATEWAY_TEST_REDIS_URL": redis_server.url})
    named.close()
    assert redis_server.execute("PING") is True
    other = postgres.launch({"GATEWAY_TEST_DATABASE_URL": postgres_server.url()})
    url = other.new_database()
    other.close()
    assert postgres_server.execute("SELECT 1 FROM pg_database WHERE datname = $1", _name(url)) == []


def test_a_program_that_does_not_start_shows_its_log(tmp_path):
    process = ServerProcess([sys.executable, "-c", "raise SystemExit('broken')"], log=tmp_path / "log", cwd=tmp_path)
    process.start()
    assert wait_until(lambda: not process.is_alive, within_s=20)
    assert process.exit_code == 1
    assert "broken" in process.tail()


def test_nothing_outlives_a_session_that_is_killed():
    script = """
import os, sys, time
from servers.process import ServerProcess, Workspace
space = Workspace("orphan")
process = ServerProcess(["sleep", "300"], log=space.path / "log", cwd=space.path)
process.start()
print(process.pid, space.path, flush=True)
time.sleep(300)
"""
    session = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert session.stdout is not None
    pid, folder = session.stdout.readline().split()
    session.kill()
    session.wait()
    session.stdout.close()
    assert wait_until(lambda: _is_gone(int(pid)) and not Path(folder).exists(), within_s=20)


def test_a_process_that_ignores_the_request_to_end_is_killed_and_reported():
    space = Workspace("stubborn")
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    command = f"import signal, time; {deaf}; print('deaf', flush=True); time.sleep(300)"
    process = ServerProcess([sys.executable, "-c", command], log=space.path / "log", cwd=space.path)
    process.start()
    assert wait_until(lambda: "deaf" in process.tail(), within_s=20)
    with pytest.raises(ServerFailed, match="did not end"):
        process.terminate(signal.SIGTERM, within_s=0.2)
    assert not process.is_alive
    space.close()


def test_children_that_outlive_a_killed_parent_are_a_failure():
    space = Workspace("neglect")
    process = ServerProcess(["sh", "-c", "sleep 300 & echo begun; wait"], log=space.path / "log", cwd=space.path)
    process.start()
    assert wait_until(lambda: "begun" in process.tail(), within_s=20)
    with pytest.raises(ServerFailed, match="left children behind"):
        process.kill(patience_s=0.1)
    space.close()


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _name(url: str) -> str:
    return url.rsplit("/", 1)[1]
