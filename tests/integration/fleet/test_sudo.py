# SPDX-License-Identifier: Apache-2.0

"""Who logs in becomes root by the real sudo, with a password and a tty."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import threading

from nova_recovery.fleet.ansible import Transport
from nova_recovery.fleet.answer import Answer
from nova_recovery.fleet.fleet import Fleet
from tests import base
from tests.cloud import process
from tests.integration.agent import place
from tests.integration.fleet import reached

PASSWORD = 'k7-only-in-the-file'
_SUDOERS = """\
Defaults requiretty
Defaults lecture=always
op ALL=(ALL) ALL
"""
_PAM = """\
auth required pam_unix.so
account required pam_permit.so
session required pam_permit.so
"""


class Sudo(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.useFixture(reached.Network())
        self.keys = self.useFixture(reached.Keys())
        self.place = self.useFixture(place.Place('c1'))
        etc = self.place.root / 'etc'
        hashed = subprocess.run(
            ['openssl', 'passwd', '-6', '-stdin'],
            input=PASSWORD,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for name, line in (
            ('passwd', 'op:x:1000:1000::/tmp:/bin/sh\n'),
            ('group', 'op:x:1000:\n'),
            ('shadow', f'op:{hashed}:19000:0:99999:7:::\n'),
        ):
            with open(etc / name, 'a') as file:
                file.write(line)
        self.place.write('etc/sudoers', _SUDOERS).chmod(0o440)
        for name in ('sudo', 'other'):
            self.place.write(f'etc/pam.d/{name}', _PAM)
        self.place.write('etc/hosts', '127.0.0.1 localhost c1\n')
        self.useFixture(reached.Server(self.place, self.keys))
        self.inventory = self.keys.folder / 'inventory.json'
        variables = {**self.keys.variables(), 'ansible_user': 'op'}
        self.inventory.write_text(
            json.dumps(
                {
                    'all': {
                        'vars': variables,
                        'hosts': {'c1': {'ansible_host': '127.0.0.1'}},
                    }
                }
            )
        )

    def identify(self, password: str, become: bool = True) -> Answer:
        path = self.keys.folder / 'password'
        path.write_text(password + '\n')
        path.chmod(0o600)
        conf = reached.options(
            inventory=[str(self.inventory)],
            become=become,
            become_password_file=str(path),
            ansible_playbook=os.environ.get('NOVA_RECOVERY_TEST_ANSIBLE'),
        )
        with Fleet(Transport(conf), {}, conf.fleet.home, 60) as fleet:
            return fleet.identify(['c1'])['c1']

    def test_password_of_the_file_and_a_tty_are_given(self) -> None:
        found = self.identify(PASSWORD)
        self.assertEqual(('done', 0), (found.state, found.code), found)
        self.assertEqual(0, found.result['uid'])

    def test_wrong_password_is_said(self) -> None:
        found = self.identify('wrong')
        self.assertEqual(('doubt', 'failed'), (found.state, found.reason))
        self.assertIn('[fleet] become_password_file', found.detail)

    def test_who_does_not_become_root_is_told_to(self) -> None:
        found = self.identify(PASSWORD, become=False)
        self.assertEqual('refused', found.state)
        self.assertIn('[fleet] become', found.detail)

    def test_password_is_in_no_argument(self) -> None:
        conf = self.place.root / 'etc/nova/nova.conf'
        conf.unlink()
        os.mkfifo(conf)
        seen = []

        def blocked() -> bool:
            seen.extend(_everywhere())
            try:
                os.close(os.open(conf, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                return False
            return True

        thread = threading.Thread(target=self.identify, args=(PASSWORD,))
        thread.start()
        process.wait_for(blocked, 60, 'the agent')
        thread.join()
        self.assertTrue(any('ansible-playbook' in text for text in seen))
        self.assertEqual([], [text for text in seen if PASSWORD in text])


def _everywhere() -> list[str]:
    """Arguments and environments of all processes."""
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit():
            for name in ('cmdline', 'environ'):
                try:
                    found.append(
                        (entry / name).read_bytes().decode(errors='replace')
                    )
                except OSError:
                    continue
    return found
