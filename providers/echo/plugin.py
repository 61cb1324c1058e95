"""The echo's plug-in."""

import msgspec

from providers.echo.adapter import EchoAdapter
from providers.plugin import Plugin
from providers.protocol import Adapter, Sender


def _open(sender: Sender, options: msgspec.Struct) -> Adapter:
    del sender, options
    return EchoAdapter()


echo_plugin = Plugin(name="echo", open=_open, base_url="", needs_key=False)
