"""What is noted of both bodies: all that passes, up to a bound, and nothing of it is changed."""

from app.pipeline.transcript import MOST_BYTES, Excerpt, Transcript


class Server:
    def __init__(self, *incoming):
        self.incoming = list(incoming)
        self.sent = []

    async def receive(self):
        return self.incoming.pop(0)

    async def send(self, message):
        self.sent.append(message)


def body(data: bytes, *, more: bool = False):
    return {"type": "http.request", "body": data, "more_body": more}


async def test_all_parts_of_both_are_noted_and_passed_on_as_they_are():
    asked = [body(b"a", more=True), body(b"b"), {"type": "http.disconnect"}]
    server = Server(*asked)
    transcript = Transcript(server.receive, server.send)
    assert [await transcript.receive() for _ in range(3)] == asked
    said = [{"type": "http.response.start", "status": 200, "headers": []}, body(b"c", more=True), body(b"d")]
    for each in said:
        await transcript.send(each)
    assert server.sent == said
    assert (transcript.request.data, transcript.answer.data) == (b"ab", b"cd")
    assert transcript.held_bytes == 4


def test_an_excerpt_is_the_beginning_and_knows_how_long_all_is():
    excerpt = Excerpt()
    for _ in range(3):
        excerpt.add(b"x" * 30_000)
    excerpt.add(b"y" * (20 << 20))
    assert excerpt.data == b"x" * MOST_BYTES
    assert excerpt.size_bytes == 90_000 + (20 << 20)


async def test_what_is_sealed_is_held_instead_of_the_bodies():
    server = Server(body(b"x" * 1_000))
    transcript = Transcript(server.receive, server.send)
    await transcript.receive()
    transcript.seal(b"sealed")
    assert transcript.held_bytes == len(b"sealed")
