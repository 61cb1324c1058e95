"""Laws that the sources themselves must keep. Law: they are read, never imported."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for package in ("app", "providers", "migrations")
    for path in (ROOT / package).rglob("*.py")
    if "__pycache__" not in path.parts
)

DOORS = {
    "httpx": ("providers/http/",),
    "redis": ("app/stores/redis/", "app/stores/url.py"),
    "hiredis": ("app/stores/redis/",),
    "sqlalchemy": ("app/db/", "app/domain/", "app/commands/embedded.py", "migrations/"),
    "alembic": ("app/db/", "migrations/"),
    "aiosqlite": ("app/db/",),
    "asyncpg": ("app/db/",),
    "sqlite3": ("app/db/",),
    "granian": ("app/server/",),
    "uvloop": ("app/server/",),
    "prometheus_client": ("app/observability/",),
    "opentelemetry": ("app/observability/",),
    "litestar": ("app/api/", "app/asgi.py", "app/guards/", "app/middleware/", "app/commands/"),
    "httptools": ("providers/http/",),
    "jinja2": ("app/api/dashboard/pages.py",),
    "joserfc": ("app/domain/keys/", "providers/gemini/credentials.py"),
    "cryptography": ("app/domain/", "app/cache/answers.py"),
    "click": ("app/cli/", "app/commands/"),
    "rich_click": ("app/cli/", "app/commands/"),
    "yaml": ("app/settings/", "app/commands/litellm/reading.py", "app/commands/litellm/writing.py"),
    "numpy": ("app/cache/embedding/onnx.py",),
    "onnxruntime": ("app/cache/embedding/onnx.py",),
    "requests": (),
    "urllib3": (),
    "aiohttp": (),
}
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|manager|base|misc)(_|$)")
MUTABLE = {"dict", "list", "set", "deque", "defaultdict", "bytearray", "Counter", "OrderedDict"}
CHANGES = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "popleft", "appendleft", "clear",
    "remove", "discard",
}  # fmt: skip
BUILT = {
    "Lock", "RLock", "Semaphore", "BoundedSemaphore", "Event", "Condition", "Queue", "Thread", "ThreadPoolExecutor",
    "ProcessPoolExecutor", "socket", "socketpair", "new_event_loop", "get_event_loop", "Pool", "ConnectionPool",
    "create_async_engine", "create_engine", "Redis", "AsyncClient", "Client", "Random", "SystemRandom",
}  # fmt: skip


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path):
    return ast.parse(path.read_text(), str(path))


def imports_of(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0], node.lineno


def called(node):
    """Return the last name of what a call calls."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.mark.parametrize("library", DOORS)
def test_a_dependency_enters_by_its_own_doors(library):
    strangers = [
        f"{name_of(path)}:{line}"
        for path in FILES
        for module, line in imports_of(path)
        if module == library and not name_of(path).startswith(DOORS[library] or ("/",))
    ]
    assert not strangers


def test_every_module_says_what_it_is_for():
    assert not [name_of(path) for path in FILES if not ast.get_docstring(tree_of(path))]


def test_files_of_providers_stay_small():
    long = {name_of(path): len(path.read_text().splitlines()) for path in (ROOT / "providers").rglob("*.py")}
    known = {"providers/http/connection.py", "providers/testing/contract.py"}
    assert not {name for name, lines in long.items() if lines > 400} - known


def test_names_mean_something():
    assert not [
        name_of(path)
        for path in FILES
        if any(BANNED_NAMES.search(Path(part).stem) for part in path.relative_to(ROOT).parts)
    ]


def words_of(node):
    return {getattr(each, "id", None) or getattr(each, "attr", "") for each in ast.walk(node)}


def is_floating(node):
    """Whether an expression makes a float of money: a float literal, a true division, or `float()`."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float)
    return (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)) or (
        isinstance(node, ast.Call) and called(node) == "float"
    )


def floats_of_money(path):
    """Yield the lines where a name that ends in `_nusd` takes part in arithmetic with floats, or is one."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else getattr(node.target, "id", "")
            if name.endswith("_nusd") and "float" in words_of(node.annotation):
                yield node.lineno
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(word.endswith("_nusd") for target in targets for word in words_of(target)) and any(
                map(is_floating, ast.walk(node.value))
            ):
                yield node.lineno
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Mult | ast.Add | ast.Sub):
            sides = words_of(node.left) | words_of(node.right)
            if any(word.endswith("_nusd") for word in sides) and any(map(is_floating, ast.walk(node))):
                yield node.lineno


def test_no_float_touches_money():
    # A metric is a float by Prometheus' own format; it is only looked at, never charged.
    shown = {"app/gateway/legs.py", "app/gateway/tally.py"}
    found = {name_of(path): sorted(set(floats_of_money(path))) for path in FILES}
    assert not {name: lines for name, lines in found.items() if lines and name not in shown}
    assert len(found["app/gateway/tally.py"]) <= 1


def module_statements(tree):
    """Yield the statements that run at import, those under `if` and `try` too."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If | ast.Try | ast.With):
            waiting.extend(each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt))
        yield node


def built_at_import(path):
    """Yield the line and name of what a module makes at import that belongs into a worker."""
    for node in module_statements(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.Lambda):
                break
            if isinstance(inner, ast.Call) and called(inner) in BUILT:
                yield node.lineno, called(inner)


def test_nothing_that_belongs_into_a_worker_is_built_at_import():
    assert not {name_of(path): list(built_at_import(path)) for path in FILES if list(built_at_import(path))}


def module_names(path):
    """Return the names that a module gives to mutable objects."""
    names = set()
    for node in module_statements(tree_of(path)):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = node.value
            is_mutable = isinstance(value, ast.List | ast.Set | ast.Dict | ast.ListComp | ast.SetComp | ast.DictComp)
            if is_mutable or (isinstance(value, ast.Call) and called(value) in MUTABLE):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def changes_of(path):
    """Yield the lines at which a function changes an object that its module made."""
    names = module_names(path)
    for function in ast.walk(tree_of(path)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        own = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for node in ast.walk(function):
            changed = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
                changed = node.func.value
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                changed = node.value
            if isinstance(changed, ast.Name) and changed.id in names - own:
                yield node.lineno


def test_no_module_keeps_state():
    assert not {name_of(path): list(changes_of(path)) for path in FILES if list(changes_of(path))}


def test_nothing_is_global():
    found = [name_of(path) for path in FILES if any(isinstance(node, ast.Global) for node in ast.walk(tree_of(path)))]
    assert not found


FAULTY = '''
"""A module."""
import threading
_LOCK = threading.Lock()
_SEEN = {}
_READ = {"a": 1}
def keep(name, cost_nusd: float):
    _SEEN[name] = cost_nusd * 0.5
    total_nusd = int(cost_nusd / 2)
    return _READ.get(name), total_nusd
'''


def test_the_checks_see_what_they_look_for(tmp_path):
    path = tmp_path / "faulty.py"
    path.write_text(FAULTY.lstrip())
    assert list(built_at_import(path)) == [(3, "Lock")]
    assert list(changes_of(path)) == [7]
    assert set(floats_of_money(path)) == {6, 7, 8}
