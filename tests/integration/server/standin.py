"""A small application under the real supervisor, for the process tests: `python standin.py PLAN.json`."""

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path

import msgspec

from app.server.contract import Blueprint, SettingsRefused
from app.server.listeners import AddressUnavailable
from app.server.plan import Address, Plan, Role
from app.server.slots import Patience
from app.server.supervisor import Supervisor, WorkersFailed
from app.server.worker import WorkerTimes


class Options(msgspec.Struct, frozen=True, kw_only=True):
    roles: list[list[str]]
    settings_path: str
    ports: dict[str, int] = {}
    drain_s: float = 30
    patience: dict[str, float] = {}
    times: dict[str, float] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    greeting: str = "hello"
    fail_start: str = ""
    fail_role: str = ""
    fail_marker: str = ""
    fail_close: bool = False
    hang_close: bool = False
    refuse_reload: bool = False
    refuse_role: str = ""
    port: int = 1


class StandInPlane:
    def __init__(self, name, app):
        self.name = name
        self.app = app


class StandIn:
    """Answers /pid, /readyz, /stream?CHUNKS, /slow?SECONDS, /block?SECONDS and /reload."""

    steering = None

    def __init__(self, settings, role):
        self.settings = settings
        self.role = role
        self.inflight = 0
        self.is_draining = False
        self.ending = asyncio.Event()
        self.planes = [StandInPlane(name, self.make(name)) for name in role.planes]

    async def start(self):
        if self.settings.fail_start and self.role.name.endswith(self.settings.fail_role):
            raise RuntimeError(self.settings.fail_start)
        if self.settings.fail_marker and os.path.exists(self.settings.fail_marker):  # noqa: ASYNC240, PTH110 - one stat
            raise RuntimeError("the marker is there")

    def begin_drain(self):
        self.is_draining = True

    async def reload(self, settings):
        if settings.refuse_reload and self.role.name.endswith(settings.refuse_role):
            raise RuntimeError("the application says no")
        self.settings = settings

    async def aclose(self):
        if self.settings.fail_close:
            raise RuntimeError("cannot close")
        if self.settings.hang_close:
            await asyncio.Event().wait()
        self.ending.set()
        await asyncio.sleep(0.1)
        say(f"closed {self.role.name}")

    def make(self, plane):
        async def app(scope, receive, send):
            self.inflight += 1
            try:
                await self.answer(plane, scope, send)
            finally:
                self.inflight -= 1

        return app

    async def answer(self, plane, scope, send):
        path, argument = scope["path"], scope["query_string"].decode()
        if path == "/stream":
            await self.stream(send, count=int(argument))
            return
        if path == "/slow":
            await asyncio.sleep(float(argument))
        if path == "/block":
            time.sleep(float(argument))  # noqa: ASYNC251 - the fault under test
        if path == "/reload":
            await self.send_json(send, msgspec.to_builtins(await self.steering.reload()), status=200)
            return
        status = 503 if path == "/readyz" and self.is_draining else 200
        body = {
            "pid": os.getpid(),
            "parent": os.getppid(),
            "plane": plane,
            "role": self.role.name,
            "greeting": self.settings.greeting,
            "port": self.settings.port,
        }
        await self.send_json(send, body, status=status)

    async def send_json(self, send, body, *, status):
        data = json.dumps(body).encode()
        headers = [(b"content-length", str(len(data)).encode())]
        if self.is_draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    async def stream(self, send, *, count):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(count):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            if await self.is_ending_within(0.1):
                await send({"type": "http.response.body", "body": b"event: error\n\n", "more_body": True})
                break
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def is_ending_within(self, seconds):
        try:
            await asyncio.wait_for(self.ending.wait(), seconds)
        except TimeoutError:
            return False
        return True


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def load(path):
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Settings)
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsRefused([f"settings: {error}"]) from None


def adopt(running, loaded):
    if running.port == loaded.port:
        return loaded, ()
    return msgspec.structs.replace(loaded, port=running.port), ("port",)


def main():
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    options = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Options)
    planes = sorted({plane for planes in options.roles for plane in planes})
    plan = Plan(
        roles=tuple(
            Role(name=f"w{index}", index=index, planes=tuple(planes)) for index, planes in enumerate(options.roles)
        ),
        addresses=tuple(Address(plane=plane, host="127.0.0.1", port=options.ports.get(plane, 0)) for plane in planes),
        drain_s=options.drain_s,
    )
    blueprint = Blueprint(
        plan=plan,
        settings=load(options.settings_path),
        build=StandIn,
        load=lambda: load(options.settings_path),
        adopt=adopt,
    )
    try:
        supervisor = Supervisor(
            blueprint,
            on_ready=lambda: say("ready"),
            patience=Patience(**options.patience),
            times=WorkerTimes(**options.times),
        )
    except AddressUnavailable as error:
        sys.exit(f"unavailable: {error}")
    say(json.dumps({address.plane: address.port for address in supervisor.addresses}))
    try:
        sys.exit(supervisor.run())
    except WorkersFailed as failed:
        sys.exit(f"failed: {failed}")


if __name__ == "__main__":
    main()
