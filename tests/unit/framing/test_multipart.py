"""Forms by byte offset, held against forms that were written from known parts and against another reader."""

import email.parser
import email.policy
import time

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.framing.multipart import BadForm, Form, boundary_of, parse, splice

TYPE = "multipart/form-data; boundary=xYzZY"
NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\'), min_size=1, max_size=8
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
FILENAME = st.from_regex(r"[a-z ;=%é]{1,8}\.(wav|mp3)", fullmatch=True)
BOUNDARY = st.from_regex(r"[0-9A-Za-z'()+_,\-./:=?]{8,40}", fullmatch=True)
PARTS = st.lists(
    st.one_of(
        st.tuples(NAME, TEXT.map(str.encode), st.none()),
        st.tuples(NAME, st.binary(max_size=40), FILENAME),
        st.tuples(NAME.map(lambda name: name + "[]"), TEXT.map(str.encode), st.none()),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda part: part[0],
)


def _write(parts, boundary: str = "xYzZY", *, opening: bytes = b"", closing: bytes = b"\r\n") -> bytes:
    mark = b"--" + boundary.encode()
    written = [opening]
    for name, value, filename in parts:
        file = b"" if filename is None else b'; filename="' + filename.encode() + b'"\r\nContent-Type: audio/wav'
        head = b'Content-Disposition: form-data; name="' + name.encode() + b'"' + file
        written.append(mark + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n")
    return b"".join([*written, mark, b"--", closing])


def _read(body: bytes, form: Form):
    return [(part.name, body[part.value_start : part.value_end], part.filename) for part in form.parts]


def _part(head: bytes, value: bytes = b"v") -> bytes:
    return b"--xYzZY\r\n" + head + b"\r\n\r\n" + value + b"\r\n--xYzZY--\r\n"


# --- Reading


@given(PARTS, BOUNDARY, st.sampled_from([b"", b"\r\n"]), st.sampled_from([b"", b"\r\n", b" \r\n"]))
def test_what_was_written_is_read(parts, boundary, opening, closing):
    body = _write(parts, boundary, opening=opening, closing=closing)
    if body.count(b"--" + boundary.encode()) != len(parts) + 1:
        return
    form = parse(body, f'multipart/form-data; boundary="{boundary}"')
    assert _read(body, form) == parts
    assert all(
        part.text == value.decode() for part, (_, value, file) in zip(form.parts, parts, strict=True) if not file
    )


@given(PARTS)
@settings(max_examples=50)
def test_another_reader_reads_the_same(parts):
    body = _write(parts)
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + TYPE.encode() + b"\r\n\r\n" + body
    )
    assert len(message.get_payload()) == len(parse(body, TYPE).parts)


def test_what_an_sdk_sends_is_read():
    data = {"model": "whisper-1", "timestamp_granularities[]": ["word", "segment"], "prompt": "", "language": "é"}
    files = {"file": ("a b é.wav", b"RIFF\r\n\r\n--\x00\xff", "audio/wav")}
    request = httpx.Request("POST", "http://gateway.invalid", data=data, files=files)
    form = parse(request.read(), request.headers["content-type"])
    assert form.document == data
    (file,) = form.files
    assert (file.name, file.filename, file.content_type) == ("file", "a b é.wav", "audio/wav")
    assert request.content[file.value_start : file.value_end] == b"RIFF\r\n\r\n--\x00\xff"


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        (b'form-data; name="f"; filename="say \\"x\\".wav"', 'say "x".wav'),
        (b"form-data; name=f; filename=x.wav", "x.wav"),
        (b"form-data; name=f; filename*=UTF-8''%c3%a9%20x.wav", "é x.wav"),
        (b"FORM-DATA ; filename=x ; NAME=f", "x"),
        (b'form-data; name="f"; filename=""', ""),
    ],
)
def test_a_file_is_called_what_the_client_called_it(disposition, filename):
    (part,) = parse(_part(b"content-disposition: " + disposition), TYPE).parts
    assert (part.name, part.filename, part.text) == ("f", filename, None)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data;Boundary="a b?c"', b"a b?c"),
        ("multipart/form-data; charset=utf-8; boundary=abc ", b"abc"),
        ('multipart/form-data; boundary="a\\bc"', b"abc"),
        ("multipart/form-data; boundary=" + "x" * 70, b"x" * 70),
    ],
)
def test_a_boundary_is_read(content_type, boundary):
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "says"),
    [
        ("multipart/form-data", "names no boundary"),
        ("multipart/form-data; charset=utf-8", "names no boundary"),
        ("application/json; boundary=x", "not multipart/form-data"),
        ("multipart/mixed; boundary=x", "not multipart/form-data"),
        ("multipart/form-data; boundary=a; boundary=b", "twice"),
        ("multipart/form-data; boundary=", "cannot be read"),
        ('multipart/form-data; boundary=""', "1 to 70"),
        ("multipart/form-data; boundary=" + "x" * 71, "1 to 70"),
        ('multipart/form-data; boundary="x "', "1 to 70"),
        ('multipart/form-data; boundary="x', "cannot be read"),
        ("multipart/form-data boundary=x", "cannot be read"),
        ("multipart/form-data; boundary=é", "not ASCII"),
        ("multipart/form-data-x; boundary=b", "cannot be read"),
    ],
)
def test_a_content_type_without_a_sound_boundary_is_refused(content_type, says):
    with pytest.raises(BadForm, match=says):
        parse(_write([("a", b"b", None)]), content_type)


GOOD = b'content-disposition: form-data; name="a"'
BAD = {
    "empty": (b"", "does not begin with its boundary"),
    "another boundary": (_write([("a", b"b", None)], "other"), "does not begin with its boundary"),
    "a preamble": (b"hello\r\n" + _write([("a", b"b", None)]), "does not begin"),
    "1,001 parts": (_write([(f"a{n}", b"", None) for n in range(1001)]), "more than 100 parts"),
    "101 values of a list": (_write([("a[]", b"", None)] * 101), "more than 100 parts"),
    "a path": (_write([("file", b"x", "../../x")]), "file name of part 1 is a path"),
    "a path of Windows": (_write([("file", b"x", "..\\x")]), "file name of part 1 is a path"),
    "a path in another form": (_part(GOOD + b"; filename*=UTF-8''%2e%2e%2fx"), "file name of part 1 is a path"),
    "the folder itself": (_write([("file", b"x", "..")]), "file name of part 1 is a path"),
    "a NUL in a file name": (_part(GOOD + b"; filename*=UTF-8''x%00.wav"), "file name of part 1 is a path"),
    "a head of 64 KB": (_part(GOOD + b"\r\nx: " + b"y" * 65536), "head of part 1 is over 8192 bytes"),
    "a head without an end": (b"--xYzZY\r\n" + GOOD, "head of part 1 has no end"),
    "no head": (_part(b""), "no header field"),
    "no disposition": (_part(b"content-type: text/plain"), "no content-disposition"),
    "another disposition": (_part(b'content-disposition: attachment; name="a"'), "no content-disposition"),
    "two dispositions": (_part(GOOD + b"\r\n" + GOOD), "content-disposition twice"),
    "two names": (_part(GOOD + b'; name="b"'), "says name twice"),
    "no name": (_part(b"content-disposition: form-data"), "part 1 has no name"),
    "an empty name": (_part(b'content-disposition: form-data; name=""'), "name of part 1"),
    "a long name": (_write([("a" * 257, b"", None)]), "name of part 1 is not 1 to 256"),
    "a quote in a name": (_part(b'content-disposition: form-data; name="a\\"b"'), "name of part 1"),
    "a name that is not UTF-8": (_part(b'content-disposition: form-data; name="\xff"'), "not UTF-8"),
    "a quote that is not closed": (_part(b'content-disposition: form-data; name="a'), "cannot be read"),
    "a folded head": (_part(GOOD + b"\r\n folded"), "no header field"),
    "a bare line feed in a head": (_part(GOOD + b"\nx: y"), "no header field"),
    "a field twice": (_write([("model", b"a", None), ("model", b"b", None)]), "'model' stands twice"),
    "a file twice": (_write([("file", b"a", "a"), ("file", b"b", "b")]), "'file' stands twice"),
    "a field and a file": (_write([("model", b"a", None), ("model", b"b", "b")]), "'model' stands twice"),
    "text that is not UTF-8": (_write([("a", b"\xff", None)]), "value of part 1 is not UTF-8"),
    "a form within": (_part(GOOD + b"\r\ncontent-type: multipart/mixed; boundary=y"), "itself of several parts"),
    "encoded bytes": (_part(GOOD + b"\r\ncontent-transfer-encoding: base64"), "content-transfer-encoding"),
    "no end": (_write([("a", b"b", None)])[:-6], "no end"),
    "an end within the boundary": (_write([("a", b"b", None)])[:-4], "not a line of its own"),
    "something behind": (_write([("a", b"b", None)], closing=b"\r\nmore"), "follows the last boundary"),
    "a boundary behind a bare line feed": (_part(GOOD, b"v\n--xYzZY\r\nmore"), "boundary stands within part 1"),
    "a longer boundary": (_part(GOOD, b"v\r\n--xYzZYa\r\nmore"), "before part 2 is not a line of its own"),
    "no value": (b"--xYzZY\r\n" + GOOD + b"\r\n\r\n--xYzZY--", "boundary stands within part 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_form_is_refused_with_its_fault(name):
    body, says = BAD[name]
    with pytest.raises(BadForm, match=says):
        parse(body, TYPE)


@given(st.data(), PARTS)
def test_a_cut_form_is_never_taken_for_a_whole_one(data, parts):
    body = _write(parts, closing=b"")
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(BadForm):
        parse(body[:cut], TYPE)


@given(st.binary(max_size=200), st.integers(0, 4))
def test_garbage_is_refused_or_read_but_never_breaks(garbage, place):
    body = _write([("a", b"b", None), ("file", b"c", "x.wav")])
    at = len(body) * place // 4
    for mangled in (garbage, body[:at] + garbage + body[at:]):
        try:
            form = parse(mangled, TYPE)
        except BadForm:
            continue
        assert form.parts


def test_a_large_form_is_read_quickly():
    body = _write([("model", b"m", None), ("file", b"\r\n--xYzZ" * 3_000_000, "x.wav")])
    began = time.process_time()
    assert len(parse(body, TYPE).files) == 1
    assert time.process_time() - began < 1


# --- Changing


@given(PARTS, TEXT.filter(lambda value: "--xYzZY" not in value))
def test_setting_a_field_touches_only_that(parts, value):
    body = _write([("model", b"before", None), *[part for part in parts if part[0] != "model"]])
    changed = splice(body, TYPE, put={"model": value})
    assert changed == body.replace(b"before", value.encode(), 1)


@given(PARTS)
def test_setting_nothing_changes_nothing(parts):
    body = _write(parts, opening=b"\r\n")
    assert splice(body, TYPE, put={}, drop={"no such field"}, rename={"nor this": "x"}) == body


@given(PARTS, NAME)
def test_a_new_field_comes_first_and_the_rest_stays(parts, name):
    body = _write([part for part in parts if part[0] != name] or [("a[]", b"", None)])
    changed = splice(body, TYPE, put={name: "value"})
    assert changed.endswith(body)
    assert parse(changed, TYPE).document[name] == "value"


def test_fields_are_dropped_renamed_and_set_in_that_order():
    body = _write([("a", b"1", None), ("b", b"2", None), ("file", b"\xff", "x"), ("c", b"3", None)])
    changed = splice(body, TYPE, drop={"a"}, rename={"b": "c"}, put={"c": "4", "d": "5"})
    form = parse(changed, TYPE)
    assert form.document == {"d": "5", "c": "4"}
    assert _read(changed, form)[2] == ("file", b"\xff", "x")


def test_files_are_left_alone():
    body = _write([("model", b"\xff", "x"), ("a", b"1", None)])
    assert splice(body, TYPE, put={}, drop={"model"}, rename={"model": "b"}) == body


def test_an_unquoted_name_is_renamed():
    body = _part(b"content-disposition: form-data; name=a; x=y")
    assert splice(body, TYPE, put={}, rename={"a": "b c"}) == body.replace(b"name=a", b'name="b c"')


@pytest.mark.parametrize(
    ("put", "says"), [({"model": "x\r\n--xYzZY--"}, "boundary"), ({'a"b': "x"}, "no field"), ({"": "x"}, "no field")]
)
def test_what_no_form_can_hold_is_refused(put, says):
    with pytest.raises(BadForm, match=says):
        splice(_write([("model", b"m", None)]), TYPE, put=put)
