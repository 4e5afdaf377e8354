# SPDX-License-Identifier: Apache-2.0

"""``host uid`` as it is typed, on a machine that is reached by itself.

usermod, groupmod and the files are real; killed at any moment, gone on with,
and taken back.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import fixtures

from tests import base
from tests.integration.agent import place

#: Kills the program before the nth call of a host is carried.
_PROGRAM = """
import os, sys
from nova_recovery.fleet import local
from nova_recovery import shell
left = int(sys.argv.pop(1))
carry = local.Transport.carry
def counted(self, scripts, seconds):
    global left
    left -= 1
    if left == 0 and {before}:
        os.kill(os.getpid(), 9)
    found = carry(self, scripts, seconds)
    if left == 0:
        os.kill(os.getpid(), 9)
    return found
local.Transport.carry = counted
sys.exit(shell.main())
"""
NUMBERS = ('--uid', 'nova=7130', '--gid', 'nova=7131', '--root', '/var')
SET = (
    *('host', 'uid', 'set', 'c1', *NUMBERS, '--yes'),
    *('--override', 'host-claimable=alone'),
)


class Local(base.TestCase):
    # numbers that nobody on the machine runs with: its processes are seen,
    # and with them those of tests that run side by side
    prefix = '7'

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (self.folder / 'nova.conf').write_text('[DEFAULT]\n')
        (self.folder / 'conf').write_text(
            f'[journal]\nconnection = sqlite:///{self.folder}/journal\n'
            '[fleet]\ndriver = local\n'
        )
        self.make()

    def make(self) -> None:
        """A host with files."""
        self.place = self.useFixture(place.Place(processes=False))
        for name in ('passwd', 'group'):
            path = self.place.root / 'etc' / name
            text = path.read_text()
            for old in ('108', '112', '120', '124'):
                text = re.sub(rf'\b{old}\b', f'{self.prefix}{old}', text)
            path.write_text(text)
        self.place.shell(
            'mkdir -p /var/lib/nova/instances/a\n'
            'cp /bin/true /var/lib/nova/t\n'
            'touch /var/lib/nova/instances/a/disk /var/other\n'
            f'chown -R {self.prefix}108:{self.prefix}120 /var/lib/nova\n'
            'chmod 6755 /var/lib/nova/t\n'
            f'chown {self.prefix}112:{self.prefix}124 /var/other'
        )
        self.before = self.seen()

    def seen(self) -> str:
        """Accounts, and owners of all that is not the agent's."""
        files = self.place.shell(
            'find /var -path /var/lib/nova-recovery -prune -o'
            ' -printf "%U:%G %m %p\\n" | sort'
        )
        accounts = [
            (self.place.root / 'etc' / name).read_text()
            for name in ('passwd', 'group')
        ]
        return '\n'.join([*accounts, files])

    def run_program(
        self, *words: str, kill: int = 0, before: bool = False
    ) -> subprocess.CompletedProcess:
        return self.place.run(
            *(sys.executable, '-c', _PROGRAM.format(before=before)),
            *(str(kill), *words),
            *('--recovery-config-file', str(self.folder / 'conf')),
            *('--nova-config-file', str(self.folder / 'nova.conf')),
        )

    def done(self, *words: str, code: int = 0) -> str:
        done = self.run_program(*words)
        said = done.stdout + done.stderr
        self.assertEqual(code, done.returncode, said)
        return said

    def run_id(self) -> str:
        return self.done(*('run', 'list', '-f', 'value', '-c', 'ID')).split()[
            0
        ]

    def assert_right(self) -> None:
        self.assertEqual((7130, '/var/lib/nova'), self.place.account('nova'))
        self.assertEqual(7131, self.place.gid('nova'))
        seen = self.seen()
        self.assertIn('7130:7131 6755 /var/lib/nova/t\n', seen)
        self.assertIn('7130:7131 644 /var/lib/nova/instances/a/disk\n', seen)
        self.assertIn('7112:7124 644 /var/other\n', seen)
        self.assertIsNone(
            re.search('^(7108:|[0-9]+:7120 )', seen, re.MULTILINE)
        )


class ThereAndBack(Local):
    def test_set_verified_and_undone(self) -> None:
        self.assertIn('nova', self.done('host', 'uid', 'show', 'c1'))
        self.assertIn('Nothing was changed', self.done(*SET, '--dry-run'))
        self.assertEqual(self.before, self.seen())
        self.done(*SET)
        self.assert_right()
        run = self.run_id()
        self.done('host', 'uid', 'verify', '--run', run)
        self.place.shell('chown 7108 /var/lib/nova/t')
        said = self.done('host', 'uid', 'verify', '--run', run, code=4)
        self.assertIn('lib/nova/t: owner 7108:7131', said)
        self.place.shell(
            'chown 7130 /var/lib/nova/t; chmod 6755 /var/lib/nova/t'
        )
        meanwhile = '/var/lib/nova/meanwhile'
        self.place.shell(f'touch {meanwhile}; chown 7130 {meanwhile}')
        self.done('run', 'undo', run, '--yes')
        said = self.done('host', 'uid', 'verify', '--run', run, code=4)
        self.assertIn('lib/nova/meanwhile: owner 7130', said)
        self.done(
            *('host', 'uid', 'set', 'c1', '--files-only', '--yes'),
            *('--was-uid', 'nova=7130', '--root', '/var'),
            *('--override', 'host-claimable=alone'),
        )
        self.done('host', 'uid', 'verify', '--run', run)
        self.place.shell(f'rm {meanwhile}')
        self.assertEqual(self.before, self.seen())

    def test_what_is_gone_since_holds_no_host_back(self) -> None:
        self.done(*SET)
        self.place.shell(
            'rm /var/lib/nova/t; chown 7112 /var/lib/nova/instances/a/disk'
        )
        run = self.run_id()
        said = self.done('run', 'undo', run, '--yes')
        self.assertIn('1 gone', said)
        self.assertIn('1 changed-since', said)
        for line in self.before.splitlines():
            if not line.endswith(('/t', '/disk')):
                self.assertIn(line, self.seen())

    def test_accounts_first_and_files_later(self) -> None:
        self.done(*SET, '--accounts-only')
        self.assertEqual(7130, self.place.account('nova')[0])
        self.assertIn('7108:7120 644 /var/lib/nova/instances', self.seen())
        files = ('--was-uid', 'nova=7108', '--was-gid', 'nova=7120')
        self.done(*SET, '--files-only', *files)
        self.assert_right()

    def test_a_number_that_is_not_given_up_is_not_looked_for(self) -> None:
        """Nothing was, and an empty table looked as if nothing was left."""
        words = ('host', 'uid', 'verify', 'c1', '--root', '/var')
        said = self.done(*words, '--was-uid', 'nova=7108', code=1)
        self.assertIn('uid 7108 is what nova has there', said)

    def test_a_number_that_is_taken_is_refused_and_nothing_changes(
        self,
    ) -> None:
        words = [w.replace('nova=7130', 'nova=99') for w in SET]
        self.assertIn('passwd sshd', self.done(*words, code=3))
        self.assertEqual(self.before, self.seen())

    def test_another_machine_of_that_name_is_not_touched(self) -> None:
        self.run_program(*SET, kill=8)
        self.place.write('etc/machine-id', '0' * 32 + '\n')
        said = self.done('run', 'resume', self.run_id(), '--yes', code=4)
        self.assertIn('another machine', said)


class InUse(Local):
    prefix = '8'

    def test_an_account_that_is_in_use_takes_all_back(self) -> None:
        login = subprocess.Popen(
            ['setpriv', '--reuid=8108', '--clear-groups', 'cat'],
            stdin=subprocess.PIPE,
        )
        self.addCleanup(login.communicate)
        said = self.done(*SET, code=4)
        self.assertIn('uid 8108 is in use by', said)
        self.assertIn('So all is taken back', said)
        self.assertEqual(self.before, self.seen())


class Killed(Local):
    """Before or after a call to the host: resumed, and its undo, too."""

    def killed(self, number: int, before: bool = False) -> None:
        killed = self.run_program(*SET, kill=number, before=before)
        self.assertEqual(137, killed.returncode, killed.stderr)
        run = self.run_id()
        self.done('run', 'resume', run, '--yes')
        self.assert_right()
        killed = self.run_program(
            *('run', 'undo', run, '--yes'), kill=number - 6, before=before
        )
        self.assertEqual(137, killed.returncode, killed.stderr)
        self.done('run', 'undo', run, '--yes')
        self.assertEqual(self.before, self.seen())

    def test_when_services_were_stopped(self) -> None:
        self.killed(9)

    def test_when_accounts_were_changed(self) -> None:
        self.killed(11)

    def test_when_owners_were_about_to_be_changed(self) -> None:
        self.killed(12, before=True)

    def test_while_owners_were_changed(self) -> None:
        self.killed(12)
