"""Build backend: scikit-build-core, for the pyarrow that the wheel will run beside.

The module is linked against the Arrow libraries inside the pyarrow wheel, whose names carry the
major version. An isolated build would fetch the newest pyarrow whatever the target environment
has; this backend looks there first and asks for exactly that version, and the wheel's metadata
then requires that major (docs/decisions/0001-arrow-from-pyarrow.md).
"""

import sysconfig
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from scikit_build_core import build as _backend
from scikit_build_core.build import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "dynamic_metadata",
    "dynamic_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

# The oldest supported version of each supported major. 25.0.0 crashes when the thread that loaded
# it ends.
_OLDEST = {25: "25.0.1", 26: "26.0.1"}
_RANGE = "pyarrow>=25.0.1,<27"


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _version_in_target(package: str) -> str | None:
    """The version in the environment that is installed into, which an isolated build hides."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    found = metadata.distributions(name=package, path=folders)
    return next((distribution.version for distribution in found), None)


def _pyarrow_to_build_for() -> str:
    version = _version_in_target("pyarrow")
    if version is not None and _major(version) in _OLDEST:
        return _OLDEST[25] if version == "25.0.0" else version
    numpy = _version_in_target("numpy")
    if numpy is not None and _major(numpy) < 2:
        return _OLDEST[25]  # pyarrow 26 cannot be imported beside numpy 1.
    return _OLDEST[max(_OLDEST)]


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """What an isolated build installs first."""
    requires = _backend.get_requires_for_build_wheel(config_settings)
    return [*requires, f"pyarrow=={_pyarrow_to_build_for()}"]


def get_requires_for_build_editable(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """What an isolated editable build installs first."""
    requires = _backend.get_requires_for_build_editable(config_settings)
    return [*requires, f"pyarrow=={_pyarrow_to_build_for()}"]


def dynamic_metadata(settings: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, Any]:
    """The dependencies: those of pyproject.toml and the pyarrow major that is built for."""
    del project
    try:
        version = metadata.version("pyarrow")
    except metadata.PackageNotFoundError:  # A source distribution: any supported one.
        return {"dependencies": [*settings["always"], _RANGE]}
    if version == "25.0.0" or _major(version) not in _OLDEST:
        raise SystemExit(f"barcache cannot be built for pyarrow {version}: {_RANGE} is needed")
    oldest, beyond = _OLDEST[_major(version)], _major(version) + 1
    return {"dependencies": [*settings["always"], f"pyarrow>={oldest},<{beyond}"]}


def dynamic_wheel(settings: Mapping[str, Any]) -> dict[str, bool]:
    """A wheel's dependencies may differ from those of the source distribution it is made from."""
    del settings
    return {"dependencies": True}
