"""The reference of `gateway.yaml` for people, in Markdown; `python -m app.settings reference` prints it.

Law: every word of it comes from the structs that read the file, so it cannot say anything else than they do.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from app.settings.environment import (
    ADAPTER_TOKEN,
    ADMIN_KEY,
    FILE_SUFFIX,
    MASTER_SECRET,
    OLD_MASTER_SECRET,
    OWN_SECRETS,
)
from app.settings.model import ProviderSettings, Settings
from app.settings.reading import bare, file_fields, struct_info
from app.settings.schema import json_schema

_SECRETS = {
    MASTER_SECRET: "The pepper of key hashes and the key of stored credentials; 32 bytes or more.",
    OLD_MASTER_SECRET: "The one before, while keys and what is stored are put under the new one.",
    ADMIN_KEY: "An admin key used as it is given; 32 characters or more.",
    ADAPTER_TOKEN: "What callers of `llm-gateway adapter` must present beyond this machine; 32 characters or more.",
    "GATEWAY_CONFIG": "The file, where `--config` does not name one.",
    "GATEWAY_DEBUG": "Show the stack of an error of a command.",
}
_HEAD = """# Configuration reference

Written by `python -m app.settings reference`; a test holds it to the code. `infra/config/gateway.full.yaml` shows the
same keys in a file, `infra/config/gateway.schema.json` is the schema for editors.

- The file is strict: a key that is not here is an error with a suggestion. `llm-gateway check` lists every fault.
- A secret is written as `env:NAME` or `file:/path`, never itself. Money is a decimal string of USD, in quotes.
- Every key is a variable of the environment too, and that wins: `gateway.port` is `GATEWAY_GATEWAY__PORT`. Lists and
  objects are JSON there.
- `kill -HUP`, `llm-gateway config reload` and `POST /admin/v1/config/reload` take the file again; a bad one changes
  nothing."""
_EMPTY: tuple[Any, ...] = ({}, [], None)


def reference(options: Mapping[str, type[msgspec.Struct]]) -> str:
    """Return the reference; `options` are the adapters' own options structs, by the adapter's name."""
    return "\n".join([*_lines(options), ""])


def _lines(options: Mapping[str, type[msgspec.Struct]]) -> Iterator[str]:
    definitions = json_schema()["$defs"]
    yield _HEAD
    yield from _table("The whole file", struct_info(Settings), json_schema())
    for at, info in _objects(struct_info(Settings), at=""):
        yield from _table(f"`{at}`", info, definitions[info.cls.__name__])
    yield from _adapters(options)
    yield "\n## Variables that are no keys\n\n| variable | meaning |\n|---|---|"
    yield from (f"| `{name}` | {meaning} |" for name, meaning in _SECRETS.items())
    yield from (
        f"| `{name}{FILE_SUFFIX}` | A file that holds `{name}`, as containers mount it. |" for name in OWN_SECRETS
    )


def _objects(info: inspect.StructType, *, at: str) -> Iterator[tuple[str, inspect.StructType]]:
    """Yield every object below a struct with its place in the file, parents first."""
    for key, field in file_fields(info).items():
        place = f"{at}.{key}" if at else key
        found = _struct_in(field.type)
        if found is not None:
            suffix, inner = found
            yield place + suffix, inner
            yield from _objects(inner, at=place + suffix)


def _struct_in(info: inspect.Type) -> tuple[str, inspect.StructType] | None:
    """Return the struct that a type holds, and how its place goes on: `.NAME` in a mapping, `[]` in a list."""
    inner = bare(info)
    if isinstance(inner, inspect.StructType):
        return "", inner
    if isinstance(inner, inspect.DictType):
        found = _struct_in(inner.value_type)
        return None if found is None else (f".NAME{found[0]}", found[1])
    if isinstance(inner, (inspect.VarTupleType, inspect.ListType)):
        found = _struct_in(inner.item_type)
        return None if found is None else (f"[]{found[0]}", found[1])
    return None


def _table(title: str, info: inspect.StructType, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## {title}\n\n{' '.join((info.cls.__doc__ or '').split())}\n"
    yield "| key | what may be written | default | meaning |\n|---|---|---|---|"
    for key, field in schema["properties"].items():
        is_required = key in schema.get("required", ())
        yield f"| `{key}` | {_form(field)} | {_default(field, is_required=is_required)} | {_meaning(field)} |"


def _meaning(field: Mapping[str, Any]) -> str:
    examples = field.get("examples", ())
    shown = f" Such as {', '.join(_code(example) for example in examples)}." if examples else ""
    return f"{field.get('description', '')}{shown}".replace("|", "\\|")


def _default(field: Mapping[str, Any], *, is_required: bool) -> str:
    if is_required:
        return "required"
    default = field.get("default")
    return "" if default in _EMPTY or isinstance(default, dict) else _code(default)


def _form(field: Mapping[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_forms(field))) or "anything"


def _forms(field: Mapping[str, Any]) -> Iterable[str]:
    """Yield in words, or as code, each way in which a value may be written."""
    if "anyOf" in field:
        return [form for member in field["anyOf"] for form in _forms(member) if form != "null"] or ["null"]
    if "enum" in field or "const" in field:
        return [_code(value) for value in field.get("enum", (field.get("const"),))]
    kind = field.get("type")
    if isinstance(kind, list):
        return [_WORDS[each] for each in kind]
    if kind == "array":
        return [f"a list of {_plural(_form(field['items']))}"]
    return [_scalar("map" if kind == "object" else "struct" if "$ref" in field else kind, field)]


_WORDS = {
    "struct": "an object",
    "map": "an object by name",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def _scalar(kind: str | None, field: Mapping[str, Any]) -> str:
    if "env:" in field.get("pattern", ""):
        return "`env:NAME` or `file:/path`"
    if field.get("pattern", "").startswith("^[0-9]+"):
        return "USD in quotes"
    word = _WORDS.get(kind or "", "anything")
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum")
    if low is not None and high is not None:
        above = "above " if "exclusiveMinimum" in field else ""
        return f"{word}, {above}{low:g} to {high:_}".replace("_", "\N{NARROW NO-BREAK SPACE}")
    return word


def _plural(form: str) -> str:
    return {"an object": "objects", "text": "texts", "a number": "numbers"}.get(form, form)


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`" if text else '`""`'


def _adapters(options: Mapping[str, type[msgspec.Struct]]) -> Iterator[str]:
    """Yield a table for each options struct, with the adapters that take it."""
    yield "\n## Options of adapters\n\nKeys of a provider that only some adapters know."
    generic = file_fields(struct_info(ProviderSettings))
    by_struct: dict[type[msgspec.Struct], list[str]] = {}
    for adapter, struct in options.items():
        by_struct.setdefault(struct, []).append(adapter)
    for struct, adapters in by_struct.items():
        fields = {key: field for key, field in file_fields(struct_info(struct)).items() if key not in generic}
        if not fields:
            continue
        definitions = json_schema([struct])["$defs"][ProviderSettings.__name__]["properties"]
        yield f"\n### {', '.join(f'`{adapter}`' for adapter in adapters)}"
        yield f"\n{' '.join((struct.__doc__ or '').split())}\n"
        yield "| key | what may be written | default |\n|---|---|---|"
        for key, field in fields.items():
            default = _default(definitions[key], is_required=field.required)
            yield f"| `{key}` | {_form(definitions[key])} | {default} |"
