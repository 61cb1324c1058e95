"""References to what vendors store, found wherever a body can make one."""

import pytest

from app.pipeline.mentions import find_mentions
from app.pipeline.references import ITEM, find_references

GOOGLE_FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"file_id": {}}, "file_id": 1}}}


def references(document):
    return find_references(document, find_mentions(document))


def said(*parts):
    return {"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"container": "cntr_1"}, "container"),
        ({"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "thread.previous_message_id"),
        ({"cachedContent": "cachedContents/1"}, "cachedContent"),
        (said({"type": "file", "file": {"file_id": "file-1"}}), "messages[1].content[0].file.file_id"),
        (said({"type": "text", "text": "a"}, {"type": "input_file", "file_id": "f"}), "messages[1].content[1].file_id"),
        ({"tools": [FUNCTION, {"type": "code_interpreter", "container": "cntr_1"}]}, "tools[1].container"),
        ({"tools": [{"type": "x", "container": {"type": "auto", "file_ids": ["f"]}}]}, "tools[0].container.file_ids"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "tools[0].vector_store_ids"),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, "input[0].id"),
        ({"input": [{"content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0].file_id"),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": GOOGLE_FILE}}]}]},
            "contents[0].parts[0].fileData.fileUri",
        ),
        (
            {"contents": [{"parts": [{"file_data": {"file_uri": "gs://bucket/a.png"}}]}]},
            "contents[0].parts[0].file_data.file_uri",
        ),
        (
            {
                "contents": [
                    {"parts": [{"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": "files/a"}}]}}]}
                ]
            },
            "contents[0].parts[0].functionResponse.parts[0].fileData.fileUri",
        ),
        (
            {"system_instruction": {"parts": [{"fileData": {"fileUri": GOOGLE_FILE}}]}},
            "system_instruction.parts[0].fileData.fileUri",
        ),
        (
            said({"type": "tool_result", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}),
            "messages[1].content[0].content[0].source.file_id",
        ),
        (
            said({"type": "document", "source": {"type": "content", "content": [{"source": {"file_id": "f"}}]}}),
            "messages[1].content[0].source.content[0].source.file_id",
        ),
        (
            {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "f"}}]},
            "input[0].output.file_id",
        ),
        ({"prompt": {"id": "pmpt_1", "version": "2"}}, "prompt"),
        (
            {"prompt": {"variables": {"a": {"type": "input_file", "file_id": "f"}}}},
            "prompt.variables.a.file_id",
        ),
        (
            {"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}]},
            "tools[0].environment.container_id",
        ),
        (
            {"input": [{"type": "additional_tools", "tools": [{"type": "code_interpreter", "container": "cntr_1"}]}]},
            "input[0].tools[0].container",
        ),
        ({"tools": [{"type": "mcp", "tunnel_id": "tunnel_1"}]}, "tools[0].tunnel_id"),
        ({"container": {"skills": [{"type": "custom", "skill_id": "skill_1"}]}}, "container.skills[0].skill_id"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "input[0].id"),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, "input[0].id"),
        ({"tools": [{"fileSearch": {"fileSearchStoreNames": ["a"]}}]}, "tools[0].fileSearch.fileSearchStoreNames"),
        ({"tools": [{"retrieval": {"external_api": {"endpoint": "x"}}}]}, "tools[0].retrieval.external_api"),
        (
            {"tools": [{"retrieval": {"vertexRagStore": {"ragResources": []}}}]},
            "tools[0].retrieval.vertexRagStore",
        ),
        (
            said({"type": "image", "image": {"format": "png", "source": {"s3Location": {"uri": "x"}}}}),
            "messages[1].content[0].image.source.s3Location",
        ),
        (said({"type": "image_url", "image_url": {"url": GOOGLE_FILE}}), "messages[1].content[0].image_url.url"),
        (
            said({"type": "image", "source": {"type": "url", "url": GOOGLE_FILE.replace(".com", ".com.").upper()}}),
            "messages[1].content[0].source.url",
        ),
        ({"input": [{"content": [{"type": "input_file", "file_url": GOOGLE_FILE}]}]}, "input[0].content[0].file_url"),
        (
            {"data_sources": [{"parameters": {"authentication": {"type": "system_assigned_managed_identity"}}}]},
            "data_sources",
        ),
    ],
)
def test_a_reference_is_found(document, path):
    assert [reference.path for reference in references(document)] == [path]


@pytest.mark.parametrize(
    "document",
    [
        {},
        said({"type": "text", "text": "file_id"}),
        said({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:", "file_id": None}}),
        {"previous_response_id": None, "conversation": None},
        {"tools": [FUNCTION]},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        {"container": {"skills": [{"type": "anthropic", "skill_id": "pptx"}]}},
        {"contents": [{"parts": [{"fileData": {"fileUri": "https://example.com/a.png"}}]}]},
        {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {"parts": [{"file_id": "mine"}]}}}]}]},
        said({"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "mine"}}),
        {"prompt": "text", "conversation": None},
        {"metadata": {"container": "blue", "file_id": "mine"}},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}]},
        {"input": [{"type": "message", "id": "msg_1", "role": "assistant", "content": []}]},
        {"input": [{"content": [{"type": "output_text", "text": "a", "annotations": [{"file_id": "cited"}]}]}]},
        said({"type": "bash_code_execution_tool_result", "content": {"content": [{"file_id": "made"}]}}),
        {"data_sources": [{"parameters": {"authentication": {"type": "api_key", "key": "mine"}}}]},
        said({"type": "image_url", "image_url": {"url": "http://["}}),
        {"messages": "odd", "tools": "file_id", "input": ["file_id"]},
        {"messages": [1, {"content": [1]}], "tools": [1]},
    ],
)
def test_nothing_else_is_one(document):
    assert not references(document)


def test_an_item_that_its_id_could_stand_for_is_told_from_a_reference():
    items = [
        {"type": "item_reference", "id": "rs_1"},
        {"type": "reasoning", "id": "rs_2"},
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
    ]
    found = references({"input": items})
    assert {(one.kind, one.id) for one in found} == {("item_reference", "rs_1"), (ITEM, "rs_2"), (ITEM, "cntr_1")}
