# SPDX-License-Identifier: Apache-2.0

"""``recovery drill site``: the whole disaster, rehearsed."""

from __future__ import annotations

import argparse
from typing import Any, TYPE_CHECKING

from nova_recovery.cli import recovering
from nova_recovery.cli.base import Table
from nova_recovery.cli.drill import Rehearsal, Subject
from nova_recovery.cli.server import ANY_NAME
from nova_recovery.engine import printable, states
from nova_recovery.exceptions import Refused, UsageError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.report.drill import Drill


class SiteDrill(Rehearsal):
    """Take the power of a whole site, and bring it back as after a disaster.

    For a practice cloud, or the night before a site goes to work: every
    server of the cloud loses its power. A snapshot is taken, the hosts are
    claimed, the program of [drill] site_power_off is run once, and it is seen
    that no host reports any more; then site_power_on is run, the site is
    waited for, and the five steps bring all servers back. Each step is timed.

    The cloud has to be named, as --os-cloud calls it, or by the UUID of one
    of its cells, and typed again; and all of its servers, by --all-servers or
    each one by name. With --by-hand no program is run: it says what to do,
    and waits for your word. Interrupted or killed: the same command again
    goes on. There is no way back but forward. Ends with 4 where a target was
    missed, where the loss was not seen, or where a server is not up again::

        openstack recovery drill site --cloud lab --all-servers --dry-run
        openstack recovery drill site --cloud lab --all-servers --by-hand
    """

    procedure = 'drill-site'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--cloud',
            metavar='<cloud>',
            dest='site',
            required=True,
            help='Which cloud loses its power: its name, as in clouds.yaml, '
            'or the host of Keystone; or the UUID of one of its cells',
        )
        servers = parser.add_mutually_exclusive_group()
        servers.add_argument(
            '--all-servers',
            action='store_true',
            help='All of its servers are meant',
        )
        servers.add_argument(
            '--server',
            metavar='<server>',
            action='append',
            default=[],
            help=f'{ANY_NAME}. Repeat it: refused unless all of the cloud '
            'are named',
        )
        parser.add_argument(
            '--by-hand',
            action='store_true',
            help='Run no program: you take the power, and give it back, when '
            'it says so',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        cloud = self.cloud(parsed_args)
        name = self.stage(parsed_args).cloud_name()
        typed = parsed_args.site
        subject = Subject(typed, typed)
        # before anything is asked of a cloud whose power may be off
        found = self._newest(parsed_args, subject)
        if found is not None and not found.over:
            if name not in ('', found.name):
                raise Refused(
                    f'the drill of {found.name} has no end yet, and this is '
                    f'{name}. Nothing was changed. Say which cloud it is, as '
                    'then (--os-cloud), and go on: '
                    + self.stage(parsed_args).call(
                        'drill', 'site', '--cloud', typed, '--all-servers'
                    )
                )
            return self._again(parsed_args, cloud, subject, found)
        self._check_named(cloud, typed, name)
        begun = self._begin(parsed_args, cloud, name or typed)
        found = self._newest(parsed_args, subject)
        if parsed_args.dry_run or found is None:
            return begun
        return self._forward(parsed_args, cloud, subject)

    def _check_named(self, cloud: Cloud, typed: str, name: str) -> None:
        """Return if it is this cloud that was named, to the letter.

        :raises Refused: it is another one
        """
        from nova_recovery.cloud.db import identity

        known = sorted(identity.of(cloud))
        if typed and (typed == name or typed in known):
            return
        called = ' or '.join(filter(None, (name, *known)))
        raise Refused(
            f'--cloud {typed}: this cloud is '
            f'{called or "not known: its databases do not answer"}. Nothing '
            'was changed.'
        )

    def _begin(
        self, parsed: argparse.Namespace, cloud: Cloud, name: str
    ) -> Table:
        from nova_recovery.procedures.drill import site
        from nova_recovery.report import drill

        if not parsed.all_servers and not parsed.server:
            raise UsageError(
                'a drill touches no server that is not named: say '
                '--all-servers, or name each with --server'
            )
        named = recovering.resolve(cloud, parsed.server)
        request = site.Request(
            name,
            None
            if parsed.all_servers
            else tuple(sorted({one.uuid for one in named})),
            parsed.by_hand,
            drill.targets(parsed.target, cloud.conf.drill.targets),
        )
        plan = site.make_plan(cloud, request, lambda: self._requests(parsed))
        through = site.BEFORE if parsed.by_hand and plan.steps else None
        result = self.stage(parsed).settle(
            plan, cloud, through, printable.clean(parsed.site)
        )
        # what has been said is of no hindrance to a run that follows
        parsed.override = []
        return result.table

    def _back(self) -> Any:
        from nova_recovery.procedures.drill import site_back

        return site_back

    def _taken(self, found: Drill) -> Any:
        skipped = {
            item.label: item.detail
            for item in found.loss.items
            if item.step == 'back' and item.state == states.SKIPPED
        }
        return self._back().Drill(
            found.loss.plan, found.snapshot, found.lost_at, skipped
        )

    def _go_on(self, parsed: argparse.Namespace, found: Drill) -> None:
        from nova_recovery.procedures.drill import site

        through = None
        if found.loss.plan.arguments['by_hand']:
            # what comes then waits for somebody's word
            if all(i.state in states.FINAL for i in _before(found)):
                return
            through = site.BEFORE
        self._resume(parsed, found.loss.run.id, through)

    def _whole_loss(
        self, parsed: argparse.Namespace, subject: Subject
    ) -> Drill | None:
        """The drill, if its power was lost and all hosts are back.

        One that does not come back is left out by an operator's word, and
        then by the way back as well.
        """
        self._quiet(parsed)
        found = self._newest(parsed, subject)
        if found is not None and found.loss.plan.arguments['by_hand']:
            self._by_hand(parsed, subject, found)
            self._quiet(parsed)
            found = self._newest(parsed, subject)
        if found is None or not found.lost_at:
            return None
        if found.loss.run.state == states.UNDONE:
            return found
        left = [i for i in found.loss.items if i.state not in states.GOOD]
        return None if left else found

    def _by_hand(
        self, parsed: argparse.Namespace, subject: Subject, found: Drill
    ) -> None:
        """Ask for the power to be taken, and given back, each time seen."""
        from nova_recovery.procedures.drill import site

        stage = self.stage(parsed)
        run = found.loss.run
        if run.state == states.UNDONE:
            return
        for kind, through, what, word in (
            (site.OFF, site.LOSS, 'Take the power of', 'off'),
            (site.ON, None, 'Give the power back to', 'on'),
        ):
            items = list(found.loss.items)
            place = next(n for n, i in enumerate(items) if i.kind == kind)
            if items[place].state in states.FINAL:
                continue
            if any(i.state not in states.GOOD for i in items[:place]):
                return
            stage.say(f'\n{what} {subject.name} now.')
            if not self._said(parsed, run.id, word):
                return
            self._resume(parsed, run.id, through)
            self._quiet(parsed)
            again = self._newest(parsed, subject)
            if again is None:
                return
            found = again
        if found.loss.run.state in states.HALTED:
            self._resume(parsed, run.id)

    def _said(
        self, parsed: argparse.Namespace, run_id: str, word: str
    ) -> bool:
        """Whether somebody says that the power is off, or on."""
        stage = self.stage(parsed)
        asker = stage.asker()
        if not asker.there:
            self.closing.append(
                f'There is no terminal to ask whether the power is {word}.'
            )
            return False
        answer = None
        while answer != word:
            answer = asker.ask(
                f'Type "{word}" when it is {word}: ',
                f'Run {run_id} waits. Type the same command again.',
            )
            if not answer:
                self.closing.append(f'Nobody said that the power is {word}.')
                return False
        me = stage.who()
        del me['command']
        with stage.journal() as journal:
            journal.tell(run_id, f'power-{word}', f'the power is {word}', **me)
        return True


def _before(found: Drill) -> list[Any]:
    """What is done before the power is taken."""
    names = ('snapshot', 'claim', 'alive')
    return [item for item in found.loss.items if item.step in names]
