"""`docker compose up` starts what the code knows, hardened, with secrets that nobody has written down."""

import json
import re
import shutil
import stat
import subprocess
import tomllib

import pytest
import yaml
from shipped import ROOT, STOP_S, parse, script, settings_of

OURS = ("migrate", "gateway", "admin", "adapter")
SERVERS = ("gateway", "admin", "adapter", "postgres", "redis", "prometheus", "grafana")
ONCE = ("secrets", "migrate")


def seconds(text):
    amount, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(amount) * {"s": 1, "m": 60}[unit]


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


@pytest.fixture
def make_secrets(tmp_path, monkeypatch):
    module = script("infra/compose/make_secrets.py")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module.os, "geteuid", lambda: 10001)
    return module


@pytest.fixture
def running(services, make_secrets, tmp_path):
    """Return the settings of a service as its container would have them, with its secrets in a folder of the test."""
    make_secrets.make(tmp_path)
    whole = (ROOT / "infra/compose/gateway.yaml").read_text()

    def settings(name):
        service, folder = services[name], tmp_path / secrets_of(services[name])
        environ = {key: value.replace("/run/secrets", str(folder)) for key, value in service["environment"].items()}
        path = tmp_path / "gateway.yaml"
        path.write_text(whole.replace("/run/secrets", str(folder)))
        named = environ.pop("GATEWAY_CONFIG", None)
        return settings_of(None if named is None else path, environ)

    return settings


def secrets_of(service):
    (volume,) = [each for each in service["volumes"] if each.endswith(":/run/secrets:ro")]
    return volume.partition(":")[0].removeprefix("secrets-")


def test_the_services_are_those_that_are_promised(services):
    assert set(services) == {*ONCE, *SERVERS}


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one(services, name):
    given = parse(services[name]["command"])
    assert given["command"] == {"migrate": "migrate", "adapter": "adapter"}.get(name, "serve")
    assert given.get("plane", name) == name


def test_the_image_is_the_one_of_this_version(services):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in (*OURS, "secrets"):
        assert services[name]["image"] == f"llm-api-gateway:{version}"
        assert services[name]["build"] == {"context": ".", "dockerfile": "Containerfile"}


def test_nothing_floats(services):
    for name in set(SERVERS) - set(OURS):
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z]+)?$", services[name]["image"]), name


@pytest.mark.parametrize("name", [*ONCE, *SERVERS])
def test_every_container_is_hardened_and_bounded(services, name):
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    assert service.get("cap_add", []) == (["CHOWN"] if name == "secrets" else [])


def test_only_what_gives_secrets_away_is_root_and_it_has_no_network(services):
    for name in set(SERVERS) - set(OURS):
        assert int(services[name]["user"].partition(":")[0]) > 0
    assert services["secrets"]["user"] == "0:0"
    assert services["secrets"]["network_mode"] == "none"


def test_everything_is_reached_from_this_machine_only(services):
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports.keys() == {"gateway", "admin", "prometheus", "grafana"}
    assert ports["gateway"] == ["127.0.0.1:3020:3020"]
    assert ports["admin"] == ["127.0.0.1:3040:3040"]
    assert all(port.startswith("127.0.0.1:") for given in ports.values() for port in given)


def test_stores_have_no_way_out(compose, services):
    assert compose["networks"]["stores"]["internal"] is True
    assert services["postgres"]["networks"] == services["redis"]["networks"] == ["stores"]


@pytest.mark.parametrize("name", ["gateway", "admin", "adapter"])
def test_a_container_has_the_time_that_a_drain_may_take(running, services, name):
    assert seconds(services[name]["stop_grace_period"]) > running(name).drain_s + STOP_S


@pytest.mark.parametrize("name", ["gateway", "admin", "adapter"])
def test_health_is_asked_where_the_service_listens(running, services, name):
    kind, program, *arguments = services[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "llm-gateway")
    settings = running(name)
    ports = {"gateway": settings.gateway.port, "admin": settings.admin.port}
    port = ports.get(name) or parse(services[name]["command"])["port"]
    path = "healthz" if name == "adapter" else "readyz"
    assert parse(arguments)["url"] == f"http://127.0.0.1:{port}/{path}"


def test_servers_start_when_what_they_need_is_there(services):
    needs = {name: service.get("depends_on", {}) for name, service in services.items()}
    done, healthy = {"condition": "service_completed_successfully"}, {"condition": "service_healthy"}
    assert needs["migrate"] == {"secrets": done, "postgres": healthy}
    assert needs["gateway"] == needs["admin"] == {"migrate": done, "redis": healthy, "adapter": healthy}
    for name in ("adapter", "postgres", "redis", "grafana"):
        assert needs[name]["secrets"] == done
    for name in SERVERS:
        assert "healthcheck" in services[name]


def test_what_is_mounted_exists(compose, services):
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"], volume


def test_no_secret_is_written_down(services):
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD|TOKEN|KEY", key):
                assert key.endswith("_FILE"), f"{name}: {key}"
                assert value.startswith("/run/secrets/")


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_every_service_hold(running, name):
    settings = running(name)
    if name == "adapter":
        assert settings.adapter_token is not None
        return
    assert not [fault for fault in settings.warnings if fault.severity == "error"]
    assert not settings.has_sqlite
    assert settings.has_shared_state
    assert settings.gateway.host == settings.admin.host == "0.0.0.0"


def test_the_gateway_finds_its_stores_and_its_adapter(running, services):
    settings = running("gateway")
    assert "@postgres:5432/gateway" in settings.database.reveal()
    assert settings.state.reveal().endswith("@redis:6379/0")
    (provider,) = settings.providers.values()
    port = parse(services["adapter"]["command"])["port"]
    assert provider.base_url == f"http://adapter:{port}"
    assert provider.api_key == running("adapter").adapter_token


def test_a_second_start_changes_no_secret(make_secrets, tmp_path):
    first = make_secrets.make(tmp_path)
    before = {path: (tmp_path / path).read_text() for path in first}
    assert make_secrets.make(tmp_path) == []
    assert {path: (tmp_path / path).read_text() for path in first} == before
    assert len({text for path, text in before.items() if "url" not in path and "adapter_token" not in path}) > 6


def test_a_lost_copy_of_a_secret_is_made_from_what_is_left(make_secrets, tmp_path):
    make_secrets.make(tmp_path)
    url = tmp_path / "gateway/database_url"
    before = url.read_text()
    url.unlink()
    assert make_secrets.make(tmp_path) == ["gateway/database_url"]
    assert url.read_text() == before


def test_a_secret_is_read_by_its_owner_only_and_shown_only_when_asked(make_secrets, tmp_path, capsys):
    assert make_secrets.main(["make"]) == 0
    text = (tmp_path / "gateway/admin_key").read_text().strip()
    assert text not in capsys.readouterr().out
    assert stat.S_IMODE((tmp_path / "gateway/admin_key").stat().st_mode) == 0o440
    assert make_secrets.main(["show", "admin_key"]) == 0
    assert capsys.readouterr().out.strip() == text
    assert make_secrets.main(["show", "master_secret"]) == 2


def test_secrets_belong_to_those_who_read_them(make_secrets, services):
    owners = {path.partition("/")[0]: owner for path, (owner, _) in make_secrets.wanted({}).items()}
    image_user = int(re.search(r"^USER (\d+)", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)[1])
    for name in ("postgres", "redis", "grafana"):
        assert owners[name] == int(services[name]["user"].partition(":")[0])
    assert owners["gateway"] == owners["adapter"] == image_user
    mounted = {volume.split(":")[1] for volume in services["secrets"]["volumes"]}
    assert {f"/secrets/{name}" for name in owners} < mounted


def test_redis_keeps_what_it_counts(services):
    command = services["redis"]["command"]
    said = dict(zip(command[2::2], command[3::2], strict=True))
    assert said["--appendonly"] == "yes"
    assert said["--maxmemory-policy"] == "noeviction"
    assert command[1] == "/run/secrets/redis.conf"


def test_prometheus_scrapes_both_planes_and_grafana_reads_prometheus(services):
    scraped = yaml.safe_load((ROOT / "infra/compose/prometheus.yml").read_text())
    targets = {
        target for job in scraped["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    }
    assert targets == {"gateway:3020", "admin:3040"}
    assert all("monitoring" in services[name]["networks"] for name in ("gateway", "admin", "prometheus", "grafana"))
    sources = yaml.safe_load((ROOT / "infra/compose/grafana/datasources/prometheus.yml").read_text())
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    provided = yaml.safe_load((ROOT / "infra/compose/grafana/dashboards/gateway.yml").read_text())
    path = provided["providers"][0]["options"]["path"]
    assert f"./infra/monitoring/grafana:{path}:ro" in services["grafana"]["volumes"]
    assert [json.loads(file.read_text()) for file in (ROOT / "infra/monitoring/grafana").glob("*.json")]


def test_the_gateway_owns_its_database_and_is_no_superuser(database_url, tmp_path):
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not found")
    (tmp_path / "gateway_password").write_text("p" * 64 + "\n")
    text = (ROOT / "infra/compose/postgres.sql").read_text()
    text = (
        text.replace("/run/secrets", str(tmp_path))
        .replace("gateway ", "compose_test ")
        .replace("gateway;", "compose_test;")
    )
    (tmp_path / "init.sql").write_text(text)
    ask = [
        psql,
        "--no-psqlrc",
        "--set",
        "ON_ERROR_STOP=1",
        "--tuples-only",
        "--no-align",
        database_url.replace("+asyncpg", ""),
    ]

    def said(*arguments):
        return subprocess.run([*ask, *arguments], capture_output=True, text=True, check=True).stdout.split()

    try:
        said("--file", str(tmp_path / "init.sql"))
        owner = "SELECT rolname, rolsuper, rolcreaterole FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba"
        assert said("--command", f"{owner} WHERE datname = 'compose_test'") == ["compose_test|f|f"]
        stored = said("--command", "SELECT rolpassword FROM pg_authid WHERE rolname = 'compose_test'")
        assert stored[0].startswith("SCRAM-SHA-256$")
    finally:
        said("--command", "DROP DATABASE IF EXISTS compose_test")
        said("--command", "DROP ROLE IF EXISTS compose_test")
