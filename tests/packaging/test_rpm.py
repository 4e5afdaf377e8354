# SPDX-License-Identifier: Apache-2.0

"""The RPM packages, as far as a Debian can tell.

Built by Debian's rpmbuild, with macros in place of EL's (rpm-macros), of what
Debian has of our requirements.
"""

from __future__ import annotations

import pathlib
import re
import shutil

import fixtures

from tests.packaging import trees
from tests.packaging.trees import BuildTestCase, within

HERE = pathlib.Path(__file__).parent
RPM = trees.ROOT / 'packaging' / 'rpm'
MODULES = '/usr/lib/python3.11/site-packages'
#: What rpmlint has against it and its distribution does not: Debian's goes by
#: the rules of others, and what holds a password is not for everybody.
EXCUSED = (
    'bad-manual-page-folder',
    'files-duplicated-waste',
    'lib-package-without-%mklibname',
    'no-dependency-on',
    'no-group-tag',
    'no-packager-tag',
    'no-signature',
    'non-readable /etc/nova-recovery/nova-recovery.conf 640',
    'non-standard-dir-perm /var/lib/nova-recovery 700',
    'non-standard-dir-perm /var/lib/nova-recovery/snapshots 700',
)


class TestRpm(BuildTestCase):
    more = ('python3-installer', 'python3-wheel', 'rpm', 'rpmlint')
    log: str

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        sources = cls.root / 'rpm' / 'SOURCES'
        sources.mkdir(parents=True)
        trees.pack_source(
            sources / 'nova_recovery-1.0.0.tar.gz', 'nova_recovery-1.0.0'
        )
        shutil.copy(RPM / 'nova-recovery.sysusers', sources)
        shutil.copy(RPM / 'nova-recovery.spec', cls.root / 'rpm')
        shutil.copy(HERE / 'rpm-macros', cls.root / 'rpm')
        cls.log = cls.rpmbuild('-ba', '--nodeps')

    @classmethod
    def rpmbuild(cls, *argv: str) -> str:
        return within(
            cls.root,
            *('rpmbuild', '--define', '_topdir /rpm', '--load', 'rpm-macros'),
            *(*argv, 'nova-recovery.spec'),
            folder='/rpm',
        )

    def asked(self, package: str, *argv: str) -> list[str]:
        return within(
            self.root,
            *('rpm', '-qp', *argv),
            f'/rpm/RPMS/noarch/{package}-1.0.0-1.noarch.rpm',
        ).splitlines()

    def test_its_check_runs_tests(self) -> None:
        """Some: all of them run when the .deb is built, on the same tree."""
        self.assertRegex(self.log, r'- Passed: \d\d')
        self.assertIn(' - Skipped: 0\n', self.log)

    def test_there_is_a_source_package(self) -> None:
        made = self.root / 'rpm' / 'SRPMS' / 'nova-recovery-1.0.0-1.src.rpm'
        self.assertTrue(made.exists())

    def test_all_modules_are_there(self) -> None:
        listed = self.asked('python3-nova-recovery', '-l')
        self.assertIn('/usr/bin/nova-recovery', listed)
        theirs = {
            path.removeprefix(f'{MODULES}/nova_recovery/')
            for path in listed
            if path.startswith(f'{MODULES}/nova_recovery/')
            and pathlib.PurePath(path).suffix
            and '__pycache__' not in path
        }
        source = self.useFixture(fixtures.TempDir()).join('source')
        trees.unpack_source(pathlib.Path(source))
        ours = trees.files(pathlib.Path(source), 'nova_recovery')
        self.assertEqual(ours, theirs)

    def test_the_requirements_become_its_own(self) -> None:
        wanted = {
            re.match(r'[\w.-]+', line)[0].lower().replace('.', '-')
            for line in (trees.ROOT / 'requirements.txt')
            .read_text()
            .splitlines()
            if not line.startswith('#')
        }
        made = {
            name.lower().replace('.', '-')
            for line in self.asked('python3-nova-recovery', '--requires')
            for name in re.findall(r'^python3\.11dist\((.*?)\)', line)
        }
        self.assertEqual(wanted, made)

    def test_what_an_operator_finds(self) -> None:
        listed = self.asked(
            'nova-recovery',
            *('--qf', '[%{FILEMODES:octal} %{FILEGROUPNAME} %{FILENAMES}\n]'),
        )
        self.assertEqual(
            [
                '40755 root /etc/nova-recovery',
                '100640 nova-recovery /etc/nova-recovery/nova-recovery.conf',
                *(
                    f'100644 root /usr/{path}'
                    for path in (
                        'lib/systemd/system/nova-recovery-snapshot.service',
                        'lib/systemd/system/nova-recovery-snapshot.timer',
                        'lib/sysusers.d/nova-recovery.conf',
                        'lib/tmpfiles.d/nova-recovery.conf',
                        'share/bash-completion/completions/nova-recovery',
                        'share/man/man1/nova-recovery.1',
                        'share/man/man5/nova-recovery.conf.5',
                    )
                ),
                '40700 root /var/lib/nova-recovery',
                '40700 root /var/lib/nova-recovery/snapshots',
            ],
            [
                line.removesuffix('.gz')
                for line in listed
                if '/usr/share/licenses' not in line
            ],
        )

    def test_rpmlint(self) -> None:
        # its exit code counts what is excused, too
        said = within(
            self.root,
            *('sh', '-c', 'rpmlint /rpm/RPMS/noarch /rpm/SRPMS; true'),
        )
        self.assertIn('4 packages', said)
        faults = [
            line
            for line in re.findall(r'^\S+: E: (.*)', said, re.MULTILINE)
            if not line.startswith(EXCUSED)
        ]
        self.assertEqual([], faults)
