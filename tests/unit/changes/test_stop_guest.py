# SPDX-License-Identifier: Apache-2.0

"""A guest is ended once it is seen to run, and never by guessing."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes import stop_guest
from nova_recovery.engine.change import State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict, NotRevertible
from tests.unit.changes.test_host_uid import HostCase

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
PROCESS = [{'uuid': WEB, 'pid': 7}]


class Stop(HostCase):
    change = stop_guest.StopGuest()

    def item(self) -> Item:
        return self.made('stop-guest', uuid=WEB)

    def listed(self, active: bool | None, processes: Any) -> Any:
        domains = None if active is None else [{'uuid': WEB, 'active': active}]
        return {'domains': domains, 'processes': processes, 'why': 'no socket'}

    def test_how_it_stands(self) -> None:
        for active, processes, state in (
            (True, PROCESS, State.BEFORE),
            (False, [], State.AFTER),
            (None, [], State.AFTER),
            (False, PROCESS, State.UNKNOWN),
            (None, PROCESS, State.UNKNOWN),
        ):
            where = self.at(
                self.item(),
                False,
                guests_list=[self.listed(active, processes)],
            )
            self.assertIs(state, self.change.observe(where).state)

    def test_it_is_ended_or_had_ended(self) -> None:
        where = self.at(self.item(), False, guests_stop=[{'stopped': True}])
        self.assertEqual('ended', self.change.apply(where))
        where = self.at(self.item(), False, guests_stop=[{'stopped': False}])
        self.assertRaises(Conflict, self.change.apply, where)

    def test_nothing_brings_back_what_it_had(self) -> None:
        where = self.at(self.item(), True)
        self.assertRaises(NotRevertible, self.change.revert, where)
