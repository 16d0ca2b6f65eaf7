"""Where deeprob is and runs: its folders, versions, commit, hardware; kept beside every result."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from deeprob.version import __version__

PACKAGES = (
    "torch lightning hydra-core omegaconf wandb pybullet opencv-python numpy numba scipy torchmetrics "
    "pycocotools trimesh matplotlib jinja2 rich optuna"
).split()


def shipped(folder: str) -> Path:
    """A folder that comes with deeprob: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return package / folder if (package / folder).is_dir() else package.parent / folder


def describe() -> dict[str, Any]:
    """Versions of Python, deeprob and its packages, the git commit, and the machine. Imports torch."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "deeprob": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": dict(_packages()),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


@functools.cache  # a sweep writes it beside every trial
def _packages() -> dict[str, str | None]:
    return {name: version(name) for name in PACKAGES}


TWINS = {"opencv-python": "opencv-python-headless"}  # the same module, without windows


def version(package: str) -> str | None:
    """The installed version of a package or of its twin, None where neither is installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return version(TWINS[package]) if package in TWINS else None


@functools.cache  # what the process has imported does not change with the files
def commit() -> str | None:
    """The commit of the checkout that deeprob runs from, `+` where files differ; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor()
    return platform.machine()
