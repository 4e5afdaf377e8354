# SPDX-License-Identifier: Apache-2.0

"""Is every file of the package installed, and every entry point there?

Run with the interpreter that the wheel was installed for, outside of the
source tree: ``python tools/check_wheel.py SOURCE_TREE``. pbr takes what git
has; a migration or a template that is missing would be noticed by the first
operator who installs the package, not by the tests in the source tree. A
distribution builds without git, from an archive of the sources: what comes of
that has to have the same files.
"""

from __future__ import annotations

from importlib import metadata
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile


def main(source: str) -> int:
    """Return 0 if nothing is missing, else say what is and return 1."""
    tracked = subprocess.run(
        ['git', '-C', source, 'ls-files', '-z', 'nova_recovery'],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split('\0')
    wanted = set(filter(None, tracked))
    installed = {str(path) for path in metadata.files('nova-recovery') or ()}
    missing = False
    for where, files in (
        ('installed', installed),
        ('built from an archive', built_without_git(source)),
    ):
        lost = sorted(wanted - files)
        for path in lost:
            print(f'not {where}: {path}', file=sys.stderr)
        print(f'{len(files)} files {where}, {len(lost)} missing')
        missing = missing or bool(lost)
    broken = [
        f'{point.name}: {error}'
        for point in metadata.distribution('nova-recovery').entry_points
        if (error := load(point))
    ]
    for line in broken:
        print(f'entry point {line}', file=sys.stderr)
    return 1 if missing or broken else 0


def built_without_git(source: str) -> set[str]:
    """The files of a wheel that is built as a distribution builds it."""
    with tempfile.TemporaryDirectory() as name:
        tree, wheels = pathlib.Path(name, 'tree'), pathlib.Path(name, 'wheels')
        tree.mkdir()
        archive = subprocess.run(
            ['git', '-C', source, 'archive', 'HEAD'],
            check=True,
            capture_output=True,
        ).stdout
        subprocess.run(['tar', '-x', '-C', tree], check=True, input=archive)
        subprocess.run(
            [sys.executable, '-m', 'build', '--wheel', '--no-isolation']
            + ['--outdir', wheels, tree],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, 'PBR_VERSION': '1.0.0'},
        )
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as opened:
            return set(opened.namelist())


def load(point: metadata.EntryPoint) -> str | None:
    """Return why an entry point can't be loaded, None if it can."""
    try:
        point.load()
    except (ImportError, AttributeError) as error:
        return str(error)
    return None


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
