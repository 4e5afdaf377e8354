# SPDX-License-Identifier: Apache-2.0

"""``recovery host uid …``: one number for each account on all hosts."""

from __future__ import annotations

import argparse
import posixpath
from typing import TYPE_CHECKING

from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import LookingLister
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment

_KINDS = (('uid', 'user'), ('gid', 'group'))


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'hosts',
        metavar='<host>',
        nargs='+',
        help='A compute host, its exact name as "openstack compute service '
        'list" shows it; see [fleet] for how it is reached',
    )


class ShowHostUid(LookingLister):
    """Show the users and groups of nova and libvirt on hosts, side by side.

    A number that differs from that of most hosts is marked, with the one that
    "host uid set" would give. Ends with 4 if any differs or is not known.

    Example: openstack recovery host uid show np-rcc46 np-rcc54
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_hosts(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures.uid import show

        return show.assess(self.cloud(parsed_args), parsed_args.hosts)


class SetHostUid(RecoveryLister):
    """Give users and groups one number on all hosts, and their files with it.

    Of nova and libvirt, on hosts that are named: services are stopped,
    accounts changed on all of them, then the owners of files, each shared
    file system from one host; services are started as they were. Without
    numbers those are taken that most hosts have and that are free on all.
    Look first, try one host, then do it::

        openstack recovery host uid set np-rcc46 np-rcc54 --dry-run
        openstack recovery host uid set np-rcc54 --uid nova=112
        openstack recovery host uid set np-rcc46 np-rcc54 --uid nova=112
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_hosts(parser)
        for kind, word in _KINDS:
            parser.add_argument(
                f'--{kind}',
                metavar='<name>=<number>',
                action='append',
                default=[],
                help=f'The number that this {word} is to have on all of '
                'them. Repeat it for several',
            )
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            '--accounts-only',
            action='store_true',
            help='Leave the files alone',
        )
        either.add_argument(
            '--files-only',
            action='store_true',
            help='The accounts have their numbers already: --was-uid and '
            '--was-gid say what their files have',
        )
        for kind, word in _KINDS:
            parser.add_argument(
                f'--was-{kind}',
                metavar='<name>=<number>',
                action='append',
                default=[],
                help=f'With --files-only: the number that the files of this '
                f'{word} have',
            )
        parser.add_argument(
            '--root',
            metavar='<directory>',
            action='append',
            help='Change the owners below this directory of each host '
            '(default: /). Repeat it for several',
        )
        parser.add_argument(
            '--shared',
            metavar='<directory>',
            action='append',
            default=[],
            help='Hosts may have this directory in common. Those of servers '
            'are looked at without it. Repeat it for several',
        )
        parser.add_argument(
            '--meant',
            metavar='<directory>=<host>',
            action='append',
            default=[],
            help='Your word that the files of a shared directory, or of one '
            'below it, have the numbers of this host, where the hosts that '
            'share it disagree. Repeat it for several',
        )
        parser.add_argument(
            '--lift-immutable',
            action='store_true',
            help='Change what chattr protects, too, and protect it again',
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.uid import procedure

        files_only = parsed_args.files_only
        was = {
            kind: numbers(getattr(parsed_args, f'was_{kind}'), kind)
            for kind, _word in _KINDS
        }
        if any(was.values()) != files_only:
            raise UsageError(
                '--files-only and --was-uid or --was-gid go together'
            )
        request = procedure.Request(
            tuple(dict.fromkeys(parsed_args.hosts)),
            uid=numbers(parsed_args.uid, 'uid'),
            gid=numbers(parsed_args.gid, 'gid'),
            was_uid=was['uid'],
            was_gid=was['gid'],
            accounts=not files_only,
            files=not parsed_args.accounts_only,
            roots=roots(parsed_args.root),
            shared=tuple(parsed_args.shared),
            meant=_meant(parsed_args.meant),
            lift=parsed_args.lift_immutable,
        )
        cloud = self.cloud(parsed_args)
        plan = procedure.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table


class VerifyHostUid(LookingLister):
    """Look for files that have an old number still, as "find" would.

    Of a run of "host uid set", or of numbers that are named. If the run was
    undone: files that were made meanwhile and have its new number. Ends with
    0 if there is none, 4 if there are, or if a host does not answer::

        openstack recovery host uid verify --run 3fb0
        openstack recovery host uid verify np-rcc54 --was-uid nova=108
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'hosts',
            metavar='<host>',
            nargs='*',
            help='A compute host; with --run only these, all without',
        )
        parser.add_argument(
            '--run',
            metavar='<run>',
            help='What this run of "host uid set" changed, with its '
            'before-images, which tell old from new numbers where they were '
            'exchanged',
        )
        for kind, word in _KINDS:
            parser.add_argument(
                f'--was-{kind}',
                metavar='<name>=<number>',
                action='append',
                default=[],
                help=f'A number that files of this {word} had. Repeat it for '
                'several',
            )
        parser.add_argument(
            '--root',
            metavar='<directory>',
            action='append',
            help='Below this directory of each host (default: /)',
        )
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.engine import states
        from nova_recovery.procedures.uid import verify

        cloud = self.cloud(parsed_args)
        was = {
            (kind, role): number
            for kind, _word in _KINDS
            for role, number in numbers(
                getattr(parsed_args, f'was_{kind}'), kind
            ).items()
        }
        if bool(parsed_args.run) == bool(was):
            raise UsageError('give either --run, or --was-uid and --was-gid')
        if parsed_args.run:
            here = self.stage(parsed_args)
            with here.journal() as journal:
                found = here.run_of(journal)
                checks = verify.of_run(
                    journal.plan(found.id),
                    found.id,
                    parsed_args.hosts,
                    undone={
                        one.id
                        for one in journal.items(found.id)
                        if one.state == states.REVERTED
                    },
                )
        elif not parsed_args.hosts:
            raise UsageError(
                'no host is named: name those whose files are looked at, as '
                '"openstack compute service list" shows them'
            )
        else:
            checks = verify.of_numbers(
                cloud, parsed_args.hosts, was, roots(parsed_args.root)
            )
        return verify.assess(cloud, checks)


def roots(typed: list[str] | None) -> tuple[str, ...]:
    """The directories below which is looked, without ``//`` and ``..``.

    Where numbers are exchanged, what is walked twice is changed twice.

    :raises UsageError: one is relative, or lies below another
    """
    found: list[str] = []
    for text in typed or ['/']:
        if not text.startswith('/'):
            raise UsageError(
                f'--root {text or repr(text)}: give an absolute path'
            )
        root = posixpath.normpath('/' + text.lstrip('/'))
        for other in found:
            if posixpath.commonpath([root, other]) in (root, other):
                raise UsageError(
                    f'--root {other} and --root {root} have the same files: '
                    'give the upper one alone'
                )
        found.append(root)
    return tuple(found)


def _meant(texts: list[str]) -> dict[str, str]:
    """Directory -> host.

    :raises UsageError: one makes no sense
    """
    found = {}
    for text in texts:
        path, equals, host = text.rpartition('=')
        if not (path.startswith('/') and equals and host):
            raise UsageError(
                f'--meant {text}: give /DIRECTORY=HOST, such as '
                '/var/lib/nova/instances=np-rcc4'
            )
        found[path.rstrip('/') or '/'] = host
    return found


def numbers(texts: list[str], kind: str) -> dict[str, int]:
    """Role -> number, of ``NAME=NUMBER``; of two roles two numbers.

    :raises UsageError: one makes no sense
    """
    from nova_recovery.procedures.uid import numbers as numbers_module

    found: dict[str, int] = {}
    for text in texts:
        name, _equals, number = text.partition('=')
        # the highest of 32 bits means "leave it" to chown(2)
        if not number.isdecimal() or not 0 < int(number) < (1 << 32) - 1:
            raise UsageError(
                f'{text!r}: give NAME=NUMBER, such as nova=112; numbers go '
                f'from 1 to {(1 << 32) - 2}'
            )
        role = numbers_module.role_of(kind, name)
        if found.setdefault(role, int(number)) != int(number):
            raise UsageError(f'{text}: {name} has a number already')
        if list(found.values()).count(int(number)) > 1:
            raise UsageError(
                f'{text}: another one has that number already, and their '
                'files could not be told apart'
            )
    return found
