"""`/docs` in both planes: what the page asks for is there, is ours, and nothing else is asked for."""

import gzip
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from app.api.docs import docs_handlers

STATIC = files("app.api.docs") / "static"
DOCUMENT = b'{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":{}}'


class _References(HTMLParser):
    """Collects what a page loads, and what it says in line."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.inline += [name for name in found if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)
        self.urls += [found[name] for name in ("src", "href") if found.get(name)]


@pytest.fixture(scope="module")
def client():
    app = Litestar(docs_handlers(lambda: DOCUMENT), openapi_config=None)
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def references(client) -> _References:
    parser = _References()
    parser.feed(client.get("/docs").text)
    return parser


def test_the_page_is_html_that_a_browser_asks_for_again(client):
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert "$" not in answer.text, "a placeholder was left"


def test_the_page_may_load_nothing_from_elsewhere(client):
    rules = dict(
        rule.strip().partition(" ")[::2] for rule in client.get("/docs").headers["content-security-policy"].split(";")
    )
    assert rules.pop("img-src") == "'self' data:"
    allowed = {name: sources for name, sources in rules.items() if sources != "'none'"}
    assert allowed == {"script-src": "'self'", "style-src": "'self'", "connect-src": "'self'"}
    assert {"default-src", "base-uri", "form-action", "frame-ancestors"} <= rules.keys()


def test_the_page_refers_to_existing_files_of_its_own_only(client, references):
    assert len(references.urls) == 6
    for url in references.urls:
        assert url.startswith("/")
        assert not url.startswith("//")
        assert client.get(url).status_code == 200


def test_the_page_says_nothing_in_line_that_the_policy_would_block(references):
    assert references.inline == []


def test_the_files_are_kept_for_ever_under_a_name_that_changes_with_them(client, references):
    static = [url for url in references.urls if url.startswith("/docs/static/")]
    kinds = [client.get(url).headers["content-type"] for url in static]
    css, js = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
    assert kinds == ["image/png", css, css, js, js]
    for url in static:
        answer = client.get(url)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r"/docs/static/[0-9a-f]{16}/[a-z0-9-]+(\.[a-z0-9]+)+", url)


@pytest.mark.parametrize("name", ["swagger-ui-bundle.js", "swagger-ui.css"])
def test_large_files_are_sent_compressed_to_whoever_takes_that(client, references, name):
    url = next(url for url in references.urls if url.endswith(name))
    plain = client.get(url, headers={"accept-encoding": "identity"})
    zipped = client.get(url, headers={"accept-encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert zipped.content == plain.content
    assert plain.headers["vary"] == zipped.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize("name", ["swagger-ui-bundle.js", "swagger-ui.css"])
def test_the_compressed_files_are_the_plain_ones(name):
    folder = STATIC / "swagger-ui"
    assert gzip.decompress((folder / f"{name}.gz").read_bytes()) == (folder / name).read_bytes()


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"])
def test_the_licence_stands_beside_the_files(name):
    assert (STATIC / "swagger-ui" / name).read_bytes()


def test_our_own_script_asks_for_our_own_document_only():
    script = (STATIC / "page.js").read_text()
    assert 'url: "/openapi.json"' in script
    assert "validatorUrl: null" in script
    assert not re.findall(r"https?://", script)


def test_the_document_is_served(client):
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == DOCUMENT


def test_a_document_that_changes_is_served_changed():
    said = [b"{}", b'{"a":1}']
    with TestClient(Litestar(docs_handlers(lambda: said.pop(0)), openapi_config=None)) as client:
        assert [client.get("/openapi.json").content for _ in range(2)] == [b"{}", b'{"a":1}']


@pytest.mark.parametrize(
    "path", ["/docs/static", "/docs/static/", "/docs/static/0000000000000000/page.js", "/docs/static/../page.py"]
)
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404
