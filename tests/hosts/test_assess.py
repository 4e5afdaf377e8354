# SPDX-License-Identifier: Apache-2.0

"""``disaster assess --hosts``: a cloud whose power went, asked itself."""

from __future__ import annotations

from typing import Any

from tests.hosts.beds import Beds
from tests.hosts.program import OfACell

CHAIN = 'iptables:filter:ops'
OWN = (
    'iptables -N ops; iptables -A ops -p tcp --dport 4240 -j ACCEPT; '
    'iptables -A INPUT -j ops'
)
AWAY = '0d2cd44e-9d0e-4a5b-a4b4-1f0f3d5a7f11'


class Assess(OfACell):
    """Two hosts; the guest of one runs on the other."""

    def setUp(self) -> None:
        self.beds = Beds.up(2)
        self.addCleanup(self.beds.down)
        super().setUp()
        self.put_into_cell()
        self.cell.sql('UPDATE services SET last_seen_up = UTC_TIMESTAMP()')

    def told(self, *words: str, code: int) -> list[dict[str, Any]]:
        return self.rows('disaster', 'assess', '--hosts', *words, codes=[code])

    def test_what_hosts_know_is_found_and_is_in_the_way(self) -> None:
        one, two = self.beds
        one.run('sh', '-c', OWN)
        taken = str(self.folder / 'a.snapshot')
        words = ('snapshot', 'create', '--hosts', '--no-api', '--file')
        self.run_program(*words, taken)
        one.run('sh', '-c', 'iptables -F; iptables -X ops')
        guest = two.guest()
        guest.begin()
        self.cell.add_server(guest.uuid, 'compute1', 'at3-ui02')
        self.cell.add_server(AWAY, 'compute1', 'at3-ui03')
        one.run('sh', '-c', "echo '/dev/vdz /srv ext4 nofail' >>/etc/fstab")
        rows = self.told('--snapshot', taken, code=4)
        found = {(row['Code'], row['Host']): row for row in rows}
        for code, host, severity in (
            ('GUEST-ELSEWHERE', 'compute2', 'danger'),
            ('MOUNT-MISSING', 'compute1', 'danger'),
            ('RULES-LOST', 'compute1', 'stale'),
            # proven by the host: no database says so
            ('SRV-DOWN', 'compute1', 'stale'),
        ):
            self.assertEqual(severity, found[code, host]['Severity'], found)
        self.assertIn(
            f'server adopt {guest.uuid} --host compute2',
            found['GUEST-ELSEWHERE', 'compute2']['Fix'],
        )
        self.run_program(
            *('host', 'rules', 'restore', 'compute1', '--snapshot', taken),
            *('--chain', CHAIN, '--yes'),
        )
        self.assertIn('-A ops', one.run('iptables-save'))
        rows = self.told('--ready', code=3)
        layers = {(row['Layer'], row['Subject']): row for row in rows}
        for layer, subject in (
            ('compute', 'compute2 at3-ui02'),
            ('hosts', 'compute1 /etc/fstab:1 /srv'),
        ):
            self.assertEqual('no-go', layers[layer, subject]['State'], rows)
        # the other one goes on telling
        one.cut_network()
        said = self.run_program(*words, f'{taken}.2', code=4)
        self.assertIn('unknown: chains of rules:compute1', said)
        self.assertRegex(said, r'Complete +\| True')
        (silent,) = (
            row for row in self.told('--code', 'HOST-UNKNOWN', code=4)
        )
        self.assertEqual(
            ('compute1', 'unknown'), (silent['Host'], silent['Severity'])
        )
        self.assertIn('host check compute1', silent['Fix'])
        rows = self.told('--ready', '--host', 'compute1', code=3)
        (row,) = (row for row in rows if row['Layer'] == 'hosts')
        self.assertEqual(
            ('unknown', 'compute1'), (row['State'], row['Subject'])
        )
