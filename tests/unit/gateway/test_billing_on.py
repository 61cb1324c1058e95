"""Who bills an answer whose connection was cut: as the operator says, else as the vendor is known to."""

import pytest

from app.gateway.routes import open_providers
from app.settings import load
from providers.registry import Registry

BEDROCK = "b: {adapter: bedrock, region: us-east-1, api_key: 'env:KEY'%s}"
NOVITA = "n: {adapter: novita, api_key: 'env:KEY'%s}"
OPENAI = "o: {adapter: openai, api_key: 'env:KEY'%s}"


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (BEDROCK % "", True),
        (BEDROCK % ", base_url: 'https://vpce-1.example.com'", True),
        (BEDROCK % ", bills_after_disconnect: false", False),
        (NOVITA % "", True),
        (NOVITA % ", base_url: 'http://127.0.0.1:8000/v1'", False),
        (OPENAI % "", False),
        (OPENAI % ", bills_after_disconnect: true", True),
        (OPENAI % ", base_url: 'http://127.0.0.1:8000/v1', bills_after_disconnect: true", True),
        ("echo: {adapter: echo}", False),
    ],
)
def test_the_operator_decides_then_the_vendor(tmp_path, provider, expected):
    registry = Registry()
    path = tmp_path / "gateway.yaml"
    path.write_text(f"providers: {{{provider}}}")
    settings = load(path, environ={"KEY": "sk-0123456789"}, adapter_options=lambda name: registry.find(name).options)
    [opened] = open_providers(settings, registry=registry, sender=None).values()
    assert opened.bills_after_disconnect is expected
