# SPDX-License-Identifier: Apache-2.0

"""The Debian packages: built from the commit, installed by dpkg, and used.

In trees of Debian 12 that have nothing else but what the packages name: what
is built or runs here needs neither git nor pip.
"""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess

import fixtures

from tests.base import TestCase
from tests.hosts import packages, tree

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBIAN = ROOT / 'packaging' / 'debian'
SOURCE = '/build/nova-recovery-1.0.0'
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


def named(field: str) -> set[str]:
    """The packages that a field of control or of a .deb names."""
    names = re.findall(r'^[ ,]*([a-z0-9][a-z0-9.+-]+)', field, re.MULTILINE)
    return set(names) - set(PACKAGES)


def within(root: pathlib.Path, *argv: str, folder: str = '/') -> str:
    """What a program of a tree prints.

    :raises BedError: it failed
    """
    return packages.run(
        *('unshare', '--mount', '--pid', '--fork', '--kill-child'),
        *('sh', '-ec', _WITHIN, 'sh', str(root), folder, *argv),
    )


class TestDeb(TestCase):
    root: pathlib.Path
    installed: pathlib.Path

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        packages.install()
        home = fixtures.TempDir()
        home.setUp()
        cls.addClassCleanup(home.cleanUp)
        folder = pathlib.Path(home.path)
        cls.root = folder / 'build'
        cls.build()
        cls.installed = folder / 'installed'
        cls.install()

    @classmethod
    def build(cls) -> None:
        control = (DEBIAN / 'control').read_text()
        wanted = re.findall(
            r'^Build-Depends(?:-Indep)?:\n((?: .*\n)+)', control, re.MULTILINE
        )
        tree.unpack(
            cls.root, sorted({'build-essential'}.union(*map(named, wanted)))
        )
        source = cls.root / SOURCE.lstrip('/')
        source.mkdir(parents=True)
        archive = subprocess.run(
            ['git', '-C', str(ROOT), 'archive', 'HEAD'],
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        subprocess.run(
            ['tar', '-xC', str(source)], input=archive.stdout, check=True
        )
        shutil.copytree(source / 'packaging' / 'debian', source / 'debian')
        cls.log = within(
            cls.root, 'dpkg-buildpackage', '-us', '-uc', '-b', folder=SOURCE
        )

    @classmethod
    def install(cls) -> None:
        made = sorted((cls.root / 'build').glob('*.deb'))
        needed = {'python3-openstackclient'}
        for deb in made:
            field = packages.run('dpkg-deb', '-f', str(deb), 'Depends')
            needed |= named(field.replace(', ', '\n'))
        tree.unpack(cls.installed, sorted(needed))
        for deb in made:
            shutil.copy(deb, cls.installed)
        within(cls.installed, 'sh', '-c', 'dpkg -i /*.deb')

    def test_the_unit_tests_ran_and_skipped_nothing(self) -> None:
        passed, skipped = (
            int(re.findall(rf'- {word}: (\d+)', self.log)[-1])
            for word in ('Passed', 'Skipped')
        )
        self.assertGreater(passed, 2000)
        self.assertEqual(0, skipped)

    def test_the_plugin_is_there_for_the_unified_client(self) -> None:
        said = within(self.installed, 'openstack', 'recovery', '--help')
        self.assertIn('openstack recovery guide', said)
        said = within(self.installed, 'nova-recovery', 'guide')
        self.assertIn('nova-recovery config check', said)

    def test_what_is_no_module_is_there_too(self) -> None:
        """The journal's migrations, and the template of reports."""
        said = within(
            self.installed, 'nova-recovery', 'run', 'list', '-f', 'json'
        )
        self.assertEqual([], json.loads(said))
        modules = self.installed / 'usr/lib/python3/dist-packages'
        theirs, ours = (
            {
                str(path.relative_to(folder))
                for path in (folder / 'nova_recovery').rglob('*')
                if path.is_file() and path.suffix != '.pyc'
            }
            for folder in (modules, self.root / SOURCE.lstrip('/'))
        )
        self.assertEqual(ours, theirs)

    def test_what_an_operator_finds(self) -> None:
        # asked of the packages: the tree has no manuals
        listed = ''.join(
            packages.run('dpkg-deb', '-c', str(deb))
            for deb in self.installed.glob('*.deb')
        )
        for name in (
            'lib/systemd/system/nova-recovery-snapshot.service',
            'lib/systemd/system/nova-recovery-snapshot.timer',
            'usr/lib/sysusers.d/nova-recovery.conf',
            'usr/share/bash-completion/completions/nova-recovery',
            'usr/share/doc/nova-recovery-doc/html/index.html',
            'usr/share/man/man1/nova-recovery.1.gz',
            'usr/share/man/man5/nova-recovery.conf.5.gz',
        ):
            self.assertIn(f' ./{name}\n', listed)
        said = within(
            self.installed,
            *('stat', '-c', '%a %G %n'),
            '/etc/nova-recovery/nova-recovery.conf',
            '/var/lib/nova-recovery',
        )
        self.assertEqual(
            '640 nova-recovery /etc/nova-recovery/nova-recovery.conf\n'
            '700 root /var/lib/nova-recovery\n',
            said,
        )

    def test_its_configuration_is_read(self) -> None:
        conf = self.installed / 'etc/nova-recovery/nova-recovery.conf'
        text = conf.read_text()
        self.assertIn('\n#shared_instances = ', text)
        conf.write_text(
            text.replace(
                '\n#shared_instances = ', '\nshared_instances = true\n#'
            )
        )
        said = within(
            self.installed, 'nova-recovery', 'config', 'show', '-f', 'json'
        )
        (row,) = (
            row
            for row in json.loads(said)
            if row['Option'] == '[storage] shared_instances'
        )
        self.assertEqual(
            ('True', '/etc/nova-recovery/nova-recovery.conf'),
            (row['Value'], row['From']),
        )
