"""The image says what the code does: its user, its commands, its ports, and what it is made of."""

import json
import re
import tomllib

import pytest
from shipped import ROOT, parse

from app.settings import Settings


def instructions(containerfile, name):
    return re.findall(rf"^{name} (.*)$", containerfile, flags=re.MULTILINE)


def test_the_user_is_a_number_and_not_root(containerfile):
    assert instructions(containerfile, "USER") == ["10001:10001"]
    last_stage = containerfile[containerfile.rindex("\nFROM ") :]
    assert "\nUSER " in last_stage


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD"])
def test_what_runs_needs_no_shell(containerfile, name):
    (line,) = instructions(containerfile, name)
    assert json.loads(line)


def test_what_it_runs_is_a_command(containerfile):
    (entry,), (command,) = instructions(containerfile, "ENTRYPOINT"), instructions(containerfile, "CMD")
    assert json.loads(entry) == ["llm-gateway"]
    assert parse(json.loads(command))["command"] == "serve"
    (health,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*\])$", containerfile, flags=re.MULTILINE)
    program, *arguments = json.loads(health)
    assert program == "llm-gateway"
    assert parse(arguments) == {"command": "health", "url": f"http://127.0.0.1:{Settings().gateway.port}/readyz"}


def test_it_exposes_the_ports_of_the_planes_and_of_adapters(containerfile):
    (ports,) = instructions(containerfile, "EXPOSE")
    settings = Settings()
    assert [int(port) for port in ports.split()] == [
        settings.gateway.port,
        settings.admin.port,
        parse(["adapter", "echo"])["port"],
    ]


def test_the_last_stage_runs_nothing(containerfile):
    last_stage = containerfile[containerfile.rindex("\nFROM ") :]
    assert "\nRUN " not in last_stage


def test_every_install_is_held_to_hashes_or_takes_nothing_from_outside(containerfile):
    installs = [line for line in instructions(containerfile, "RUN") if '"install"' in line]
    assert len(installs) == 3
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_what_is_copied_exists_and_is_sent_to_the_builder(containerfile):
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in instructions(containerfile, "COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert any(source.rstrip("/") == name or source.startswith(f"{name}/") for name in sent)


def test_the_version_is_the_packages(containerfile):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"ARG VERSION={project['version']}\n" in containerfile
    assert f'image.licenses="{project["license"]}"' in containerfile


def test_the_base_is_an_argument_of_both_stages(containerfile):
    froms = instructions(containerfile, "FROM")
    assert [line.split()[0] for line in froms] == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", containerfile, flags=re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+", base)
