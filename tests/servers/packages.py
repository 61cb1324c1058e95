"""Packages of other people, installed in a folder of their own: what an entry point is found by."""

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, module: str, *, source: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """Write a module and its dist-info, version 1.0; `entry_points` are `name → value` by group.

    Whoever has the folder on his path, such as by PYTHONPATH, has it installed.
    """
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        line for group, points in entry_points.items() for line in (f"[{group}]", *map(" = ".join, points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
