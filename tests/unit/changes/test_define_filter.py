# SPDX-License-Identifier: Apache-2.0

"""A filter is defined where it is as it was, and goes back."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes import define_filter
from nova_recovery.engine.change import State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict, OutcomeUnknown
from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer
from tests.unit.changes.test_host_uid import HostCase

OURS = (
    '<filter name="nova-base" chain="root"><uuid>u-1</uuid>'
    '<filterref filter="a"/><filterref filter="b"/></filter>'
)
#: As libvirt has it: defaults are added.
THEIRS = """<filter name='nova-base' chain='root' priority='-700'>
  <uuid>u-1</uuid>
  <filterref filter='a'/>
  <filterref filter='b'/>
</filter>"""
OLD = THEIRS.replace("  <filterref filter='b'/>\n", '')


def listed(xml: str | None) -> dict[str, Any]:
    rows = [] if xml is None else [{'name': 'nova-base', 'xml': xml}]
    return {'filters': rows, 'why': ''}


class Define(HostCase):
    change = define_filter.DefineFilter()

    def item(self, there: bool = True) -> Item:
        return self.made(
            'define-filter',
            name='nova-base',
            uuid='u-1',
            there=there,
            xml=OURS,
            guests=['instance-00000001'],
        )

    def at_with(
        self, image: Any, there: bool = True, **answers: list[Any]
    ) -> Any:
        where = self.at(self.item(there), True, **answers)
        where.image = {'xml': image}
        return where

    def test_what_is_told_of_it(self) -> None:
        self.assertEqual(
            [
                '~ filter nova-base  u-1',
                '  of a, b',
                '  for instance-00000001',
            ],
            self.change.describe(self.item()),
        )
        self.assertTrue(
            self.change.describe(self.item(False))[0].startswith('+ ')
        )

    def test_how_it_stands(self) -> None:
        for there, xml, state in (
            (False, None, State.BEFORE),
            (False, THEIRS, State.AFTER),
            (False, OLD, State.NEITHER),
            (True, None, State.NEITHER),
            (True, OLD, State.BEFORE),
            (True, THEIRS, State.AFTER),
            (True, OLD.replace('u-1', 'u-2'), State.NEITHER),
        ):
            where = self.at(
                self.item(there), False, filters_list=[listed(xml)]
            )
            seen = self.change.observe(where)
            self.assertIs(state, seen.state, (there, xml))
            if state is State.BEFORE:
                self.assertEqual({'xml': xml}, seen.image)

    def test_what_changed_since_it_was_begun_stays(self) -> None:
        other = OLD.replace("'a'", "'c'")
        for now, state in ((OLD, State.BEFORE), (other, State.NEITHER)):
            where = self.at_with(OLD, filters_list=[listed(now)])
            self.assertIs(state, self.change.observe(where).state)

    def test_libvirt_that_does_not_tell(self) -> None:
        where = self.at(
            self.item(), False, filters_list=[{'filters': None, 'why': 'no'}]
        )
        self.assertRaises(OutcomeUnknown, self.change.observe, where)

    def test_defined(self) -> None:
        where = self.at_with(OLD, filters_define=[{'done': True}])
        self.assertEqual('defined', self.change.apply(where))

    def test_back_as_it_was(self) -> None:
        done = [{'done': True}]
        where = self.at_with(
            OLD, filters_list=[listed(THEIRS)], filters_define=done[:]
        )
        self.assertEqual('as it was', self.change.revert(where))
        where = self.at_with(
            None, filters_list=[listed(THEIRS)], filters_undefine=done[:]
        )
        self.assertEqual('as it was', self.change.revert(where))
        where = self.at_with(None, filters_list=[listed(None)])
        self.assertEqual('it is as it was', self.change.revert(where))

    def test_one_that_is_in_use_or_another_by_now_stays(self) -> None:
        no = Answer('c1', answer.REFUSED, detail='nwfilter is in use')
        where = self.at_with(
            None, filters_list=[listed(THEIRS)], filters_undefine=[no]
        )
        self.assertRaises(Conflict, self.change.revert, where)
        for now in (None, OLD.replace("'a'", "'c'")):
            where = self.at_with(OLD, filters_list=[listed(now)])
            self.assertRaises(Conflict, self.change.revert, where)
