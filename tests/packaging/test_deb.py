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

import fixtures

from tests.hosts import packages
from tests.packaging import trees
from tests.packaging.trees import BuildTestCase, within

SOURCE = '/build/nova-recovery-1.0.0'
#: What failed stands last, whatever was printed after it.
_BUILD = r"""
dpkg-buildpackage -us -uc -b > ../log 2>&1 || {
    tail -n 5 ../log
    grep -E '\.\.\. (FAILED|SKIPPED)$' ../log
    exit 1
}
"""
#: 0 is best, 10 is none at all; what is left is its network, which it needs.
EXPOSED = 3.5


class TestDeb(BuildTestCase):
    installed: pathlib.Path

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.build()
        cls.installed = cls.root.with_name('installed')
        cls.install()

    @classmethod
    def build(cls) -> None:
        trees.with_debian(cls.root / SOURCE.lstrip('/'))
        within(cls.root, 'sh', '-c', _BUILD, folder=SOURCE)
        cls.log = (cls.root / 'build' / 'log').read_text()

    @classmethod
    def install(cls) -> None:
        made = sorted((cls.root / 'build').glob('*.deb'))
        needed = {'python3-openstackclient'}
        for deb in made:
            field = packages.run('dpkg-deb', '-f', str(deb), 'Depends')
            needed |= trees.named(field.replace(', ', '\n'))
        trees.made(cls.installed, needed)
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
        self.assertEqual(
            trees.files(self.root, f'{SOURCE[1:]}/nova_recovery'),
            trees.files(
                self.installed, 'usr/lib/python3/dist-packages/nova_recovery'
            ),
        )

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
            'usr/lib/tmpfiles.d/nova-recovery.conf',
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

    def test_the_unit_may_little(self) -> None:
        said = within(
            self.installed,
            *('env', 'SYSTEMD_COLORS=0', 'SYSTEMD_URLIFY=0'),
            *('systemd-analyze', 'security', '--offline=true', '--no-pager'),
            '/lib/systemd/system/nova-recovery-snapshot.service',
        )
        (exposed,) = re.findall(r'exposure level .*: ([\d.]+)', said)
        self.assertLessEqual(float(exposed), EXPOSED)

    def test_systemd_knows_all_that_the_units_say(self) -> None:
        # what it does not know it tells, ignores, and ends well
        said = within(
            self.installed,
            *('sh', '-c', 'systemd-analyze verify --man=no "$@" 2>&1', 'sh'),
            '/lib/systemd/system/nova-recovery-snapshot.service',
            '/lib/systemd/system/nova-recovery-snapshot.timer',
        )
        self.assertNotIn('nova-recovery', said)

    def test_the_documentation_needs_no_network(self) -> None:
        # from the package: the tree leaves out what is documentation
        (deb,) = self.installed.glob('nova-recovery-doc*.deb')
        folder = self.useFixture(fixtures.TempDir()).path
        packages.run('dpkg-deb', '-x', str(deb), folder)
        pages = list(pathlib.Path(folder).rglob('*.html'))
        self.assertGreater(len(pages), 90)
        for page in pages:
            self.assertNotRegex(
                page.read_text(),
                r'(src|href)="(https?:)?//[^"]*\.(js|css)|googletagmanager',
            )

    def test_autopkgtest(self) -> None:
        """What Debian runs after each upload of ours, or of a library."""
        trees.add(self.installed, 'autopkgtest')
        trees.with_debian(self.installed / 'source')
        said = within(
            self.installed,
            *('sh', '-c', 'autopkgtest /*.deb /source -- null 2>&1'),
        )
        self.assertRegex(said, r'(?m)^installed +PASS$')
        self.assertIn('== all is well', said)
