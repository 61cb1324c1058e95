"""What a page says to paste into a shell is one argument there, whatever a model is called."""

import json
import subprocess

import pytest

from app.api.dashboard.pages import say_quoted


@pytest.mark.parametrize("name", ["gpt-4o", "o'clock", "'; touch /tmp/x; '", '"quoted"', "$(id) `id` \\", "größe\n"])
def test_a_name_reaches_the_program_as_it_is(name):
    line = f"""printf %s '{{"model": {say_quoted(name)}}}'"""
    said = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True, timeout=10).stdout
    assert json.loads(said) == {"model": name}
