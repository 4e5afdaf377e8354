# SPDX-License-Identifier: Apache-2.0

"""``recovery snapshot …``"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import contextlib
import os
import tempfile
import time
from typing import Any, TextIO, TYPE_CHECKING

from nova_recovery import exit_codes
from nova_recovery.cli.base import (
    RecoveryCommand,
    RecoveryLister,
    RecoveryMixin,
    RecoveryShowOne,
)
from nova_recovery.exceptions import (
    DatabaseUnavailable,
    NotFound,
    RecoveryError,
    UsageError,
)

if TYPE_CHECKING:
    from nova_recovery.snapshot.reading import Snapshot
    from nova_recovery.snapshot.taking import Rules

Table = tuple[tuple[str, ...], Any]

A_SNAPSHOT = (
    'A snapshot: its name in the configured directory, "latest", or the path '
    'of a file'
)

#: Seconds between two signs of life.
EVERY = 5.0


class Progress:
    """How many rows of which section, and how fast, on stderr."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._began = self._said = time.monotonic()
        self.rows = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, section: str, rows: int) -> None:
        self.rows += rows
        now = time.monotonic()
        if now - self._said >= (0.2 if self._terminal else EVERY):
            self._said = now
            rate = self.rows / max(self.seconds, 0.001)
            text = f'{self.rows} rows, {rate:.0f} a second ({section})'
            self._stream.write(
                f'{text:60}\r' if self._terminal else f'{text}\n'
            )
            self._stream.flush()

    def end(self) -> None:
        """Nothing of it is left on a terminal."""
        if self._terminal:
            self._stream.write(' ' * 60 + '\r')
            self._stream.flush()


class SnapshotCommand(RecoveryMixin):
    """What the commands have in common."""

    looks = True

    def find(self, parsed_args: argparse.Namespace, name: str) -> str:
        """The path of the snapshot that is meant."""
        from nova_recovery.cloud.db import identity
        from nova_recovery.snapshot import store

        return store.resolve(
            self.conf(parsed_args).snapshot.directory,
            name,
            ours=lambda: identity.of(self.cloud(parsed_args)),
        )

    def warn_unknown(self, snapshot: Snapshot) -> None:
        """Name on stderr what was not read, which makes it half done."""
        for source in snapshot.sources:
            parts = [p for p in snapshot.unknown if p.source == source.name]
            for detail in sorted({part.detail for part in parts}):
                sections = ', '.join(
                    part.section for part in parts if part.detail == detail
                )
                self.log.warning(
                    'unknown: %s of %s: %s', sections, source.name, detail
                )
        if snapshot.unknown:
            self.exit_code = exit_codes.PARTLY

    def take(self, parsed_args: argparse.Namespace, **wanted: Any) -> str:
        """Take a snapshot; the path of its file."""
        from nova_recovery.snapshot import taking
        from nova_recovery.snapshot.taking import Request

        progress = Progress(self.app.stderr)
        try:
            return taking.take(
                self.cloud(parsed_args), Request(**wanted), progress
            )
        finally:
            progress.end()


class CreateSnapshot(RecoveryShowOne, SnapshotCommand):
    """Save what servers, volumes and hosts are, while all is well.

    Each database is read in one consistent transaction. What does not
    answer is written down as unknown, and the command ends with 4. On a
    compute host, whose nova.conf names no database, --local saves the host
    alone; --merge collects such files.

    Example: openstack recovery snapshot create --merge /srv/np-rcc4.snapshot
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--file',
            metavar='<file>',
            help='A new file for it (default: one in the configured '
            'directory, named after the time, where old ones are deleted '
            'afterwards as configured)',
        )
        parser.add_argument(
            '--local',
            action='store_true',
            help='Also the host on which this runs: its iSCSI sessions, '
            'packet filter, libvirt domains, mounts and fstab',
        )
        parser.add_argument(
            '--hosts',
            action='store_true',
            help='Also the packet-filter rules of all compute hosts, which '
            'are asked over the [fleet]. One that does not answer is told, '
            'and the snapshot is complete without it',
        )
        parser.add_argument(
            '--merge',
            metavar='<file>',
            action='append',
            default=[],
            help='Take the hosts of another snapshot over; repeat it for '
            'several',
        )
        parser.add_argument(
            '--no-api',
            action='store_true',
            help='Databases only: no ports, agents and allocations',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from nova_recovery.procedures.rules import saved
        from nova_recovery.snapshot.reading import Snapshot

        began = time.monotonic()
        path = self.take(
            parsed_args,
            path=parsed_args.file or '',
            local=parsed_args.local,
            apis=not parsed_args.no_api,
            merge=tuple(parsed_args.merge),
            rules=self._rules(parsed_args) if parsed_args.hosts else (),
        )
        dropped = []
        if not parsed_args.file:
            dropped = self._pruned(parsed_args)
        with Snapshot(path) as snapshot:
            self.warn_unknown(snapshot)
            rows = sum(part.rows for part in snapshot.parts)
            return (
                'File',
                'Complete',
                'Servers',
                'Volumes',
                'Attachments',
                'Contradictions',
                'Hosts',
                'Rules',
                'Rows',
                'Bytes',
                'Seconds',
                'Checksum',
                'Deleted',
            ), (
                path,
                snapshot.complete,
                snapshot.count('servers'),
                snapshot.count('volumes'),
                snapshot.count('attachments'),
                snapshot.count('differences'),
                len(snapshot.hosts),
                len(saved.of_snapshot(snapshot).hosts),
                rows,
                os.path.getsize(path),
                round(time.monotonic() - began, 1),
                snapshot.meta['checksum'],
                ', '.join(dropped),
            )

    def _rules(self, parsed_args: argparse.Namespace) -> tuple[Rules, ...]:
        """Of all hosts that the cells tell; a silent cell is told later."""
        from nova_recovery.procedures import reached
        from nova_recovery.procedures.rules import saved

        cloud = self.cloud(parsed_args)
        try:
            names, silent = reached.hosts_of(cloud)
        except DatabaseUnavailable as error:
            names, silent = [], (f'{error}: no host was asked',)
        for line in silent:
            self.log.warning(line)
        return tuple(saved.look(cloud, names))

    def _pruned(self, parsed_args: argparse.Namespace) -> list[str]:
        """What was deleted, but for the snapshots of runs.

        Where the journal can't be read it is not known which these are, and
        nothing is deleted.
        """
        from nova_recovery.snapshot import taking

        kept = []
        try:
            with self.stage(parsed_args).journal() as journal:
                for run in journal.runs():
                    kept.append(journal.plan(run.id).arguments.get('snapshot'))
        except NotFound:
            # no journal, no run
            pass
        except RecoveryError as error:
            self.log.warning('no snapshot was deleted: %s', error)
            return []
        cloud = self.cloud(parsed_args)
        return taking.prune(cloud, [path for path in kept if path])


class ListSnapshot(RecoveryLister, SnapshotCommand):
    """List the snapshots in the configured directory, newest first.

    Example: openstack recovery snapshot list -f json
    """

    short = ('Name', 'Taken', 'State', 'Servers', 'Volumes', 'Bytes')

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.snapshot import store

        found = store.entries(self.conf(parsed_args).snapshot.directory)
        for entry in found:
            if entry.problem:
                self.log.error('%s', entry.problem)
                self.exit_code = exit_codes.ERROR
        return (
            'Name',
            'Taken',
            'State',
            'Servers',
            'Volumes',
            'Hosts',
            'Bytes',
            'Cloud',
        ), [
            (
                entry.name,
                f'{entry.taken.isoformat()}Z',
                'unreadable'
                if entry.problem
                else 'complete'
                if entry.complete
                else 'partial',
                entry.servers,
                entry.volumes,
                entry.hosts,
                entry.size,
                ', '.join(sorted(entry.cloud)),
            )
            for entry in found
        ]


class ShowSnapshot(RecoveryLister, SnapshotCommand):
    """Show what a snapshot has: its sections, or the rows of one of them.

    --map writes the file "volume instance mountpoint" of the guide: the
    data volumes that were attached, without root volumes.

    Example: openstack recovery snapshot show latest --section servers
    --host np-rcc4
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('snapshot', metavar='<snapshot>', help=A_SNAPSHOT)
        parser.add_argument(
            '--section',
            metavar='<section>',
            help='The rows of this section, such as servers, devices, '
            'volumes or attachments',
        )
        parser.add_argument(
            '--server',
            metavar='<uuid>',
            help='With --section: only those of this server',
        )
        parser.add_argument(
            '--host',
            metavar='<host>',
            help='With --section: only those of this host',
        )
        parser.add_argument(
            '--map', metavar='<file>', help='Also write the map file there'
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.engine import files
        from nova_recovery.snapshot import mapfile
        from nova_recovery.snapshot.reading import Snapshot

        if not parsed_args.section and (
            parsed_args.server or parsed_args.host
        ):
            raise UsageError(
                '--server and --host choose rows: say of which section with '
                '--section, such as volumes'
            )
        path = self.find(parsed_args, parsed_args.snapshot)
        with Snapshot(path) as snapshot:
            if parsed_args.map:
                files.write(parsed_args.map, mapfile.lines(snapshot))
            if parsed_args.section:
                return _section(snapshot, parsed_args)
            return (
                'Section',
                'Source',
                'State',
                'Rows',
                'Taken',
                'Offset',
                'Detail',
            ), _parts(snapshot)


class DiffSnapshot(RecoveryLister, SnapshotCommand):
    """Show what is different between two snapshots, or one and now.

    What one of them does not know is told as unknown, and the command ends
    with 4.

    Example: openstack recovery snapshot diff latest now
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('before', metavar='<snapshot>', help=A_SNAPSHOT)
        parser.add_argument(
            'after',
            metavar='<snapshot>|now',
            help='The same; "now" reads the cloud as it is',
        )
        parser.add_argument(
            '--no-api',
            action='store_true',
            help='With "now": no ports, agents and allocations',
        )
        parser.add_argument(
            '--code',
            metavar='<code>',
            action='append',
            help='Only differences of this code, such as server-moved; '
            'repeat it for several',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.snapshot import comparing
        from nova_recovery.snapshot.reading import Snapshot

        with contextlib.ExitStack() as stack:
            before = stack.enter_context(
                Snapshot(self.find(parsed_args, parsed_args.before))
            )
            path = stack.enter_context(self._after(parsed_args, before))
            after = stack.enter_context(Snapshot(path))
            rows = []
            for one in comparing.differences(before, after):
                if one.code == comparing.UNKNOWN:
                    self.exit_code = exit_codes.PARTLY
                elif parsed_args.code and one.code not in parsed_args.code:
                    continue
                rows.append(
                    (
                        one.code,
                        one.source,
                        one.subject,
                        one.name,
                        one.before,
                        one.after,
                    )
                )
            return (
                'Code',
                'Source',
                'Subject',
                'Name',
                'Before',
                'After',
            ), rows

    @contextlib.contextmanager
    def _after(
        self, parsed_args: argparse.Namespace, before: Snapshot
    ) -> Iterator[str]:
        if parsed_args.after != 'now':
            yield self.find(parsed_args, parsed_args.after)
            return
        from nova_recovery.procedures.rules import saved

        cloud = self.cloud(parsed_args)
        here = cloud.nova.host
        asked = [
            source.name.partition(':')[2]
            for source in before.sources
            if source.kind == 'rules'
        ]
        with tempfile.TemporaryDirectory(prefix='nova-recovery-') as folder:
            yield self.take(
                parsed_args,
                path=os.path.join(folder, 'now.snapshot'),
                local=here in before.hosts,
                apis=not parsed_args.no_api,
                rules=tuple(saved.look(cloud, asked)) if asked else (),
            )


class DeleteSnapshot(RecoveryCommand, SnapshotCommand):
    """Delete snapshots. Nothing that is no snapshot is deleted.

    Example: openstack recovery snapshot delete 2026-11-22T14-49-51Z
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'snapshots', metavar='<snapshot>', nargs='+', help=A_SNAPSHOT
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from nova_recovery.snapshot import store

        paths = [
            self.find(parsed_args, name) for name in parsed_args.snapshots
        ]
        store.delete(list(dict.fromkeys(paths)))


class VerifySnapshot(RecoveryShowOne, SnapshotCommand):
    """Prove that a snapshot is what was written, and complete.

    Ends with 1 if it is damaged, 4 if something could not be read when it
    was taken.

    Example: openstack recovery snapshot verify latest
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('snapshot', metavar='<snapshot>', help=A_SNAPSHOT)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from nova_recovery.snapshot import format as format_module
        from nova_recovery.snapshot import reading
        from nova_recovery.snapshot.reading import Snapshot

        path = self.find(parsed_args, parsed_args.snapshot)
        with Snapshot(path) as snapshot:
            found = reading.problems(snapshot)
            if found:
                raise RecoveryError(
                    f'snapshot {path}: damaged: {"; ".join(found)}'
                )
            self.warn_unknown(snapshot)
            return (
                'File',
                'Format',
                'Taken',
                'Machine',
                'Program',
                'Cloud',
                'Complete',
                'Rows',
                'Checksum',
            ), (
                path,
                format_module.VERSION,
                snapshot.meta.get('taken_at', ''),
                snapshot.meta.get('machine', ''),
                snapshot.meta.get('program', ''),
                ', '.join(sorted(snapshot.cloud)) or 'not said',
                snapshot.complete,
                sum(part.rows for part in snapshot.parts),
                snapshot.meta.get('checksum', ''),
            )


def _parts(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    sources = {source.name: source for source in snapshot.sources}
    return [
        (
            part.section,
            part.source,
            part.state,
            part.rows,
            sources[part.source].taken_at,
            sources[part.source].offset,
            part.detail,
        )
        for part in snapshot.parts
    ]


def _section(snapshot: Snapshot, parsed_args: argparse.Namespace) -> Table:
    from nova_recovery.snapshot import format as format_module

    section = format_module.SECTIONS.get(parsed_args.section)
    if section is None:
        raise UsageError(
            f'no section {parsed_args.section}; there are '
            + ', '.join(format_module.SECTIONS)
        )
    equal = {}
    if parsed_args.server:
        equal[_column(section, 'server', 'uuid', 'consumer')] = (
            parsed_args.server
        )
    if parsed_args.host and section in format_module.HOST:
        equal['source'] = f'host:{parsed_args.host}'
    elif parsed_args.host and section is format_module.CHAINS:
        equal['source'] = f'rules:{parsed_args.host}'
    elif parsed_args.host:
        equal[_column(section, 'host')] = parsed_args.host
    columns = ('source', *section.columns)
    return columns, [
        tuple(row.values()) for row in snapshot.rows(section.name, **equal)
    ]


def _column(section: Any, *names: str) -> str:
    for name in names:
        if name in section.columns:
            return name
    raise UsageError(f'section {section.name} says nothing of a {names[0]}')
