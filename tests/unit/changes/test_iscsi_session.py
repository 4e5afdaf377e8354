# SPDX-License-Identifier: Apache-2.0

"""A session is closed or opened by what the host answers."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes import iscsi_session
from nova_recovery.engine.change import State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, Conflict
from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer
from tests.unit.changes.test_host_uid import HostCase

IQN, PORTAL = 'iqn.2010-10.org.openstack:volume-1', '10.0.0.1:3260'
MINE = {'session': 15, 'target': IQN, 'portal': PORTAL, 'state': 'LOGGED_IN'}


def listed(*sessions: dict[str, Any], record: bool = False) -> Any:
    return {'sessions': list(sessions), 'record': record}


class Close(HostCase):
    change = iscsi_session.CloseSession()

    def item(self) -> Item:
        return self.made(
            'close-session',
            session=15,
            target=IQN,
            portal=PORTAL,
            disks=['sdb'],
            volumes=[],
        )

    def test_it_is_the_number_and_what_it_means(self) -> None:
        for there, state in (
            ([MINE], State.BEFORE),
            ([], State.AFTER),
            ([{**MINE, 'session': 16}], State.AFTER),
            ([{**MINE, 'target': 'iqn.other'}], State.NEITHER),
            ([{**MINE, 'portal': '10.0.0.2:3260'}], State.NEITHER),
        ):
            where = self.at(self.item(), False, iscsi_list=[listed(*there)])
            self.assertIs(state, self.change.observe(where).state, there)

    def test_the_host_that_refuses_has_closed_nothing(self) -> None:
        no = Answer('c1', answer.REFUSED, detail='sdb: mount /mnt')
        where = self.at(self.item(), False, iscsi_delete=[no])
        error = self.assertRaises(ChangeFailed, self.change.apply, where)
        self.assertIn('mount /mnt', str(error))

    def test_one_that_somebody_else_closed_meanwhile(self) -> None:
        where = self.at(self.item(), False, iscsi_delete=[{'deleted': False}])
        self.assertRaises(Conflict, self.change.apply, where)

    def test_another_number_to_the_same_target_is_back(self) -> None:
        back = {**MINE, 'session': 16}
        where = self.at(self.item(), True, iscsi_list=[listed(back)])
        self.assertIn('session 16', self.change.revert(where))
        where = self.at(
            self.item(),
            True,
            iscsi_list=[listed()],
            iscsi_create=[{'session': 17}],
        )
        self.assertIn('session 17', self.change.revert(where))


class Open(HostCase):
    change = iscsi_session.OpenSession()

    def item(self) -> Item:
        return self.made('open-session', target=IQN, portal=PORTAL)

    def test_whether_there_was_a_record_is_kept(self) -> None:
        where = self.at(self.item(), False, iscsi_list=[listed(record=True)])
        self.assertEqual({'record': True}, self.change.observe(where).image)
        where = self.at(self.item(), True, iscsi_list=[listed(MINE)])
        self.assertIs(State.AFTER, self.change.observe(where).state)

    def test_its_undo_closes_it_wherever_it_is(self) -> None:
        where = self.at(
            self.item(),
            True,
            iscsi_list=[listed(MINE)],
            iscsi_delete=[{'deleted': True}],
        )
        where.image['record'] = False
        self.assertEqual('session 15 closed', self.change.revert(where))
        where = self.at(self.item(), True, iscsi_list=[listed()])
        self.assertEqual('it is closed', self.change.revert(where))
