# SPDX-License-Identifier: Apache-2.0

"""A port follows its server to another host, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery.changes.port import BindPort
from nova_recovery.cloud.api.network import Port
from nova_recovery.engine.change import State
from nova_recovery.exceptions import ChangeFailed, Conflict, RecoveryError
from tests.unit.changes.case import ChangeTestCase, UUID


class TestPort(ChangeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.change = BindPort()
        self.add_server(host='np-rcc46', vm_state='stopped', power_state=4)
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, port='p1',
            address='10.20.0.7', source='np-rcc54', target='np-rcc46',
            zone='west',
        )  # fmt: skip
        self.port = Port(
            id='p1', device_id=UUID, device_owner='compute:east',
            host='np-rcc54', vnic_type='normal', vif_type='ovs', status='DOWN',
            profile={'migrating_to': 'np-rcc47', 'card': 'a'},
            addresses=('10.20.0.7',), has_resources=False,
        )  # fmt: skip
        #: hosts whose network agent is alive
        self.alive = {'np-rcc46', 'np-rcc54'}
        self.cloud.network.port.side_effect = lambda uuid: self.port
        self.cloud.network.bind.side_effect = self.bind

    def bind(
        self, port: Port, host: str, owner: str, profile: dict[str, Any]
    ) -> None:
        self.set(
            host=host,
            device_owner=owner,
            profile=profile,
            vif_type='ovs' if host in self.alive else 'binding_failed',
        )

    def set(self, **values: Any) -> None:
        self.port = dataclasses.replace(self.port, **values)

    def test_there_and_back(self) -> None:
        before = self.port
        self.assertEqual('bound to np-rcc46', self.apply())
        self.assertEqual(
            ('np-rcc46', 'compute:west', {'card': 'a'}),
            (self.port.host, self.port.device_owner, self.port.profile),
        )
        self.assert_seen(State.AFTER, 'bound there', again=True)
        self.assertEqual('bound to np-rcc54 again', self.revert())
        # no live migration is under way any more
        self.assertEqual(
            dataclasses.replace(before, profile={'card': 'a'}), self.port
        )
        self.assertEqual('already as it was', self.revert())

    def test_of_a_guest_that_was_adopted(self) -> None:
        """Its row says that it runs; the hypervisor says whether it does."""
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, port='p1',
            address='10.20.0.7', source='np-rcc54', target='np-rcc46',
            zone='west', adopted=True,
        )  # fmt: skip
        self.apply()
        self.cloud.compute.off.side_effect = lambda uuid: False
        error = self.assertRaises(Conflict, self.revert)
        self.assertIn('has its guest on np-rcc46', str(error))
        self.assertEqual('np-rcc46', self.port.host)
        self.cloud.compute.off.side_effect = lambda uuid: True
        self.assertEqual('bound to np-rcc54 again', self.revert())

    def test_one_that_was_bound_to_no_host(self) -> None:
        self.set(host='', vif_type='unbound')
        self.assert_seen(State.BEFORE)

    def test_somebody_elses(self) -> None:
        self.begin()
        for values, told in (
            ({'device_id': 'u2'}, "now belongs to 'u2'"),
            ({'device_id': UUID, 'host': 'np-rcc47'}, 'bound to np-rcc47'),
        ):
            self.set(**values)
            self.assert_seen(State.NEITHER, told)
            self.assert_seen(State.NEITHER, told, again=True)

    def test_one_that_could_not_be_bound_goes_back_to_its_host(self) -> None:
        self.alive.discard('np-rcc46')
        self.begin()
        error = self.assertRaises(RecoveryError, self.change.apply, self.begun)
        self.assertIn('could not bind port p1', str(error))
        # that would forget the image: something was changed
        self.assertNotIsInstance(error, ChangeFailed)
        self.assert_seen(State.BEFORE, again=True)
        self.revert()
        self.assertEqual('np-rcc54', self.port.host)

    def test_one_that_could_not_be_bound_is_bound_once_the_agent_lives(
        self,
    ) -> None:
        self.set(host='np-rcc46', vif_type='binding_failed')
        self.assertEqual('bound to np-rcc46', self.apply())

    def test_not_back_from_where_somebody_bound_it(self) -> None:
        self.apply()
        self.set(host='np-rcc47')
        self.assert_refused(Conflict, self.revert, 'np-rcc47')
        self.assertEqual('np-rcc47', self.port.host)

    def test_a_guest_that_somebody_started_keeps_its_port(self) -> None:
        self.apply()
        for values in ({'vm_state': 'active'}, {'task_state': 'powering-on'}):
            self.set_server(vm_state='stopped', task_state=None)
            self.set_server(**values)
            self.assert_refused(Conflict, self.revert, 'its guest needs that')
        self.assertEqual('np-rcc46', self.port.host)
