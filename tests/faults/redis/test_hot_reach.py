"""The ways to a server: socket, TLS, credentials, database."""

import asyncio
import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers.redis import RedisProcess

from app.stores.errors import StoreConfigurationError, StoreUnavailable
from app.stores.opening import open_stores


@pytest.fixture(scope="module")
def guarded_redis():
    server = RedisProcess.launch()
    server.execute("ACL", "SETUSER", "worker", "on", ">pw", "~*", "&*", "+@all", "-info")
    server.execute("CONFIG", "SET", "requirepass", "se cret@/%")
    yield server
    server.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for 127.0.0.1 that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@pytest.fixture
async def tls_port(private_redis, proxied, certificate):
    """A port that speaks TLS and passes everything on to Redis."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    return (await proxied(private_redis.port, tls=context)).port


async def exercise(url: str) -> None:
    """Every part of the stores works on this URL."""
    stores = open_stores(url)
    await stores.start()
    assert stores.signals.connected
    assert await stores.leases.acquire("l", holder="h", ttl_s=1)
    assert await stores.usage.claim(limit=1, wait_s=0) == []
    await stores.aclose()


async def test_a_unix_socket(private_redis):
    await exercise(f"unix://{private_redis.socket}?db=3")
    assert "lease:l" not in private_redis.execute("KEYS", "*")


async def test_a_database(private_redis, connect):
    hot = connect(f"redis://127.0.0.1:{private_redis.port}/5")
    await hot.call("SET", "k", "five")

    assert private_redis.execute("GET", "k") is None


async def test_a_database_that_is_not_there(private_redis, connect):
    with pytest.raises(StoreUnavailable, match="DB index is out of range"):
        await connect(f"redis://127.0.0.1:{private_redis.port}/999").start()


async def test_tls_with_an_authority_of_our_own(tls_port, certificate):
    await exercise(f"rediss://127.0.0.1:{tls_port}/0?ssl_ca_certs={certificate / 'cert.pem'}")


async def test_tls_verifies_the_server(tls_port, connect):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of the failed handshake
    with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await connect(f"rediss://127.0.0.1:{tls_port}/0").start()


def test_tls_files_that_are_not_there_are_a_configuration_error():
    with pytest.raises(StoreConfigurationError, match="TLS files"):
        open_stores("rediss://h?ssl_ca_certs=/nowhere.pem")


async def test_a_password(guarded_redis):
    await exercise(f"redis://:se%20cret%40%2F%25@127.0.0.1:{guarded_redis.port}/0")


async def test_a_user_that_may_not_ask_for_information(guarded_redis):
    await exercise(f"redis://worker:pw@127.0.0.1:{guarded_redis.port}/0")


@pytest.mark.parametrize("userinfo", ["", ":wrong@", "worker:wrong@", "nobody:pw@"])
async def test_wrong_credentials(guarded_redis, connect, userinfo):
    with pytest.raises(StoreUnavailable, match=r"NOAUTH|WRONGPASS") as caught:
        await connect(f"redis://{userinfo}127.0.0.1:{guarded_redis.port}/0").start()
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")
