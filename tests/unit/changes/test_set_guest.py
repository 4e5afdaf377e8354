# SPDX-License-Identifier: Apache-2.0

"""Values of a guest's XML are exchanged where they are as they were."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes import set_guest
from nova_recovery.engine.change import State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict
from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer
from tests.unit.changes.test_host_uid import HostCase

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
MAC = 'fa:16:3e:00:00:01'
EDITS = [
    ['config', 'vnc', '0.0.0.0', '10.0.0.4'],
    ['config', MAC, '10.0.0.7', '10.0.0.1'],
    ['live', MAC, '10.0.0.7', '10.0.0.1'],
]


def guest(vnc: str, dhcp: str, live: str | None) -> dict[str, Any]:
    """:param live: DHCPSERVER as it runs, with VNC on 0.0.0.0"""
    one = {
        'config': {'vnc': vnc, MAC: dhcp},
        'live': None if live is None else {'vnc': '0.0.0.0', MAC: live},
        'file': None,
        'xml': {'config': '<domain/>'},
    }
    return {'guest': one}


BEFORE = guest('0.0.0.0', '10.0.0.7', '10.0.0.7')
AFTER = guest('10.0.0.4', '10.0.0.1', '10.0.0.1')


class Set(HostCase):
    change = set_guest.SetGuest()

    def item(self) -> Item:
        return self.made('set-guest', uuid=WEB, edits=EDITS)

    def test_what_is_told_of_it(self) -> None:
        self.assertEqual(
            [
                '~ VNC  0.0.0.0 -> 10.0.0.4  in its persistent XML',
                f'~ DHCPSERVER of {MAC}  10.0.0.7 -> 10.0.0.1  in its '
                'persistent XML',
                f'~ DHCPSERVER of {MAC}  10.0.0.7 -> 10.0.0.1  as it runs',
            ],
            self.change.describe(self.item()),
        )

    def test_how_it_stands(self) -> None:
        for found, state in (
            (BEFORE, State.BEFORE),
            (AFTER, State.AFTER),
            # killed in between
            (guest('10.0.0.4', '10.0.0.1', '10.0.0.7'), State.BEFORE),
            # it has ended meanwhile
            (guest('10.0.0.4', '10.0.0.1', None), State.AFTER),
            (guest('0.0.0.0', '10.0.0.9', '10.0.0.7'), State.NEITHER),
            ({'guest': None}, State.NEITHER),
        ):
            where = self.at(self.item(), False, guests_show=[found])
            self.assertIs(state, self.change.observe(where).state)

    def test_all_of_it_is_kept_for_people(self) -> None:
        where = self.at(self.item(), False, guests_show=[BEFORE])
        seen = self.change.observe(where)
        self.assertIn(b'<domain/>', b''.join(seen.aside or ()))
        self.assertEqual({'edits': EDITS}, seen.image)

    def test_done_and_what_a_power_cycle_is_needed_for(self) -> None:
        where = self.at(self.item(), True, guests_set=[AFTER])
        self.assertIn('listens on 0.0.0.0', self.change.apply(where))
        off = guest('10.0.0.4', '10.0.0.1', None)
        where = self.at(self.item(), True, guests_set=[off])
        self.assertEqual('set', self.change.apply(where))

    def test_back_as_it_was_unless_somebody_changed_it(self) -> None:
        where = self.at(self.item(), True, guests_set=[BEFORE])
        asked: list[Any] = []
        run = self.hosts.run
        self.hosts.run = lambda host, verb, data=None: (  # type: ignore
            asked.append(data['edit']),  # type: ignore
            run(host, verb, data),
        )[1]
        self.assertEqual('as it was', self.change.revert(where))
        self.assertEqual('config,vnc,10.0.0.4,0.0.0.0', asked[0][0])
        no = Answer('c1', answer.REFUSED, detail='vnc of config is ::1')
        where = self.at(self.item(), True, guests_set=[no])
        self.assertRaises(Conflict, self.change.revert, where)
