"""Files as people write them for LiteLLM become files that `check` accepts, and nothing of them is lost in silence."""

import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from app import cli
from app.commands.litellm.conversion import convert
from app.commands.sources import Sources
from providers.registry import Registry

FILES = Path(__file__).parent / "files"
NAMES = sorted(path.stem for path in FILES.glob("*.yaml"))
REGISTRY = Registry()
ACCOUNT = json.dumps(
    {"client_email": "a@b.example", "private_key": "k", "token_uri": "https://oauth2.googleapis.com/token"}
)
SECRETS = (
    "a-literal-key-of-remote",
    "sk-proj-the-key-itself",
    "abc-secret-of-a-header",
    "eYVX-a-password-in-the-file",
    "sk-1234-of-two-regions",
    "sk-bridge-takes-any",
)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that types a command in an empty folder with a bare environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"], "COLUMNS": "200"})

    def type_in(*words, expects=0):
        monkeypatch.setattr(sys, "argv", ["llm-gateway", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
        shown = capsys.readouterr()
        assert code == expects, shown.out + shown.err
        return SimpleNamespace(stdout=shown.out, stderr=shown.err)

    return type_in


def converted(name, environ=None):
    return convert(FILES / f"{name}.yaml", catalog=REGISTRY.catalog, environ=environ or {})


def tree_of(name, environ=None):
    return yaml.safe_load(converted(name, environ).text)


def settings_of(text):
    """Return the settings of a written file where every variable that it names is set, and every key file is there."""
    text = re.sub(r"'file:/[^']*'", "'env:VERTEX_CREDENTIALS'", text)
    environ = dict.fromkeys(re.findall(r"\benv:(\w+)", text), "x" * 40)
    environ |= {name: ACCOUNT for name in environ if "VERTEX" in name}
    environ |= {name: "redis://h:6379/0" for name in environ if "REDIS" in name}
    return Sources(path=None, environ=environ, registry=REGISTRY).read(text.encode())


def served(name):
    """Return, for each model of the written file, its targets by adapter, model and weight."""
    settings = settings_of(converted(name).text)
    return {
        model: [(settings.providers[each.provider].adapter, each.model, each.weight) for each in given.targets]
        for model, given in settings.models.items()
    }


def lost(name, environ=None):
    return {finding.path for finding in converted(name, environ).report.lost}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_accepted(name):
    settings = settings_of(converted(name).text)
    assert [str(fault) for fault in settings.warnings if "is used by no model" in str(fault)] == []
    for model in settings.models.values():
        assert all(target.provider in settings.providers for target in model.targets)


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_copied(name):
    done = converted(name)
    shown = done.text + "\n".join(done.report.lines())
    assert [secret for secret in SECRETS if secret in shown] == []
    assert sum(secret in (FILES / f"{each}.yaml").read_text() for each in NAMES for secret in SECRETS) == len(SECRETS)


def test_two_regions():
    chat = [("azure", "chat-sweden", 6), ("azure", "chat-france", 2), ("openai", "gpt-4o", 1)]
    alone = [("azure", "embed-sweden", 1)]
    assert served("two_regions") == {"chat": chat, "embed": alone, "gpt-3.5-turbo": chat, "quiet": chat}
    tree = tree_of("two_regions")
    assert tree["providers"]["azure-2"]["base_url"] == "https://france.openai.azure.com"
    assert tree["providers"]["openai"]["organization"] == "org-example"
    assert tree["models"]["chat"]["retries"] == 4
    assert tree["models"]["chat"]["timeouts"] == {"total_s": 45, "first_token_s": 12}
    assert "balance" not in tree["models"]["chat"]
    assert lost("two_regions") == {
        "model_list[0].litellm_params.tpm",
        "model_list[3].model_info.base_model",
        "router_settings.model_group_alias.gone",
    }


def test_clouds():
    assert served("clouds") == {
        "claude": [("bedrock", "us.anthropic.claude-opus-4-6-v1:0", 1)],
        "nova": [("bedrock", "amazon.nova-lite-v1:0", 1)],
        "titan-embed": [("bedrock", "amazon.titan-embed-text-v2:0", 1)],
        "profile": [("bedrock", "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc", 1)],
        "gemini-pro": [("vertex", "gemini-2.5-pro", 1)],
        "gemini-flash": [("gemini", "gemini-2.5-flash", 1)],
    }
    tree = tree_of("clouds", {"NOWHERE_REGION": "ap-south-1"})
    regions = {name: provider.get("region") for name, provider in tree["providers"].items()}
    assert regions["bedrock-2"] == "eu-central-1"
    assert regions["bedrock-3"] == "ap-south-1"
    assert tree["providers"]["bedrock-4"]["api_key"] == "env:AWS_BEARER_TOKEN_BEDROCK"
    assert tree["models"]["claude"]["fallbacks"] == {
        "context_length": ["gemini-pro"],
        "content_policy": ["nova", "gemini-flash"],
        "any": ["gemini-flash"],
    }
    assert "fallbacks" not in tree["models"]["gemini-flash"]
    assert lost("clouds") == {
        "model_list[1].litellm_params.aws_profile_name",
        "model_list[5].litellm_params.rpm",
        "model_list[6] (claude-on-vertex)",
        "model_list[7] (films)",
    }


def test_servers_at_home():
    found = served("at_home")
    assert found["small"] == [("ollama", "qwen3:8b", 1)] * 2
    assert found["embed"] == [("ollama", "bge-m3", 1)]
    assert found["large"] == [("vllm", "qwen3-32b", 1)] * 3
    assert found["tools"] == [("openai", "mlx-community/gemma-27b", 1)]
    assert found["zephyr"] == [("openai", "HuggingFaceH4/zephyr-7b-beta", 1)]
    assert found["bare"] == [("openai", "meta-llama/Llama-3.3-70B-Instruct", 1)]
    tree = tree_of("at_home", {"REMOTE_BASE": "https://remote.example/v1/"})
    bases = {name: provider["base_url"] for name, provider in tree["providers"].items()}
    assert bases["openai-2"] == "http://tgi:8001/v1"
    assert bases["openai-3"] == "https://remote.example/v1"
    assert tree["providers"]["openai-3"]["api_key"] == "env:IMPORTED_REMOTE_EXAMPLE_API_KEY"
    assert {tree["providers"][name]["api_key"] for name in ("ollama", "vllm", "openai", "openai-2", "openai-4")} == {
        None
    }
    assert tree["models"]["tools"]["transform"]["default"] == {"chat_template_kwargs": {"enable_thinking": False}}
    assert tree["models"]["small"]["balance"] == "least_busy"
    assert (tree["models"]["small"]["fallbacks"], tree["models"]["large"].get("fallbacks")) == (
        {"any": ["large"]},
        None,
    )
    assert (tree["providers"]["ollama"]["keep_alive"], tree["providers"]["ollama"]["num_ctx"]) == ("8m", 16384)
    assert lost("at_home") == {"model_list[0].litellm_params.mirostat", "router_settings.fallbacks[1]"}


def test_many_vendors():
    assert {name: targets[0][:2] for name, targets in served("many_vendors").items()} == {
        "opus": ("anthropic", "claude-opus-4-6"),
        "haiku": ("anthropic", "claude-haiku-4-5"),
        "fast": ("groq", "llama-3.3-70b-versatile"),
        "le-chat": ("mistral", "mistral-large-latest"),
        "embed": ("mistral", "mistral-embed"),
        "router": ("openrouter", "meta-llama/llama-3.3-70b-instruct:free"),
        "r1": ("huggingface", "deepseek-ai/DeepSeek-R1:together"),
        "phi": ("huggingface", "microsoft/phi-4"),
        "command": ("cohere", "command-a-03-2025"),
        "rerank": ("cohere", "rerank-v3.5"),
        "qwen": ("together", "Qwen/Qwen2.5-72B-Instruct-Turbo"),
        "deep": ("deepseek", "deepseek-chat"),
        "grok": ("xai", "grok-4"),
        "nim": ("nvidia", "meta/llama-3.3-70b-instruct"),
        "whisper": ("openai", "whisper-1"),
        "pictures": ("openai", "gpt-image-1.5"),
    }
    tree = tree_of("many_vendors")
    assert tree["models"]["fast"]["targets"][1]["model"] == "openai/gpt-oss-120b"
    assert tree["models"]["pictures"]["price"] == {"image": "0.04"}
    assert tree["models"]["opus"]["transform"] == {"default": {"thinking": {"type": "adaptive"}}}
    assert tree["cache"] == {"mode": "exact", "ttl_s": 600}
    assert "base_url" not in tree["providers"]["deepseek"]
    assert lost("many_vendors") == {
        "litellm_settings.callbacks",
        "litellm_settings.success_callback",
        "model_list[15] (sonar)",
        "model_list[16] (films)",
        "model_list[19] (talk)",
    }


def test_wildcards_become_the_models_that_the_catalogue_knows():
    found = served("stars")
    assert found["gpt-4o"] == [("azure", "my-gpt-4o", 1)]
    assert found["gpt-4.1"] == [("openai", "gpt-4.1", 1)]
    for prefix, vendor in (("anthropic/", "anthropic"), ("groq/", "groq")):
        known = {model.id for model in REGISTRY.catalog.models(vendor)}
        assert {name.removeprefix(prefix) for name in found if name.startswith(prefix)} == known
        assert known
    assert tree_of("stars")["models"]["gpt-4o"]["fallbacks"] == {"context_length": ["gpt-4.1"]}
    assert lost("stars") == {"finetune_settings", "model_list[3]", "model_list[4]"}


def test_a_server_whose_models_nobody_listed_serves_any():
    tree = tree_of("one_star")
    assert "models" not in tree
    assert tree["providers"] == {
        "openai": {"adapter": "openai", "base_url": "http://127.0.0.1:8000/v1", "api_key": None}
    }


def test_prices_budgets_bodies_and_order():
    tree = tree_of("priced")
    answers = tree["models"]["answers"]
    assert [target["model"] for target in answers["targets"]] == ["gpt-4o", "answers"]
    assert (answers["balance"], answers["retries"]) == ("priority", 1)
    assert answers["price"] == {"input": "3", "output": "10", "cache_read": "1.25"}
    assert answers["transform"] == {"default": {"temperature": 0.2}, "drop": ["logit_bias"]}
    assert answers["timeouts"] == {"total_s": 120, "first_token_s": 20}
    assert tree["models"]["free"]["price"] == {"input": "0", "output": "0"}
    assert tree["budget"] == {"amount": "100.5", "period": "month"}
    assert (tree["cache"], tree["state"]) == ({"mode": "semantic", "ttl_s": 7200}, "env:REDIS_URL")
    assert tree["providers"]["azure"]["api_key"] == "env:AZURE_EU_KEY"
    assert tree["providers"]["openai"]["headers"] == {
        "x-team": "blue",
        "authorization": "env:IMPORTED_AUTHORIZATION_HEADER",
    }
    assert lost("priced") == {
        "environment_variables",
        "model_list[0].litellm_params.additional_drop_params",
        "model_list[0].litellm_params.max_tokens",
        "model_list[0].model_info.tier",
        "model_list[1].litellm_params.max_tokens",
        "model_list[3] (lost)",
        "model_list[3].litellm_params.litellm_credential_name",
    }


def test_what_a_platform_team_writes():
    found = served("platform")
    assert found["chat"] == [("openai", "gpt-4o-mini", 7), ("openai", "gpt-4o-mini", 3)]
    assert found["careful"] == [("openai", "careful", 1)]
    assert found["last"] == [("fireworks", "accounts/fireworks/models/llama-v3p3-70b-instruct", 1)]
    tree = tree_of("platform")
    assert tree["models"]["chat"]["balance"] == "latency"
    assert tree["models"]["chat"]["breaker"] is False
    fallbacks = {name: model.get("fallbacks") for name, model in tree["models"].items()}
    assert fallbacks == {"chat": {"any": ["careful"]}, "careful": {"any": ["last"]}, "last": None}
    keys = [provider["api_key"] for provider in tree["providers"].values()]
    assert keys[:2] == ["env:OPENAI_KEY_ONE", "env:OPENAI_KEY_TWO"]
    assert (tree["state"], tree["cache"]) == ("redis://redis:6380/0", {"mode": "off"})
    assert lost("platform") == {
        "general_settings.alerting",
        "general_settings.custom_auth",
        "general_settings.pass_through_endpoints",
        "general_settings.some_new_setting",
        "guardrails",
        "litellm_settings.guardrails",
        "mcp_servers",
        "model_list[1].litellm_params.tags",
        "router_settings.fallbacks[1]",
        "router_settings.retry_policy",
        "router_settings.routing_strategy_args",
    }


def test_secrets_that_are_written_out_get_variables_that_nothing_else_means(tmp_path):
    keys = ("sk-one", "sk-two", "os.environ/OPENAI_API_KEY", "sk-one", None)
    params = [{"model": "gpt-4o"} | ({"api_key": key} if key else {}) for key in keys]
    params += [
        {"model": "bedrock/amazon.nova-lite-v1:0", "aws_region_name": "us-east-1"}
        | {"aws_access_key_id": f"AKIA-{account}", "aws_secret_access_key": f"secret-{account}"}
        for account in ("a", "b")
    ]
    entries = [{"model_name": f"m{number}", "litellm_params": each} for number, each in enumerate(params)]
    tree = {"model_list": entries, "router_settings": {"redis_url": "redis://:pass-word@h:6379/0"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    text = convert(tmp_path / "config.yaml", catalog=REGISTRY.catalog, environ={}).text
    assert [word for word in ("sk-one", "sk-two", "AKIA", "secret-a", "pass-word") if word in text] == []
    settings_of(text)
    made = yaml.safe_load(text)
    keys = [provider.get("api_key") or provider["secret_access_key"] for provider in made["providers"].values()]
    assert keys == [
        "env:IMPORTED_OPENAI_API_KEY",
        "env:IMPORTED_OPENAI_API_KEY_2",
        "env:OPENAI_API_KEY",
        "env:IMPORTED_AWS_SECRET_ACCESS_KEY",
        "env:IMPORTED_AWS_SECRET_ACCESS_KEY_2",
    ]
    assert made["state"] == "env:IMPORTED_REDIS_URL"
    targets = [model["targets"][0]["provider"] for model in made["models"].values()]
    assert targets == ["openai", "openai-2", "openai-3", "openai", "openai-3", "bedrock", "bedrock-2"]


def test_settings_without_models_leave_the_catalogue_to_be_served():
    assert tree_of("nothing") is None
    assert lost("nothing") == {
        "general_settings.store_model_in_db",
        "router_settings.num_retries",
        "router_settings.timeout",
    }


def test_the_command_writes_the_file_and_its_report(run, tmp_path):
    shown = run("import", "litellm", FILES / "at_home.yaml", "--output", "gateway.yaml")
    assert shown.stdout == ""
    assert "Not carried over:\n  model_list[0].litellm_params.mirostat: " in shown.stderr
    assert "Variables to set:\n  IMPORTED_OPENAI_INVALID_API_KEY\n" in shown.stderr
    assert "finds faults" not in shown.stderr
    written = (tmp_path / "gateway.yaml").read_text()
    assert "#   model_list[0].litellm_params.mirostat: " in written
    os.environ["IMPORTED_OPENAI_INVALID_API_KEY"] = "k"
    run("check", "--config", "gateway.yaml")
    again = run("import", "litellm", FILES / "at_home.yaml", "--output", "gateway.yaml", expects=1)
    assert "--force" in again.stderr
    run("import", "litellm", FILES / "one_star.yaml", "--output", "gateway.yaml", "--force")
    assert "127.0.0.1:8000" in (tmp_path / "gateway.yaml").read_text()


def test_without_an_output_the_file_is_written_and_shown(run, tmp_path):
    shown = run("import", "litellm", FILES / "one_star.yaml", "--strict")
    assert yaml.safe_load(shown.stdout) == tree_of("one_star")
    assert (tmp_path / "gateway.yaml").read_text() == shown.stdout
    again = run("import", "litellm", FILES / "clouds.yaml", expects=1)
    assert "the file gateway.yaml exists; --force replaces it" in again.stderr
    assert again.stdout == ""
    assert (tmp_path / "gateway.yaml").read_text() == shown.stdout


def test_what_is_only_shown_is_not_written(run, tmp_path):
    shown = run("import", "litellm", FILES / "one_star.yaml", "--output", "-")
    assert yaml.safe_load(shown.stdout) == tree_of("one_star")
    assert [*tmp_path.iterdir()] == []


def test_strict_fails_where_something_is_lost(run):
    assert yaml.safe_load(run("import", "litellm", FILES / "clouds.yaml", "--strict", expects=1).stdout)["models"]
    run("import", "litellm", FILES / "clouds.yaml", "--force")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"model_list: [\n", "is not YAML: line 2"),
        (b"- a\n", "holds no object"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"key: sk-secret: [oops\n", "is not YAML"),
        (b"a: &a [*a]\nmodel_list: *a\n", None),
        (b"include: [absent.yaml]\n", "absent.yaml cannot be read"),
        (b"x: " + b"y" * (4 << 20), "is larger than 4 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(run, tmp_path, content, says):
    (tmp_path / "config.yaml").write_bytes(content)
    shown = run("import", "litellm", "config.yaml", expects=1 if says else 0)
    assert (says or "") in shown.stderr
    assert "sk-secret" not in shown.stderr
    assert "Traceback" not in shown.stderr


def test_an_absent_file_is_one_clear_error(run):
    assert "absent.yaml cannot be read" in run("import", "litellm", "absent.yaml", expects=1).stderr


def test_help_teaches(run):
    text = run("import", "litellm", "--help").stdout
    assert "$ llm-gateway import litellm config.yaml --output new/gateway.yaml" in text
    assert "os.environ/NAME" in text
