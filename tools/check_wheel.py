# SPDX-License-Identifier: Apache-2.0

"""Is every file of the package installed, and every entry point there?

Run with the interpreter that the wheel was installed for, outside of the
source tree: ``python tools/check_wheel.py SOURCE_TREE``. pbr takes what git
has; a migration or a template that is missing would be noticed by the first
operator who installs the package, not by the tests in the source tree.
"""

from __future__ import annotations

from importlib import metadata
import subprocess
import sys


def main(source: str) -> int:
    """Return 0 if nothing is missing, else say what is and return 1."""
    tracked = subprocess.run(
        ['git', '-C', source, 'ls-files', '-z', 'nova_recovery'],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split('\0')
    installed = {str(path) for path in metadata.files('nova-recovery') or ()}
    missing = sorted(set(filter(None, tracked)) - installed)
    for path in missing:
        print(f'not installed: {path}', file=sys.stderr)
    print(f'{len(installed)} files installed, {len(missing)} missing')
    broken = [
        f'{point.name}: {error}'
        for point in metadata.distribution('nova-recovery').entry_points
        if (error := load(point))
    ]
    for line in broken:
        print(f'entry point {line}', file=sys.stderr)
    return 1 if missing or broken else 0


def load(point: metadata.EntryPoint) -> str | None:
    """Return why an entry point can't be loaded, None if it can."""
    try:
        point.load()
    except (ImportError, AttributeError) as error:
        return str(error)
    return None


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
