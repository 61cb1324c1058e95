"""What embedded mode makes for itself: the folder, the master secret, the schema of the SQLite file.

Law: only with SQLite; a secret is never overwritten, and never made where keys exist that depend on another.
"""

import contextlib
import os
import secrets
from pathlib import Path

import msgspec
from sqlalchemy.engine import make_url

from app.commands.failure import CommandFailed
from app.settings import Settings
from providers.types import Secret

SECRET_FILE = "master.secret"  # noqa: S105 - the name of a file
_MIN_SECRET_BYTES = 32


def embedded_folder(settings: Settings) -> Path:
    """Return the folder of the SQLite file, in which embedded mode keeps what it makes."""
    return database_file(settings).parent


def database_file(settings: Settings) -> Path:
    """Return the SQLite file of the settings."""
    return Path(make_url(settings.database.reveal()).database or "")


def with_master_secret(settings: Settings) -> Settings:
    """Return settings that have a master secret: from the environment, or in embedded mode from its file.

    The file is made if neither it nor the database exists. Raises `CommandFailed` where no secret may be made.
    """
    if settings.master_secret is not None:
        return settings
    if not settings.has_sqlite:
        raise CommandFailed(
            "GATEWAY_MASTER_SECRET is not set. It is the pepper of key hashes and encrypts stored credentials; with "
            "PostgreSQL every process needs the same one. Make it once with `openssl rand -base64 48` and keep it."
        )
    origins = {**settings.origins, "master_secret": str(embedded_folder(settings) / SECRET_FILE)}
    return msgspec.structs.replace(settings, master_secret=_stored_secret(settings), origins=origins)


def _stored_secret(settings: Settings) -> Secret:
    path = embedded_folder(settings) / SECRET_FILE
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        text = _new_secret(path, database=database_file(settings))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"the master secret in {path} cannot be read: {error}") from None
    if len(text.encode()) < _MIN_SECRET_BYTES:
        raise CommandFailed(f"the master secret in {path} is shorter than {_MIN_SECRET_BYTES} bytes; restore it")
    return Secret(text)


def _new_secret(path: Path, *, database: Path) -> str:
    if database.exists():
        raise CommandFailed(
            f"{path} is missing, but {database} exists, and the keys in it depend on that secret. Restore the file, "
            "set GATEWAY_MASTER_SECRET, or move the database away to begin anew."
        )
    text = secrets.token_urlsafe(48)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_once(path, text)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandFailed(f"cannot keep the master secret in {path}: {error.strerror}") from None
    return text


def _write_once(path: Path, text: str) -> None:
    """Write a file that only its owner can read, complete or not at all; raises `FileExistsError`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
