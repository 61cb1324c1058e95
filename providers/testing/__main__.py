"""Runs the fake provider as a process of its own; prints one JSON line with its URL once it listens."""

import argparse
import asyncio
import contextlib
import signal
import sys

import msgspec

from providers.testing.server import FakeProvider


async def _serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    provider = FakeProvider(api_key=arguments.api_key)
    await provider.start(host=arguments.host, port=arguments.port)
    sys.stdout.write(msgspec.json.encode({"url": provider.url}).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    await provider.aclose()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m providers.testing", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--api-key", help="refuse requests without this key")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
