"""Files that are modelled on deployments of others: what serves them here, and what is said to be lost."""

from pathlib import Path

import pytest
import yaml

from app.commands import import_litellm

FILES = Path(__file__).parent / "files"


@pytest.fixture
def imported(monkeypatch):
    """Return a function that imports a file by its name: its tree, and the report as one text."""

    def run(name, **environ):
        monkeypatch.setattr(import_litellm.os, "environ", environ)
        done = import_litellm.run(FILES / f"{name}.yaml")
        return yaml.safe_load(done.text), "\n".join(done.report)

    return run


def served(tree):
    return {
        name: [(each["provider"], each["model"], each.get("weight", 1)) for each in model["targets"]]
        for name, model in tree["models"].items()
    }


def lost(report):
    """Return the paths of what is not carried over."""
    text = report.partition("Carried over; please look at:")[0].removeprefix("Not carried over:\n")
    return {line.strip().partition(": ")[0] for line in text.splitlines()}


@pytest.mark.parametrize("name", ["government_azure", "hyperscalers", "many_teams", "workstation"])
def test_check_finds_no_fault_in_what_is_written(name, imported):
    _, report = imported(name)
    assert "finds faults" not in report
    assert "Variables to set:" in report


def test_azure_with_openai_behind_it(imported):
    tree, report = imported(
        "government_azure",
        AZURE_OPENAI_API_BASE="https://city.openai.azure.com/",
        AZURE_OPENAI_API_VERSION="2024-10-21",
    )
    assert served(tree) == {
        "city-embedding": [("azure", "text-embedding-3-large", 1)],
        "city-default": [("azure", "gpt-large", 3), ("azure-2", "gpt-large-2", 1)],
        "city-default-order-2": [("openai", "gpt-4o", 1)],
        "city-plain-language": [("azure", "gpt-large", 1)],
        "city-small": [("azure-3", "gpt-small", 1)],
    }
    azure = {name: provider for name, provider in tree["providers"].items() if provider["adapter"] == "azure"}
    assert [(each["base_url"], each["api_version"]) for each in azure.values()] == [
        ("https://city.openai.azure.com", "2024-10-21"),
        ("https://second.openai.azure.com", "2025-04-01-preview"),
        ("https://apim.city.example/ai", "2024-10-21"),
    ]
    assert tree["models"]["city-default"]["fallbacks"] == {"any": ["city-default-order-2", "city-small"]}
    assert tree["models"]["city-default"]["timeouts"] == {"total_s": 300}
    assert "model_list[2].litellm_params.timeout: is 300 here" in report
    assert lost(report) == {
        "model_list[0].model_info.base_model",
        *(
            f"model_list[5].litellm_params.{key}"
            for key in ("azure_ad_token", "tenant_id", "client_id", "client_secret")
        ),
        "litellm_settings.context_window_fallbacks[0]",
        "litellm_settings.success_callback",
        "litellm_settings.failure_callback",
        "general_settings.store_model_in_db",
        "general_settings.user_header_name",
    }


def test_bedrock_and_vertex_with_shared_credentials(imported):
    tree, report = imported("hyperscalers", AWS_REGION_NAME="us-east-2", GOOGLE_CLOUD_PROJECT="p")
    assert served(tree) == {
        "claude-sonnet": [
            ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 2),
            ("bedrock-2", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 1),
        ],
        "claude-haiku": [("bedrock-3", "us.anthropic.claude-haiku-4-5-20251001-v1:0", 1)],
        "nova-micro": [("bedrock", "us.amazon.nova-micro-v1:0", 1)],
        "gemini-latest": [("vertex", "gemini-2.5-pro", 1)],
        "gemini-flash": [("vertex-2", "gemini-2.5-flash", 1)],
    }
    assert tree["providers"]["bedrock-3"] == {
        "adapter": "bedrock",
        "region": "us-east-2",
        "api_key": "env:AWS_BEARER_TOKEN_BEDROCK",
    }
    assert tree["models"]["claude-sonnet"]["timeouts"] == {"first_token_s": 30}
    assert lost(report) == {
        "model_list[0].model_info.supported_environments",
        "model_list[1].litellm_params.aws_role_name",
        "model_list[1].litellm_params.aws_session_name",
        "model_list[3] (bedrock/batch-haiku)",
        "model_list[7] (imagen)",
        "model_list[8] (clip)",
        "credential_list[2] (default_openai)",
        "litellm_settings.custom_provider_map",
    }


def test_a_workstation_of_servers_of_its_own(imported):
    tree, report = imported("workstation", OPENAI_BASE_URL="https://hosted.example/v1", MODEL_OF_THE_ASSISTANT="large")
    assert served(tree) == {
        "coder": [("openai", "Qwen2.5-Coder-32B-Instruct-AWQ", 1)],
        "gpt-4o": [("openai", "Qwen2.5-Coder-32B-Instruct-AWQ", 1)],
        "local-chat": [("ollama", "qwen3.5:0.8b", 1), ("ollama-2", "qwen3.5:0.8b", 2)],
        "text": [("ollama", "qwen3:4b", 1)],
        "embedding": [("ollama", "nomic-embed-text", 1)],
        "deep": [("openai-2", "opus", 1)],
        "assistant": [("openai-3", "large", 1)],
    }
    assert tree["models"]["local-chat"]["balance"] == "least_busy"
    assert tree["models"]["text"]["price"] == {"input": "0", "output": "0"}
    assert tree["models"]["deep"]["fallbacks"] == {"any": ["coder", "local-chat"]}
    assert lost(report) == {
        "model_list[2].litellm_params.tpm",
        "model_list[3].litellm_params.tpm",
        "router_settings.fallbacks[1]",
        *(
            f"litellm_settings.{key}"
            for key in ("prometheus_initialize_budget_metrics", "langfuse_default_tags", "default_model")
        ),
        "general_settings.custom_headers",
        "general_settings.user_header_mappings",
        "cache_config",
    }


def test_many_teams_and_replicas(imported):
    tree, report = imported("many_teams")
    assert (tree["state"], tree["cache"], tree["budget"]) == (
        "env:REDIS_URL",
        {"mode": "exact", "ttl_s": 1},
        {"amount": "500", "period": "month"},
    )
    assert "set REDIS_URL to `rediss://router:$REDIS_PASSWORD@$REDIS_HOST:6380/0`" in report
    assert "`redis://:$CACHE_PASSWORD@$CACHE_HOST:$CACHE_PORT/0` is another Redis" in report
    assert tree["models"]["gpt-4"]["balance"] == "least_busy"
    assert tree["models"]["claude-opus"]["retries"] == 10
    assert {"claude-opus": {"any": ["claude-haiku"]}, "claude-haiku": {"any": ["gpt-4"]}}.items() <= {
        name: model.get("fallbacks") for name, model in tree["models"].items()
    }.items()
    assert {
        "model_list[0].litellm_params.tags",
        "model_list[0].litellm_params.max_budget",
        "model_list[1].litellm_params.tags",
        "litellm_settings.tag_budget_config",
        "litellm_settings.cache_params.host",
        "litellm_settings.content_policy_fallbacks[0]",
        "router_settings.enable_tag_filtering",
        "router_settings.provider_budget_config",
        "router_settings.retry_policy",
        "router_settings.optional_pre_call_checks",
        "general_settings.litellm_jwtauth",
        "callback_settings",
        "environment_variables",
    } <= lost(report)
    assert len(lost(report)) == 38
