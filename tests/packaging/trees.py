# SPDX-License-Identifier: Apache-2.0

"""Trees of Debian 12 in which packages are built, installed and used.

What is made of nothing but Debian's packages is made once, and copied.
"""

from __future__ import annotations

from collections.abc import Iterable
import hashlib
import pathlib
import re
import shutil
import subprocess
from typing import ClassVar

import fixtures

from tests.base import TestCase
from tests.hosts import packages, tree

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBIAN = ROOT / 'packaging' / 'debian'
#: Ours: what Debian has is asked for, these are made here.
PACKAGES = ('nova-recovery', 'nova-recovery-doc', 'python3-nova-recovery')

#: What a build machine has: its root is a mount, and there are terminals.
_WITHIN = """
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
cd "$1"
shift
exec chroot . sh -ec 'cd "$1"; shift; exec "$@"' sh "$@"
"""


def within(root: pathlib.Path, *argv: str, folder: str = '/') -> str:
    """What a program of a tree prints.

    :raises BedError: it failed
    """
    return packages.run(
        *('unshare', '--mount', '--pid', '--fork', '--kill-child'),
        *('sh', '-ec', _WITHIN, 'sh', str(root), folder, *argv),
    )


def made(root: pathlib.Path, include: Iterable[str]) -> None:
    """A tree with these packages, at this path.

    :raises BedError: they can't be had
    """
    packages.install()
    home = tree.state_directory()
    home.mkdir(parents=True, exist_ok=True)
    words = ' '.join(sorted(set(include)))
    kept = home / f'packages-{hashlib.sha256(words.encode()).hexdigest()[:12]}'
    with tree.locked(home / 'packages.lock'):
        if not kept.exists():
            unfinished = home / 'packages-unfinished'
            tree.unpack(unfinished, words.split())
            unfinished.rename(kept)
        packages.run('cp', '-a', '--reflink=auto', str(kept), str(root))


def add(root: pathlib.Path, *names: str) -> None:
    """Debian's packages, into a tree of one's own."""
    within(root, 'apt-get', '-qq', 'update')
    within(
        root,
        *('env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq'),
        *('install', '-y', '--no-install-recommends', *names),
    )


def named(field: str) -> set[str]:
    """The packages of Debian that a field of control or of a .deb names."""
    names = re.findall(r'^[ ,]*([a-z0-9][a-z0-9.+-]+)', field, re.MULTILINE)
    return set(names) - set(PACKAGES)


def to_build() -> set[str]:
    """What our packages are built with."""
    wanted = re.findall(
        r'^Build-Depends(?:-Indep)?:\n((?: .*\n)+)',
        (DEBIAN / 'control').read_text(),
        re.MULTILINE,
    )
    return {'build-essential'}.union(*map(named, wanted))


def unpack_source(folder: pathlib.Path) -> None:
    """The commit, as a distribution gets it: without git."""
    folder.mkdir(parents=True)
    archive = subprocess.run(
        ['git', '-C', str(ROOT), 'archive', 'HEAD'],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    subprocess.run(
        ['tar', '-xC', str(folder)], input=archive.stdout, check=True
    )


def pack_source(archive: pathlib.Path, prefix: str) -> None:
    """The same, as a tarball."""
    subprocess.run(
        ['git', '-C', str(ROOT), 'archive', f'--prefix={prefix}/']
        + [f'--output={archive}', 'HEAD'],
        check=True,
    )


def with_debian(folder: pathlib.Path) -> None:
    """What Debian's tools expect where they expect it."""
    unpack_source(folder)
    shutil.copytree(folder / 'packaging' / 'debian', folder / 'debian')


def files(root: pathlib.Path, below: str) -> set[str]:
    """The files below a directory of a tree, but for compiled ones."""
    return {
        str(path.relative_to(root / below))
        for path in (root / below).rglob('*')
        if path.is_file() and path.suffix != '.pyc'
    }


class BuildTestCase(TestCase):
    """Tests of what is built in a tree, once for all of them.

    :cvar more: packages of Debian besides those that ours are built with
    """

    more: ClassVar[tuple[str, ...]] = ()
    root: pathlib.Path

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        home = fixtures.TempDir()
        home.setUp()
        cls.addClassCleanup(home.cleanUp)
        cls.root = pathlib.Path(home.path) / 'build'
        made(cls.root, to_build())
        if cls.more:
            add(cls.root, *cls.more)
