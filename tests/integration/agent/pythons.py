# SPDX-License-Identifier: Apache-2.0

"""The Pythons of this machine, from 3.6 on."""

from __future__ import annotations

import functools
import pathlib
import re
import shutil
import subprocess
import sys

_LOWEST = (3, 6)


@functools.cache
def found() -> list[str]:
    """One of each minor release, the oldest first; at least this one."""
    candidates = [sys.executable]
    for minor in range(6, 30):
        path = shutil.which(f'python3.{minor}')
        if path is not None:
            candidates.append(path)
    versions = pathlib.Path.home() / '.pyenv' / 'versions'
    candidates += sorted(map(str, versions.glob('*/bin/python3')))
    releases: dict[tuple[int, int], str] = {}
    for path in candidates:
        version = _version(path)
        if version is not None and version >= _LOWEST:
            releases.setdefault(version, path)
    return [releases[version] for version in sorted(releases)]


def _version(path: str) -> tuple[int, int] | None:
    try:
        # pyenv's shims are there for releases that aren't
        done = subprocess.run(
            [path, '-V'], capture_output=True, timeout=30, check=False
        )
    except OSError:
        return None
    match = re.fullmatch(r'Python (\d+)\.(\d+)\.\S+\s*', done.stdout.decode())
    if done.returncode or match is None:
        return None
    return int(match[1]), int(match[2])
