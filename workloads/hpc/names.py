"""Which workloads are programs and not networks; nothing heavy is loaded to tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sim.named_files import shipped_files

FOLDER: Final = Path(__file__).parent
KIND: Final = re.compile(r"^kind\s*:", re.MULTILINE)


def is_program(name_or_path: str) -> bool:
    """True for a program that comes with the package, and for a YAML file that says of which kind it is."""
    if name_or_path in shipped_files(FOLDER):
        return True
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    return KIND.search(path.read_text(encoding="utf-8", errors="replace")) is not None
