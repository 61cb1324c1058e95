"""References to what vendors store, found wherever a body can make one."""

import pytest

from app.pipeline.references import find_references

GOOGLE_FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"file_id": {}}, "file_id": 1}}}


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
    ],
)
def test_a_reference_is_found(document, path):
    assert [reference.path for reference in find_references(document)] == [path]


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
        {"messages": "odd", "tools": {"file_id": "x"}, "input": ["file_id"]},
        {"messages": [1, {"content": [1]}], "tools": [1]},
    ],
)
def test_nothing_else_is_one(document):
    assert not find_references(document)
