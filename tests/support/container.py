"""The container of envs/Containerfile, built without a registry of images, and run in a folder.

Its base is a clean root of Debian that debootstrap makes, in place of the image of the same
release. buildah builds it with its isolation `chroot`, which needs root but no daemon.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from support.checkout import REPO

BASE, IMAGE = "localhost/base", "localhost/multical"
RELEASE = "bookworm"
#: Options of pip that name a file or folder of this machine
PATHS = ("cert", "find-links", "constraint")


def impossible() -> str | None:
    """Why no container can be built here, or None."""
    if os.geteuid() != 0:
        return "only root builds containers here"
    for program in ("debootstrap", "buildah"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            return f"{program} is not installed (Debian: {program})"
    return None


class Builder:
    """Builds the image and runs programs in it; all it keeps lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volumes = _pip_of_this_machine(folder)

    def buildah(self, command: str, *arguments: str) -> str:
        """The output of buildah, or a failed test that shows it."""
        storage = ["--root", f"{self.folder}/images", "--runroot", f"{self.folder}/run"]
        return _run("buildah", *storage, command, *arguments).strip()

    def build(self) -> str:
        """Build the image, and return a container of it."""
        root = self.folder / "root"
        environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        _run("debootstrap", "--variant=minbase", RELEASE, str(root), environment=environment)
        empty = self.buildah("from", "scratch")
        self.buildah("copy", "--quiet", empty, f"{root}/", "/")
        self.buildah("commit", "--quiet", "--rm", empty, BASE)
        shutil.rmtree(root)
        mounts = [f"--volume={source}:{target}:ro" for target, source in self.volumes.items()]
        self.buildah(
            "build", "--isolation=chroot", *mounts, "--layers=false", "--build-arg", f"BASE={BASE}",
            "--tag", IMAGE, "--file", f"{REPO}/envs/Containerfile", f"{REPO}/envs",
        )  # fmt: skip
        return self.buildah("from", IMAGE)

    def run(self, container: str, folder: Path, *command: str) -> str:
        """The output of a command in a container, with `folder` as its working directory.

        By chroot in a namespace of its own, since buildah's isolation has a /dev that is read-only.
        """
        root = Path(self.buildah("mount", container))
        environment = self.buildah("inspect", "--format", "{{.OCIv1.Config.Env}}", container)
        lines = [f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
        for target, source in {"/multical": folder, **self.volumes}.items():
            place = f"{root}{target}"
            make = "mkdir -p" if source.is_dir() else "touch"
            lines.append(f"mkdir -p $(dirname {place}) && {make} {place}")
            lines.append(f"mount --bind {source} {place}")
        inside = f"cd /multical && exec {shlex.join(command)}"
        lines.append(
            f"exec chroot {root} env -i {environment.strip('[]')} sh -c {shlex.quote(inside)}"
        )
        return _run("unshare", "--mount", "sh", "-ec", "\n".join(lines))


def _pip_of_this_machine(folder: Path) -> dict[str, Path]:
    """The files that tell pip where its packages are, by their places in a container."""
    told = _run(sys.executable, "-m", "pip", "config", "list")
    config, volumes = ConfigParser(interpolation=None), {}
    config["global"] = {}
    for line in told.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        value = value.strip("'\"")
        if name in PATHS and section in ("global", ":env:") and Path(value).exists():
            config["global"][name] = f"/opt/pip/{name}"
            volumes[f"/opt/pip/{name}"] = Path(value).resolve()
    with open(folder / "pip.conf", "w") as stream:
        config.write(stream)
    return volumes | {"/etc/pip.conf": folder / "pip.conf"}


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-5000:]}{done.stderr[-5000:]}"
    return done.stdout
