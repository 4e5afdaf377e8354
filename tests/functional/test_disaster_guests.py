# SPDX-License-Identifier: Apache-2.0

"""The fifth step of a disaster on guests that are real, by the real ssh."""

from __future__ import annotations

import pathlib
from typing import ClassVar

from tests.functional.disaster import DisasterTest
from tests.guests.guest import Guest
from tests.guests.image import build, Image

#: One that runs again, and one that was off and stays so.
RUNS, OFF = 'at3-ui01', 'at3-ui05'


class TestDisasterGuests(DisasterTest):
    """A guest with its server's UUID stands beside the pretended one."""

    image: ClassVar[Image]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.image = build()

    def setUp(self) -> None:
        super().setUp()
        self.guest = Guest(
            RUNS, self.image, self.home, uuid=self.state.uuid(RUNS)
        )
        self.addCleanup(self.guest.stop)
        self.guest.start()
        self.configure(
            snapshot__directory=self.home,
            disaster__quiet=1,
            guests__config_file=self.ssh_config(),
        )
        self.guest.wait_booted()

    def ssh_config(self) -> pathlib.Path:
        """What an operator has: an alias, a key, the host's key."""
        port, known = self.guest.port, self.home / 'known_hosts'
        known.write_text(f'[127.0.0.1]:{port} {self.image.host_key}\n')
        path = self.home / 'ssh_config'
        path.write_text(f"""
Host inside
  HostName 127.0.0.1
  Port {port}
  User root
  IdentityFile {self.image.key}
  IdentitiesOnly yes
  UserKnownHostsFile {known}
  GlobalKnownHostsFile /dev/null
""")
        return path

    def test_all_five_steps(self) -> None:
        before = self.everything()
        self.take_snapshot()
        self.lose_power()
        self.power_on()
        self.wait_up()
        words = [
            *('--guests', 'ssh', '--guest', RUNS),
            *('--guest-address', f'{RUNS}=inside'),
        ]
        # through the fourth step no guest is asked for anything
        self.apply(*words, through=4, code=4)
        self.assertEqual((0, 1), (self.guest.asked(), len(self.guest.boots())))
        run_id = self.newest_run()
        self.done('run', 'resume', run_id, '--yes')
        self.assertEqual((1, 2), (self.guest.asked(), len(self.guest.boots())))
        self.assert_back(before.values())
        (item,) = [
            row
            for row in self.answer('run', 'show', run_id, '--items')['items']
            if row['kind'] == 'reboot-guest'
        ]
        first, second = self.guest.boots()
        self.assertIn(f'{first} -> {second}', item['detail'])
        # whoever goes on once more asks nobody again
        self.recovery('run', 'resume', run_id, '--yes')
        self.assertEqual(1, self.guest.asked())

    def test_one_that_was_off(self) -> None:
        self.take_snapshot()
        self.lose_power()
        self.power_on()
        self.wait_up()
        plan = self.plan_file(
            *('--guests', 'ssh', '--guest', OFF),
            *('--guest-address', f'{OFF}=inside'),
        )
        self.assertNotIn(
            'reboot-guest',
            {item['kind'] for step in plan['steps'] for item in step['items']},
        )
