"""CPU seconds of fast commands (median of nine runs each), and the modules that `import fieldmark` imports."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

HEAVY = ("torch", "torchvision", "timm", "polars", "matplotlib", "sklearn", "PIL", "numpy")


def cpu_s(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def main() -> None:
    for name, command in {
        "python -c pass": [sys.executable, "-c", "pass"],
        "fieldmark --help": [sys.executable, "-m", "fieldmark", "--help"],
        "fieldmark recipes": [sys.executable, "-m", "fieldmark", "recipes"],
        "fieldmark plan": [sys.executable, "-m", "fieldmark", "plan", "imet2019"],
        "import fieldmark": [sys.executable, "-c", "import fieldmark"],
    }.items():
        cpu_s(command)
        print(f"{name:<20} {statistics.median(cpu_s(command) for _ in range(9)):.3f} CPU-s")
    code = f"import sys, fieldmark; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    print(f"loaded by import fieldmark, of {', '.join(HEAVY)}: {loaded}")


if __name__ == "__main__":
    main()
