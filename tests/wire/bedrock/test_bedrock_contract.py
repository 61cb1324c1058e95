"""Bedrock passes the suite of every adapter, with recorded cases for each family of models."""

from pathlib import Path

import msgspec

from providers.bedrock.plugin import bedrock_plugin
from providers.catalog import load_catalog
from providers.testing.cases import load_cases
from providers.testing.contract import CREDENTIAL, HttpAdapterContract
from providers.types import Secret, Target

CASES = Path(__file__).parent / "cases"
STREAM_TYPE = "application/vnd.amazon.eventstream"


def cases(*names):
    return load_cases(*(CASES / name for name in names), stream_type=STREAM_TYPE)


class BedrockContract(HttpAdapterContract):
    plugin = bedrock_plugin("bedrock", load_catalog().vendors["bedrock"], clock=lambda: 1_790_000_000.5)
    refuses = frozenset({"embed", "models", "relay"})
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"

    def target(self):
        return msgspec.structs.replace(super().target(), model=self.model)


class TestClaude(BedrockContract):
    cases = cases("answers.json", "streams.json")


class TestNova(BedrockContract):
    model = "us.amazon.nova-2-lite-v1:0"
    cases = cases("nova.json")


class TestOthers(BedrockContract):
    """Models that Bedrock hosts for others; Cohere's embedding models take several inputs."""

    model = "meta.llama4-maverick-17b-instruct-v1:0"
    cases = cases("others.json")


class TestEmbeddings(BedrockContract):
    model = "cohere.embed-v4:0"
    refuses = frozenset({"models", "relay"})
    cases = cases("others.json")


class TestSigned(BedrockContract):
    """With a key of AWS the suite holds too: the key's id goes in a header, its secret nowhere."""

    cases = cases("others.json")
    model = "meta.llama4-maverick-17b-instruct-v1:0"

    def options(self):
        return self.plugin.options(
            region="us-east-1", access_key_id=Secret(CREDENTIAL), secret_access_key=Secret("secret-of-the-key")
        )

    def target(self):
        given = super().target()
        return Target(provider=given.provider, model=given.model, base_url=given.base_url)
