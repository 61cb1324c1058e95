"""What the image's build proves of the environment that it made. Law: what is broken fails here, not where it runs.

Every compiled module is loaded, because their debug symbols were cut away; so is what begins the program and what sends
traces, so that nothing is missing that they ask for. Time zones and authorities are the base's.
"""

import importlib
import importlib.machinery
import ssl
import sys
import sysconfig
import zoneinfo
from pathlib import Path

_BEGINNINGS = ("app.cli", "app.asgi", "app.server", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
_SUFFIXES = tuple(importlib.machinery.EXTENSION_SUFFIXES)


def compiled_modules(site: Path) -> list[str]:
    """Return the dotted name of every extension module below a folder of packages."""
    found = (path.relative_to(site) for path in site.rglob("*.so"))
    return sorted(".".join([*path.parent.parts, path.name.partition(".")[0]]) for path in found if _is_module(path))


def _is_module(path: Path) -> bool:
    return path.name.endswith(_SUFFIXES)


def main() -> int:
    """Load everything; return the exit code."""
    modules = compiled_modules(Path(sysconfig.get_path("platlib")))
    for name in (*modules, *_BEGINNINGS):
        importlib.import_module(name)
    zoneinfo.ZoneInfo("Europe/Zurich")
    if not ssl.create_default_context().cert_store_stats()["x509_ca"]:
        print("the base image has no certificate authorities", file=sys.stderr)
        return 1
    print(f"{len(modules)} compiled modules load; time zones and authorities are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
