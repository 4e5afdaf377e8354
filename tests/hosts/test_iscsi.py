# SPDX-License-Identifier: Apache-2.0

"""iSCSI sessions, real ones, between two whole machines."""

from __future__ import annotations

from typing import Any
import uuid

from tests.hosts.storage import StorageTest

UNNEEDED = 'session-unneeded:iscsi1=no nova here'
ALONE = 'disk-nowhere-else:iscsi1=no cinder here'
OFFERED = 'target-offered:iscsi1=it is none'
_DOMAIN = """\
<domain type="qemu"><name>{name}</name><uuid>{server}</uuid>
<memory>131072</memory><os><type>hvm</type></os><devices>
<disk type="block" device="disk"><source dev="{disk}"/>
<target dev="vda"/><serial>{volume}</serial></disk></devices></domain>
"""


class Sessions(StorageTest):
    def listed(self) -> list[dict[str, Any]]:
        """What ``iscsi session list`` says of this test's target."""
        found = self.rows(
            *('iscsi', 'session', 'list', self.host.name), codes=(0, 4)
        )
        return [row for row in found if row['Target'] == self.iqn]

    def delete(self, number: int, *words: str, code: int = 0) -> str:
        return self.run_program(
            *('iscsi', 'session', 'delete', self.host.name),
            *('--session', str(number), '--override', UNNEEDED, *words),
            code=code,
        )

    def test_it_is_closed_by_its_number_and_opened_again(self) -> None:
        number, disk = self.login()
        (row,) = self.listed()
        self.assertEqual(
            (self.portal, 'LOGGED_IN', self.volume),
            (row['Portal'], row['State'], row['Volume']),
        )
        said = self.delete(number, '--dry-run')
        self.assertIn(f'nothing on {self.host.name} uses {disk}', said)
        self.assertEqual([number], self.numbers())
        self.delete(number, '--yes')
        self.assertEqual([], self.numbers())
        words = ('iscsi', 'session', 'delete', self.host.name, '--session')
        said = self.run_program(*words, str(number), code=3)
        self.assertIn(f'no session {number}', said)
        self.run_program('run', 'undo', self.run_id(), '--yes')
        self.assertEqual(1, len(self.numbers()))
        self.assertNotEqual([number], self.numbers())

    def test_whoever_uses_its_disk_is_named_and_it_stays(self) -> None:
        number, disk = self.login()
        server = str(uuid.uuid4())
        self.host.run(f'mkfs.ext4 -q /dev/{disk}; modprobe dm_mod')
        for begin, end, told in (
            (
                f'mkdir -p /mnt/a; mount /dev/{disk} /mnt/a',
                'umount /mnt/a',
                'mount /mnt/a',
            ),
            (
                f'echo 0 8192 linear /dev/{disk} 0 | dmsetup create held',
                'dmsetup remove held',
                'map held',
            ),
            (
                # as qemu has it: -uuid, and the disk open
                "python3 -c 'import time; "
                f'f = open("/dev/{disk}"); time.sleep(90)\' '
                f'-uuid {server} x >/dev/null & echo $! >/run/held; sleep 1',
                'kill $(cat /run/held)',
                'open ',
            ),
        ):
            self.host.run(begin)
            said = self.delete(number, '--yes', code=3)
            self.assertIn(f'{disk}: {told}', said)
            self.host.run(end)
        self.delete(number, '--yes')
        self.assertEqual([], self.numbers())

    def test_a_number_that_means_another_target_by_now(self) -> None:
        number, _disk = self.login()
        plan = self.folder / 'plan'
        self.delete(number, '--plan-file', str(plan))
        other = self.iqn.replace(self.volume, str(uuid.uuid4()))
        text = plan.read_text().replace(self.iqn, other)
        plan.write_text(text)
        said = self.run_program('plan', 'apply', str(plan), '--yes', code=3)
        self.assertIn('changed since', said)
        words = (
            *('/usr/bin/python3', '/var/lib/nova-recovery/agent-*.pyz'),
            *('iscsi', 'delete', '--session', str(number)),
            *('--target', other, '--portal', self.portal),
        )
        said = self.host.run(' '.join(words), check=False)
        self.assertIn(f'session {number} is {self.iqn}', said)
        self.assertEqual([number], self.numbers())

    def test_its_volume_is_known_by_the_disk_of_the_domain(self) -> None:
        self.iqn = f'iqn.2026-01.test:{uuid.uuid4()}'
        self.storage.export(self.iqn)
        _number, disk = self.login()
        (row,) = self.listed()
        self.assertEqual(('', ''), (row['Volume'], row['Server']))
        server, volume = str(uuid.uuid4()), str(uuid.uuid4())
        path = f'/dev/disk/by-path/ip-{self.portal}-iscsi-{self.iqn}-lun-1'
        text = _DOMAIN.format(
            name='instance-1', server=server, disk=path, volume=volume
        )
        self.host.run(
            f"cat >/tmp/d.xml <<'END'\n{text}END\nvirsh -q define /tmp/d.xml"
        )
        (row,) = self.listed()
        self.assertEqual((volume, server), (row['Volume'], row['Server']))
        self.host.run(f'virsh -q undefine {server}')

    def test_targets_are_discovered_and_one_is_opened(self) -> None:
        said = self.run_program(
            *('iscsi', 'discover', self.host.name),
            *('--portal', self.storage.address),
        )
        self.assertIn(self.volume, said)
        # nothing is left behind by the look
        node = f'iscsiadm -m node -T {self.iqn} -p {self.portal}'
        self.assertIn('No records', self.host.run(node, check=False))
        create = (
            *('iscsi', 'session', 'create', self.host.name, '--target'),
            *(self.iqn, '--portal', self.portal, '--yes'),
        )
        self.run_program(*create, '--override', ALONE)
        self.assertEqual(1, len(self.numbers()))
        self.assertIn('has it already', self.run_program(*create))
        self.run_program('run', 'undo', self.run_id(), '--yes')
        self.assertEqual([], self.numbers())
        self.assertIn('No records', self.host.run(node, check=False))

    def test_a_target_that_nobody_offers(self) -> None:
        create = (
            *('iscsi', 'session', 'create', self.host.name, '--yes'),
            *('--target', f'{self.iqn}x', '--portal', self.portal),
            *('--override', ALONE),
        )
        said = self.run_program(*create, code=3)
        self.assertIn('does not offer', said)
        said = self.run_program(*create, '--override', OFFERED, code=4)
        self.assertIn('no session came of it', said)
        node = f'iscsiadm -m node -T {self.iqn}x -p {self.portal}'
        self.assertIn('No records', self.host.run(node, check=False))

    def test_a_portal_that_is_dead_is_seen(self) -> None:
        number, _disk = self.login()
        self.storage.cut_network()
        try:
            self.host.run(
                f'cd /sys/class/iscsi_session/session{number}; i=0\n'
                'until grep -q FAILED state; do sleep 0.5\n'
                'i=$((i+1)); [ $i -lt 120 ]; done',
                seconds=90,
            )
            (row,) = self.listed()
        finally:
            self.storage.mend_network()
        self.assertEqual(('ISCSI-DEAD', 'FAILED'), (row['Code'], row['State']))
