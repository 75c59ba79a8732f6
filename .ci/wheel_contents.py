"""Whether a wheel holds what its users need: `wheel_contents.py WHEEL`, called in the repository."""

import sys
import zipfile
from pathlib import Path

NEEDED = ("hybridfit/py.typed", "hybridfit/cli/__init__.py")
PATTERNS = {
    "library": ("*.toml", "*.cif"),
    "hybridfit": ("**/*.py", "**/*.html", "**/*.css", "**/*.js", "**/*.svg", "**/*.safetensors"),
}


def main(wheel: str) -> int:
    """Print what is missing, or too much; returns the exit code."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = set(NEEDED)
    for folder, patterns in PATTERNS.items():
        for pattern in patterns:
            for path in Path(folder).glob(pattern):
                name = path.as_posix()
                wanted.add(f"hybridfit/_{name}" if folder == "library" else name)
    missing = sorted(wanted - names)
    built = sorted(name for name in names if name.endswith(".nc"))
    for what, found in (("is missing from the wheel", missing), ("is a built library", built)):
        for name in found:
            print(f"{name} {what}")
    print(f"{wheel}: {len(names)} files, {Path(wheel).stat().st_size / 1e6:.1f} MB")
    return 1 if missing or built else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
