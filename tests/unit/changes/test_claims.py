# SPDX-License-Identifier: Apache-2.0

"""A host or a server is claimed, and given back as it was."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes import claims
from nova_recovery.changes.claims import (
    ClaimHost,
    ClaimServer,
    ReleaseHost,
    ReleaseServer,
)
from nova_recovery.cloud import claims as cloud_claims
from nova_recovery.engine import claiming, records
from nova_recovery.engine.change import State
from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import ClaimLost, Conflict
from nova_recovery.procedures import guarding
from tests.unit.at import at, MARKER, RUN
from tests.unit.changes.case import ChangeTestCase, UUID

OTHER = records.marker('99999999', 'bob', 'ctl2')
STATUS = ('disabled', 'disabled_reason', 'forced_down')


class HostTestCase(ChangeTestCase):
    """The claim on np-rcc54, whose nova-compute is enabled.

    :ivar claim: the item; subclasses say of what kind of host
    """

    SEEN: dict[str, Any] = {'disabled': 0, 'disabled_reason': None}
    silent = True

    def setUp(self) -> None:
        super().setUp()
        self.cell.add(
            'services', id=7, host='np-rcc54', binary='nova-compute',
            topic='compute', report_count=4711, deleted=0, version=70,
            forced_down=0, **self.SEEN,
        )  # fmt: skip
        seen = dict(self.SEEN)
        if not self.silent:
            seen['forced_down'] = 0
        self.claim = claiming.host(
            'np-rcc54', 'cell1', 7, seen, 4711 if self.silent else None
        )
        self.change, self.item = ClaimHost(), self.claim

    def set(self, **values: Any) -> None:
        self.cell.set('services', **values)

    def status(self) -> tuple[Any, ...]:
        return tuple(self.cell.row('services', *STATUS).values())

    def plan(self) -> Plan:
        return Plan('p', '', {}, claiming.around([self.claim], []))

    def release(self) -> str:
        """The claim is ours, and its release the change from now on."""
        self.apply()
        self.change = ReleaseHost()
        self.item = claiming.release(self.claim)
        return self.apply()


class TestDeadHost(HostTestCase):
    def test_claimed_and_taken_back(self) -> None:
        self.apply()
        self.assertEqual((1, MARKER, 0), self.status())
        self.assert_seen(State.AFTER, again=True)
        self.assertEqual('claim given back', self.revert())
        self.assertEqual((0, None, 0), self.status())
        self.assertEqual('already as it was', self.revert())

    def test_one_that_reports_is_not_as_the_plan_saw_it(self) -> None:
        self.begin()
        self.set(report_count=4712)
        self.assert_seen(State.NEITHER, 'report_count was 4711')
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), 'report_count'
        )

    def test_one_that_another_run_claimed(self) -> None:
        self.begin()
        self.set(disabled=1, disabled_reason=OTHER)
        self.assert_seen(State.NEITHER, 'claimed by another run: ' + OTHER)
        self.assert_refused(
            ClaimLost, lambda: self.change.apply(self.begun), OTHER
        )

    def test_one_that_somebody_disabled_since(self) -> None:
        self.set(disabled=1, disabled_reason='kernel update')
        self.assert_seen(State.NEITHER, "is 'kernel update'")

    def test_not_taken_back_from_somebody_else(self) -> None:
        self.apply()
        self.set(disabled_reason=OTHER)
        self.assert_refused(Conflict, self.revert, 'disabled_reason')

    def test_it_stays_out_of_service(self) -> None:
        self.assertIn('stays disabled', self.release())
        disabled, reason, _forced_down = self.status()
        self.assertEqual(1, disabled)
        self.assertIn(f'(run {RUN}); start its nova-compute', reason)
        self.assert_seen(State.AFTER, again=True)
        self.assertEqual('claimed again', self.revert())
        self.assertEqual((1, MARKER, 0), self.status())
        self.assertEqual('already claimed', self.revert())

    def test_a_run_that_another_controller_ended(self) -> None:
        """By our journal it is still claimed."""
        held = {self.claim.id: 'done'}

        def ended(states: dict[str, str] = held) -> list[str]:
            return claims.ended(self.plan(), self.cloud, RUN, states, MARKER)

        self.assertEqual([], ended())
        self.set(disabled=1, disabled_reason=MARKER)
        self.assertEqual([], ended())
        self.set(**self.SEEN)
        self.release()
        self.assertEqual(['np-rcc54'], ended())
        # our own end
        release = claiming.release(self.claim)
        self.assertEqual([], ended({**held, release.id: 'done'}))
        # whoever put it to use since tells nothing of the run
        self.set(disabled=0, disabled_reason=None)
        self.assertEqual([], ended())

    def test_a_claim_that_is_gone_is_not_given_back(self) -> None:
        self.apply()
        self.set(disabled_reason=OTHER)
        self.change = ReleaseHost()
        self.item = claiming.release(self.claim)
        self.assert_seen(State.NEITHER, 'the claim is gone')

    def test_one_that_was_put_to_use_needs_no_release(self) -> None:
        """As the end of a run advises for a host that came back."""
        self.apply()
        self.set(disabled=0, disabled_reason=None)
        self.change = ReleaseHost()
        self.item = claiming.release(self.claim)
        self.assert_seen(State.AFTER, 'put to use')

    def test_not_claimed_again_where_somebody_enabled_it(self) -> None:
        self.release()
        self.set(disabled=0, disabled_reason=None)
        self.assert_refused(Conflict, self.revert, 'disabled_reason')

    def test_an_undone_run_leaves_no_claim(self) -> None:
        self.apply()
        self.assertEqual(
            ['np-rcc54 stays disabled; its claim is given back.'],
            claims.give_back(self.plan(), self.cloud, RUN, MARKER),
        )
        self.assertIn(f'run {RUN}', self.status()[1])
        self.assertEqual(
            [], claims.give_back(self.plan(), self.cloud, RUN, MARKER)
        )

    def test_its_plan_says_what_it_comes_to(self) -> None:
        self.assertEqual(
            ['~ claim given back; stays disabled and forced down'],
            ReleaseHost().describe(claiming.release(self.claim)),
        )


class TestLiveHost(HostTestCase):
    """One that is worked on while it runs."""

    silent = False

    def guard(self) -> None:
        guard = guarding.guard(self.plan(), self.cloud, MARKER, False)
        assert guard is not None
        work = self.claim.__class__('w', 'work', self.claim.subject, '')
        guard(work)

    def test_it_may_report_all_the_while(self) -> None:
        self.begin()
        self.set(report_count=4712)
        self.change.apply(self.begun)
        self.assertEqual((1, MARKER, 0), self.status())
        self.set(report_count=4713)
        self.guard()
        self.assert_seen(State.AFTER, again=True)

    def test_its_claim_is_looked_at_like_any_other(self) -> None:
        self.apply()
        self.set(disabled_reason=OTHER)
        self.assert_refused(ClaimLost, self.guard, OTHER)

    def test_it_is_enabled_again(self) -> None:
        self.assertEqual('enabled, as it was', self.release())
        self.assertEqual((0, None, 0), self.status())
        self.assert_seen(State.AFTER, again=True)
        self.assertEqual('claimed again', self.revert())
        self.assertEqual((1, MARKER, 0), self.status())

    def test_one_that_was_forced_down_since_the_plan_is_no_live_one(
        self,
    ) -> None:
        self.set(forced_down=1)
        self.assert_seen(State.NEITHER, 'forced_down was 0 and is 1')

    def test_one_that_died_meanwhile_stays_forced_down(self) -> None:
        """Whoever did that has seen it die: it isn't ours to take back."""
        self.apply()
        self.set(forced_down=1)
        self.change = ReleaseHost()
        self.item = claiming.release(self.claim)
        self.assertIn('; forced down by somebody since', self.apply())
        self.assertEqual((0, None, 1), self.status())

    def test_taken_back(self) -> None:
        self.apply()
        self.revert()
        self.assertEqual((0, None, 0), self.status())

    def test_an_undone_run_leaves_it_as_it_was(self) -> None:
        self.apply()
        self.assertEqual(
            ['np-rcc54 is enabled, as it was; its claim is given back.'],
            claims.give_back(self.plan(), self.cloud, RUN, MARKER),
        )
        self.assertEqual((0, None, 0), self.status())

    def test_its_plan_says_what_it_comes_to(self) -> None:
        self.assertEqual(
            ['~ claim given back; enabled, as it was'],
            ReleaseHost().describe(claiming.release(self.claim)),
        )

    def ended(self, marker: str = MARKER) -> list[str]:
        states = {self.claim.id: 'done'}
        return claims.ended(self.plan(), self.cloud, RUN, states, marker)

    def test_a_run_that_another_controller_took_and_ended(self) -> None:
        self.apply()
        theirs = records.marker(RUN, 'bob', 'ctl2')
        claims.hand_over(self.plan(), self.cloud, MARKER, theirs)
        # bob is at it
        self.assertEqual([], self.ended())
        self.change, self.item = ReleaseHost(), claiming.release(self.claim)
        self.change.apply(
            self.at(marker=theirs, image={'disabled_reason': theirs})
        )
        self.assertEqual(['np-rcc54'], self.ended())
        # by bob's own journal it is not
        self.assertEqual([], self.ended(theirs))

    def test_a_run_that_another_controller_took_and_undid(self) -> None:
        self.apply()
        theirs = records.marker(RUN, 'bob', 'ctl2')
        claims.hand_over(self.plan(), self.cloud, MARKER, theirs)
        claims.give_back(self.plan(), self.cloud, RUN, theirs)
        self.assertEqual([], self.ended())

    def test_one_that_somebody_took_off_after_it_was_taken_over(self) -> None:
        self.apply()
        theirs = records.marker(RUN, 'bob', 'ctl2')
        claims.hand_over(self.plan(), self.cloud, MARKER, theirs)
        self.set(disabled=0, disabled_reason=None)
        self.assertEqual([], self.ended())

    def test_a_claim_that_somebody_took_off_is_no_end(self) -> None:
        """With the work half done."""
        self.apply()
        self.set(disabled=0, disabled_reason=None)
        self.assertEqual([], self.ended())

    def test_one_that_was_abandoned_did_not_end(self) -> None:
        self.apply()
        theirs = records.marker(RUN, 'bob', 'ctl2')
        claims.hand_over(self.plan(), self.cloud, MARKER, theirs)
        claims.abandon(self.cloud, RUN, 'x', self.plan())
        self.assertEqual([], self.ended())

    def test_handed_over_like_any_other(self) -> None:
        self.apply()
        handed = claims.hand_over(self.plan(), self.cloud, MARKER, OTHER)
        self.assertEqual(['np-rcc54'], handed)
        self.assertEqual((1, OTHER, 0), self.status())
        self.assertRaises(ClaimLost, self.guard)


class TestLiveHostThatIsDisabled(TestLiveHost):
    """Its own reason comes back too."""

    SEEN = {'disabled': 1, 'disabled_reason': 'kernel update'}
    AS_IT_WAS = (1, 'kernel update', 0)

    def test_it_is_enabled_again(self) -> None:
        told = 'disabled, as it was: kernel update'
        self.assertEqual(told, self.release())
        self.assertEqual(self.AS_IT_WAS, self.status())
        self.assertEqual('claimed again', self.revert())

    def test_one_that_died_meanwhile_stays_forced_down(self) -> None:
        self.apply()
        self.set(forced_down=1)
        self.change = ReleaseHost()
        self.item = claiming.release(self.claim)
        self.assertIn('; forced down by somebody since', self.apply())
        self.assertEqual((1, 'kernel update', 1), self.status())

    def test_taken_back(self) -> None:
        self.apply()
        self.revert()
        self.assertEqual(self.AS_IT_WAS, self.status())

    def test_an_undone_run_leaves_it_as_it_was(self) -> None:
        self.apply()
        (told,) = claims.give_back(self.plan(), self.cloud, RUN, MARKER)
        self.assertIn('is disabled, as it was: kernel update', told)
        self.assertEqual(self.AS_IT_WAS, self.status())

    def test_its_plan_says_what_it_comes_to(self) -> None:
        self.assertEqual(
            ['~ claim given back; disabled, as it was: kernel update'],
            ReleaseHost().describe(claiming.release(self.claim)),
        )


class TestServer(ChangeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.change = ClaimServer()
        self.item = claiming.server(UUID, 'web', 'cell1')

    def held(self) -> list[str]:
        return [
            row['message']
            for row in self.cell.rows('task_log')
            if row['task_name'] == cloud_claims.TASK
        ]

    def claimed_by(self, marker: str) -> None:
        self.cell.clear('task_log')
        cloud_claims.claim_server(self.cell, UUID, marker)

    def test_claimed_and_taken_back(self) -> None:
        self.apply()
        self.assertEqual([MARKER], self.held())
        self.assert_seen(State.AFTER, again=True)
        self.change.apply(self.begun)
        self.revert()
        self.assertEqual([], self.held())
        self.revert()

    def test_a_tag_of_its_owner_changes_nothing(self) -> None:
        self.cell.add('tags', resource_id=UUID, tag='nova-recovery-claim')
        self.assert_seen(State.BEFORE)
        self.apply()
        self.assert_seen(State.AFTER, again=True)

    def test_one_that_another_run_claimed(self) -> None:
        self.begin()
        self.claimed_by(OTHER)
        self.assert_seen(State.NEITHER, 'claimed by another run')
        self.assert_refused(
            ClaimLost, lambda: self.change.apply(self.begun), '99999999'
        )

    def test_another_runs_claim_is_not_taken_off(self) -> None:
        self.apply()
        self.claimed_by(OTHER)
        before = self.everything()
        self.revert()
        self.assertEqual(before, self.everything())

    def test_given_back_and_taken_again(self) -> None:
        self.apply()
        self.change = ReleaseServer()
        self.item = claiming.release(self.item)
        self.apply()
        self.assertEqual([], self.held())
        self.assert_seen(State.AFTER, 'not claimed by us', again=True)
        self.assertEqual('claimed again', self.revert())
        self.assertEqual('claimed again', self.revert())
        self.assertEqual([MARKER], self.held())

    def test_a_run_that_another_controller_took_and_ended(self) -> None:
        self.apply()
        plan = Plan('p', '', {}, claiming.around([self.item], []))
        theirs = records.marker(RUN, 'bob', 'ctl2')

        def ended() -> list[str]:
            states = {self.item.id: 'done'}
            return claims.ended(plan, self.cloud, RUN, states, MARKER)

        cloud_claims.release_server(self.cell, UUID, MARKER)
        # an end of ours, or somebody else's work
        self.assertEqual([], ended())
        self.claimed_by(MARKER)
        claims.hand_over(plan, self.cloud, MARKER, theirs)
        self.assertEqual([], ended())
        cloud_claims.release_server(self.cell, UUID, theirs)
        # somebody took it off
        self.assertEqual([], ended())
        cloud_claims.claim_server(self.cell, UUID, theirs)
        release = claiming.release(self.item)
        ReleaseServer().apply(at(release, self.cloud, marker=theirs))
        self.assertEqual([self.item.label], ended())
        # a run of somebody else has it by now
        cloud_claims.claim_server(self.cell, UUID, OTHER)
        self.assertEqual([self.item.label], ended())

    def test_not_taken_again_from_another_run(self) -> None:
        self.apply()
        self.change = ReleaseServer()
        self.item = claiming.release(self.item)
        self.apply()
        self.claimed_by(OTHER)
        self.assert_refused(ClaimLost, self.revert, '99999999')

    def test_what_a_plan_looks_like(self) -> None:
        claim = claiming.server(UUID, 'web', 'cell1', ('record:relations',))
        (first, last) = claiming.around([claim], [])
        self.assertEqual((claim,), first.items)
        (back,) = last.items
        self.assertEqual(f'release-server:{UUID}', back.id)
        self.assertEqual(
            ('release-server', claim.subject, claim.label, claim.data, ()),
            (back.kind, back.subject, back.label, back.data, back.follows),
        )
        plan = Plan('p', '', {}, (first, last))
        self.assertEqual({claim.subject: claim}, claiming.claims(plan))
        self.claimed_by(OTHER)
        claims.hand_over(plan, self.cloud, OTHER, MARKER)
        claims.give_back(plan, self.cloud, RUN, MARKER)
        self.assertEqual([], self.held())


class TestAbandoned(HostTestCase):
    """All claims of a run are taken off, by what they say."""

    def setUp(self) -> None:
        super().setUp()
        self.apply()
        for uuid, marker in (('u1', MARKER), ('u2', OTHER)):
            cloud_claims.claim_server(self.cell, uuid, marker)
        self.cell.add(
            'services', id=8, host='np-rcc55', binary='nova-compute',
            topic='compute', report_count=1, deleted=0, version=70,
            forced_down=0, disabled=1, disabled_reason=OTHER,
        )  # fmt: skip

    def test_without_its_journal(self) -> None:
        done = claims.abandon(self.cloud, RUN, 'ctl1 burnt')
        self.assertEqual((), done.unknown)
        host, server = done.told
        self.assertIn('np-rcc54: its claim is taken off, it stays', host)
        self.assertIn('service set --enable np-rcc54 nova-compute', host)
        self.assertIn('server u1', server)
        left = list(cloud_claims.every(self.cell))
        self.assertEqual(
            [('np-rcc55', OTHER), ('u2', OTHER)],
            [(one.name, one.marker) for one in left],
        )
        row = self.cell.rows('services')[0]
        self.assertEqual(1, row['disabled'])
        self.assertEqual(
            f'abandoned by nova-recovery (run {RUN}): ctl1 burnt',
            row['disabled_reason'],
        )
        self.assertEqual((), claims.abandon(self.cloud, RUN, 'again').told)

    def test_of_whoever_took_it_over_too(self) -> None:
        self.cell.rows('services')
        theirs = records.marker(RUN, 'bob', 'ctl2')
        claims.hand_over(self.plan(), self.cloud, MARKER, theirs)
        self.assertEqual(2, len(claims.abandon(self.cloud, RUN, 'x').told))

    def test_who_claims_what(self) -> None:
        self.assertEqual(
            {RUN: [MARKER], '99999999': [OTHER]}, claims.runs(self.cloud)
        )


class TestAbandonedLive(HostTestCase):
    silent = False

    def test_it_gets_back_what_it_had_where_the_plan_tells(self) -> None:
        self.apply()
        done = claims.abandon(self.cloud, RUN, 'x', self.plan())
        self.assertIn('it is enabled, as it was', done.told[0])
        self.assertEqual((0, None, 0), self.status())
