# SPDX-License-Identifier: Apache-2.0

"""A guest is ended once it is seen to run, and never by guessing."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes import stop_guest
from nova_recovery.engine.change import At, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict, NotRevertible
from tests.unit.changes.test_host_uid import HostCase
from tests.unit.tables import Memory

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
PROCESS = [{'uuid': WEB, 'pid': 7}]


def listed(active: bool | None, processes: Any) -> Any:
    domains = None if active is None else [{'uuid': WEB, 'active': active}]
    return {'domains': domains, 'processes': processes, 'why': 'no socket'}


class Stop(HostCase):
    change = stop_guest.StopGuest()

    def item(self, **more: Any) -> Item:
        return self.made('stop-guest', uuid=WEB, **more)

    def with_row(self, where: At[Any], host: str, deleted: int = 0) -> None:
        rows = Memory(instances='id uuid host deleted')
        rows.add('instances', id=1, uuid=WEB, host=host, deleted=deleted)
        where.cloud.databases.cell = {'cell1': rows}.__getitem__

    def test_how_it_stands(self) -> None:
        for active, processes, state in (
            (True, PROCESS, State.BEFORE),
            (False, [], State.AFTER),
            (None, [], State.AFTER),
            (False, PROCESS, State.UNKNOWN),
            (None, PROCESS, State.UNKNOWN),
        ):
            where = self.at(
                self.item(), False, guests_list=[listed(active, processes)]
            )
            self.assertIs(state, self.change.observe(where).state)

    def test_it_is_ended_or_had_ended(self) -> None:
        where = self.at(self.item(), False, guests_stop=[{'stopped': True}])
        self.assertEqual('ended', self.change.apply(where))
        where = self.at(self.item(), False, guests_stop=[{'stopped': False}])
        self.assertRaises(Conflict, self.change.apply, where)

    def test_one_that_was_adopted_meanwhile_is_nova_s(self) -> None:
        item = self.item(cell='cell1')
        where = self.at(item, True, guests_stop=[{'stopped': True}])
        self.with_row(where, 'c1')
        error = self.assertRaises(Conflict, self.change.apply, where)
        self.assertIn('nova has it on c1', str(error))
        self.assertEqual([], self.hosts.asked)

    def test_where_nova_has_it_is_asked_before_whether_it_may(self) -> None:
        asked: list[str] = []
        for host, deleted in (('c2', 0), ('c1', 1)):
            where = self.at(
                self.item(cell='cell1'), True, guests_stop=[{'stopped': True}]
            )
            self.with_row(where, host, deleted)
            where.confirm = lambda: asked.extend(self.hosts.asked or ['none'])
            self.assertEqual('ended', self.change.apply(where))
            self.assertEqual(['guests stop'], self.hosts.asked)
        self.assertEqual(['none', 'none'], asked)

    def test_nova_has_none_or_the_plan_does_not_say_where(self) -> None:
        for item in (self.item(cell=None), self.item()):
            where = self.at(item, True, guests_stop=[{'stopped': True}])
            self.assertEqual('ended', self.change.apply(where))

    def test_nothing_brings_back_what_it_had(self) -> None:
        where = self.at(self.item(), True)
        self.assertRaises(NotRevertible, self.change.revert, where)


class Cut(HostCase):
    """The power of a canary, and the rest only after that."""

    change = stop_guest.CutGuest()

    def item(self) -> Item:
        return self.made('cut-guest', uuid=WEB)

    def test_how_it_stands(self) -> None:
        for begun, active, state in (
            (False, True, State.BEFORE),
            # it was off before: nobody took its power
            (False, False, State.NEITHER),
            (True, False, State.AFTER),
        ):
            where = self.at(
                self.item(), begun, guests_list=[listed(active, [])]
            )
            self.assertIs(state, self.change.observe(where).state)

    def test_it_is_ended_or_had_ended(self) -> None:
        where = self.at(self.item(), True, guests_stop=[{'stopped': True}])
        self.assertEqual('it lost its power', self.change.apply(where))
        where = self.at(self.item(), True, guests_stop=[{'stopped': False}])
        self.assertRaises(Conflict, self.change.apply, where)
