"""The image of Docker cells: built from Dockerfile.sandbox, and found again by what it was built from."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import docker
import docker.errors
from docker.models.images import Image

from sandbox.base import SandboxUnavailableError
from sandbox.local import OFFERED

REPOSITORY = "assay-sandbox"
FLAVOURS = ("full", "python")
"""Every language, or Python alone; the first that is there is taken."""
PACKAGES_LABEL = "assay.sandbox.packages"
_ROOT = Path(__file__).parent.parent
_DOCKERFILE = "Dockerfile.sandbox"
_VERSIONS = (
    "import importlib.metadata as m, json, sys\n"
    "found = {}\n"
    "for name in sys.argv[1:]:\n"
    "    try: found[name] = m.version(name)\n"
    "    except m.PackageNotFoundError: pass\n"
    "print(json.dumps(found))"
)


def _sources() -> list[Path]:
    return [_ROOT / _DOCKERFILE, *sorted((_ROOT / "sandbox" / "cell").rglob("*.py"))]


@lru_cache(maxsize=1)
def tag() -> str:
    """What the image for this version is called, without its flavour: the hash of what goes into it."""
    digest = hashlib.sha256()
    for path in _sources():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def name(flavour: str) -> str:
    """The full name of the image of a flavour."""
    return f"{REPOSITORY}:{tag()}-{flavour}"


def find(client: docker.DockerClient, image: str | None) -> Image:
    """The image to use: the one named, else the one built for this version. Raises `SandboxUnavailableError`."""
    names = [image] if image else [name(flavour) for flavour in FLAVOURS]
    for each in names:
        try:
            return client.images.get(each)
        except docker.errors.ImageNotFound:
            continue
    wanted = f"no image {image!r}: check ASSAY_SANDBOX_IMAGE" if image else "the sandbox's image is not built"
    raise SandboxUnavailableError(f"a Docker engine answers, but {wanted}; 'assay sandbox build' builds it")


def packages(image: Image) -> dict[str, str]:
    """The Python packages that an image offers, each with its version, as its label has them."""
    found: dict[str, str] = json.loads(image.labels.get(PACKAGES_LABEL, "{}"))
    return found


def build(flavour: str, base: str | None, log: Callable[[str], None]) -> str:
    """Build the image, saying through `log` what is being done; returns its name.

    `base` is the image to build on, by default Debian's. Raises `SandboxUnavailableError` where it cannot be built.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"no flavour {flavour!r}; there are {', '.join(FLAVOURS)}")
    target = name(flavour)
    arguments = {"FLAVOUR": flavour} | ({"BASE": base} if base else {})
    try:
        client = docker.from_env(timeout=3600)
        try:
            _build(client, target, arguments, {}, log)
            said = client.containers.run(
                target, ["/usr/bin/python3", "-c", _VERSIONS, *OFFERED], network_mode="none", remove=True
            )
            # again with what was found: every layer is there, so this only writes the label
            _build(client, target, arguments, {PACKAGES_LABEL: said.decode().strip()}, lambda _: None)
        finally:
            client.close()
    except docker.errors.DockerException as error:
        raise SandboxUnavailableError(f"the image cannot be built: {error}") from error
    return target


def _build(
    client: docker.DockerClient,
    target: str,
    arguments: dict[str, str],
    labels: dict[str, str],
    log: Callable[[str], None],
) -> None:
    steps = client.api.build(
        fileobj=_context(), custom_context=True, dockerfile=_DOCKERFILE, tag=target, buildargs=arguments,
        labels=labels, rm=True, decode=True, network_mode="host",
    )  # fmt: skip
    for step in steps:
        if "error" in step:
            raise docker.errors.BuildError(step["error"].strip(), [])
        if line := step.get("stream", "").strip():
            log(line)


def _context() -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in _sources():
            entry = archive.gettarinfo(path, str(path.relative_to(_ROOT)))
            entry.uid = entry.gid = 0
            entry.mtime = 0  # the same content is the same layer
            entry.mode = 0o644
            with path.open("rb") as file:
                archive.addfile(entry, file)
    packed.seek(0)
    return packed
