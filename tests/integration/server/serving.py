"""`llm-gateway serve` with the stand-in application in place of the real one: `python serving.py ARGUMENTS`."""

import sys
import types

from standin import Settings as StandInSettings
from standin import StandIn

from app import cli


class Served(StandIn):
    """Shows a few of the gateway's settings through the stand-in's own."""

    def __init__(self, settings, role):
        super().__init__(shown(settings), role)
        self.shared = role.shared

    async def start(self):
        assert self.shared.is_dir()
        (self.shared / f"from-{self.role.name}").touch()

    async def reload(self, settings):
        await super().reload(shown(settings))


def shown(settings):
    return StandInSettings(greeting=settings.log_level, port=settings.gateway.port)


if __name__ == "__main__":
    sys.modules["app.asgi"] = types.SimpleNamespace(build_application=Served)
    cli.main()
