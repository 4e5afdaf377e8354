# SPDX-License-Identifier: Apache-2.0

"""Which units of a host are nova's and libvirt's, by what systemctl prints."""

from __future__ import annotations

from typing import Any

import fixtures

from nova_recovery.host.agent import layout, services
from tests.base import TestCase

#: As systemd 252 prints list-units --all --plain --no-legend --full.
UNITS = """\
libvirtd.service loaded active running Virtualization daemon
libvirtd.socket loaded active running Libvirt local socket
nova-api.service masked inactive dead nova-api.service
nova-compute.service loaded failed failed OpenStack Nova Compute
nova-conductor.service masked active running nova-conductor.service
nova-compute@b.service loaded activating auto-restart OpenStack Nova Compute
nova-recovery-3f57-rules.service loaded active running [systemd-run] agent
nova-recovery-snapshot.timer loaded active waiting Snapshots
openstack-nova-compute.service not-found inactive dead nothing
virtlogd.service loaded active running Virtual machine log manager
"""


class Units(TestCase):
    def setUp(self) -> None:
        super().setUp()
        for where, name, value in (
            (services.os.path, 'isdir', lambda path: True),
            (services.programs, 'run', lambda words: (0, UNITS, '')),
        ):
            self.useFixture(fixtures.MockPatchObject(where, name, value))

    def rows(self, *more: str) -> list[tuple[Any, ...]]:
        found = {**layout._plain(), 'containers': []}
        return [
            (row['name'], row['group'], row['runs'])
            for row in services.look(found, ['nova', 'libvirt'], more)
        ]

    def test_what_is_there_in_the_order_in_which_it_is_stopped(self) -> None:
        self.assertEqual(
            [
                ('nova-compute.service', 'nova', False),
                ('nova-compute@b.service', 'nova', True),
                # masked, and runs on
                ('nova-conductor.service', 'nova', True),
                ('libvirtd.socket', 'libvirt', True),
                ('libvirtd.service', 'libvirt', True),
            ],
            self.rows(),
        )

    def test_our_own_only_where_it_is_named(self) -> None:
        name = 'nova-recovery-snapshot.timer'
        self.assertIn((name, 'named', True), self.rows(name))
