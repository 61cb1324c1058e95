"""Scripted upstreams for the transport: raw sockets on both of the event loops that we run on."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httptools
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers.http import Pool
from providers.http.connection import Connection
from providers.http.origin import Origin
from providers.http.request import encode_head, origin_of
from providers.types import Timeouts, UpstreamRequest

Script = Callable[["Peer"], Awaitable[None]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        self.message_done = False
        self.body = bytearray()
        self.url = b""

    async def request(self) -> bytes:
        """Read one request and return its body; raises `EOFError` when the client is gone."""
        self.message_done, self.body, self.url = False, bytearray(), b""
        parser = httptools.HttpRequestParser(self)
        while not self.message_done:
            data = await self.reader.read(65_536)
            if not data:
                raise EOFError
            parser.feed_data(data)
        return bytes(self.body)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.message_done = True

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def ok(self, body: bytes = b"ok", *, extra: bytes = b"") -> None:
        await self.send(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (extra, len(body), body))

    def cut(self) -> None:
        self.writer.transport.abort()


class Upstream:
    """A raw TCP server that runs its script on each connection."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.opened = 0
        self.peers: set[Peer] = set()
        self.port = 0
        self.scheme = "http"
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/v1/chat"

    async def start(self, **options) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, **options)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def quiet(self) -> None:
        """Wait until no client is connected."""
        async with asyncio.timeout(10):
            while self.peers:  # noqa: ASYNC110 - the peers end by themselves
                await asyncio.sleep(0.002)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.opened += 1
        peer = Peer(reader, writer, self.opened)
        self.peers.add(peer)
        try:
            await self.script(peer)
        except (EOFError, ConnectionError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self.peers.discard(peer)
            writer.close()


class Wire(asyncio.Transport):
    """A transport that keeps what is written and closes when told to: the split tests feed its protocol by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.loop = loop
        self.protocol = protocol
        self.written = b""
        self.is_cut = False
        self.is_paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces) -> None:
        self.written += b"".join(pieces)

    def is_closing(self) -> bool:
        return self.is_cut

    def abort(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Bench:
    """One connection on a `Wire`, and an exchange on it."""

    def __init__(self, method: str = "POST") -> None:
        loop = asyncio.get_running_loop()
        request = UpstreamRequest(method=method, url="http://upstream.test/", headers=())
        key = origin_of(request.url)
        self.origin = Origin(key, max_idle=8, max_connections=None, idle_expiry_s=60)
        self.connection = Connection(self.origin, loop=loop)
        self.wire = Wire(loop, self.connection)
        self.connection.connection_made(self.wire)
        head = encode_head(request, origin=key)
        self.exchange = asyncio.ensure_future(self.connection.exchange(head, b"", timeouts=Timeouts()))

    async def feed(self, *parts: bytes) -> None:
        await asyncio.sleep(0)
        for part in parts:
            if self.wire.is_cut:
                return
            self.connection.data_received(part)
            await asyncio.sleep(0)
        await self.settle()

    async def settle(self) -> None:
        """Let the reader do all that it can."""
        for _ in range(6):
            await asyncio.sleep(0)

    async def end(self) -> None:
        if not self.wire.is_cut:
            self.connection.eof_received()
            self.wire.abort()
        await self.settle()


@pytest.fixture
async def upstream() -> AsyncIterator[Callable[..., Awaitable[Upstream]]]:
    """Start an upstream that runs a script on each connection."""
    async with AsyncExitStack() as stack:

        async def start(script: Script, **options) -> Upstream:
            server = Upstream(script)
            await server.start(**options)
            stack.push_async_callback(server.stop)
            return server

        yield start


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool with its defaults, closed after the test."""
    pool = Pool()
    yield pool
    await pool.aclose()


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def post() -> Callable[..., UpstreamRequest]:
    """Make a POST request."""

    def make(url: str, body: bytes = b"{}", *, method: str = "POST", headers=()) -> UpstreamRequest:
        return UpstreamRequest(method=method, url=url, headers=tuple(headers), body=body)

    return make


# Since Python 3.13 certificates are held to RFC 5280, which asks for this and for key identifiers.
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A certificate authority of our own, its certificate in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self.path = str(folder / "authority.pem")
        certificate = self._build(self._name, self._key.public_key())
        certificate = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = certificate.add_extension(_SIGNS_CERTIFICATES, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        signed = certificate.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())
        Path(self.path).write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def server(self, host: str, *, days: int = 2) -> ssl.SSLContext:
        """Return a server's context with a certificate for `host`; one of negative days has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        name = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
        built = self._build(subject, key.public_key(), days=days)
        built = built.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        built = built.add_extension(issuer, critical=False)
        path = self._folder / f"{host}{days}.pem"
        path.write_bytes(
            built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int = 2) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
        )


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
