"""Tools that a provider runs are told from those that its client runs."""

import pytest

from app.pipeline.hosted import find_hosted_tool

SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]}, "tools[1]"),
        ({"tools": [{"type": "namespace", "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0]"),
        ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, "tools[0]"),
        ({"tools": [{"type": "shell"}]}, "tools[0]"),
        ({"tools": [{"type": "shell", "environment": "odd"}]}, "tools[0]"),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, "tools[0]"),
        ({"tools": [{"type": "code_execution_20250825", "name": "code"}]}, "tools[0]"),
        ({"tools": [{"functionDeclarations": []}, {"googleSearch": {}}]}, "tools[1].googleSearch"),
        ({"tools": [{"function_declarations": [], "url_context": {}}]}, "tools[0].url_context"),
        ({"tools": [{"type": ["function"]}]}, "tools[0]"),
        ({"mcp_servers": [{"url": "https://example.com"}]}, "mcp_servers"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
def test_what_a_provider_runs_is_found(document, path):
    assert find_hosted_tool(document) == path


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"tools": None, "mcp_servers": [], "web_search_options": None},
        {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "name": "c"}]},
        {"tools": [{"name": "f", "description": "d", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "computer_20250124", "name": "computer"}]},
        {"tools": [{"type": "shell", "environment": {"type": "local"}}, {"type": "apply_patch"}]},
        {"tools": [{"functionDeclarations": [{"name": "f"}], "googleSearch": None}]},
        {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]},
        {"tools": "odd"},
        {"tools": ["odd"]},
    ],
)
def test_what_its_client_runs_is_not(document):
    assert find_hosted_tool(document) is None
