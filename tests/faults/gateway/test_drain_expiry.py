"""Streams that outlive the drain are told so, and settled."""

import json
import sqlite3
import threading

import httpx
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider

STREAMS = 8


def test_streams_that_outlive_the_drain_end_with_an_error_event_and_are_settled(fake_provider: FakeProvider):
    tree = {**configs.config(fake_url=fake_provider.url), "drain_s": 0.5, "database": "sqlite+aiosqlite:///gateway.db"}
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        configs.FAKE_KEY_NAME: configs.FAKE_KEY,
    }
    gateway = GatewayProcess.launch(tree, environ=environ)
    try:
        ended: list[str] = []
        begun = threading.Semaphore(0)
        key = gateway.key

        def stream() -> None:
            body = {
                "model": "fake-stall",
                "stream": True,
                "messages": [{"role": "user", "content": "one two three four"}],
            }
            headers = {"authorization": f"Bearer {key}"}
            with httpx.stream("POST", f"{gateway.openai_url}/chat/completions", json=body, headers=headers) as answer:
                text = ""
                for part in answer.iter_text():
                    if not text:
                        begun.release()
                    text += part
            ended.append(text)

        threads = [threading.Thread(target=stream) for _ in range(STREAMS)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert begun.acquire(timeout=20)
        gateway.stop()
        for thread in threads:
            thread.join(timeout=10)
        assert len(ended) == STREAMS
        for text in ended:
            last = json.loads(text.strip().rpartition("data: ")[2])
            assert last["error"]["code"] == "server_shutting_down"
            assert "[DONE]" not in text
        with sqlite3.connect(gateway.folder / "gateway.db") as database:
            rows = database.execute("SELECT outcome, output_tokens, usage_source FROM usage_events").fetchall()
        assert len(rows) == STREAMS
        assert all(outcome == "cancelled" and tokens > 0 and source == "estimated" for outcome, tokens, source in rows)
    finally:
        gateway.close()
