# SPDX-License-Identifier: Apache-2.0

"""What all commands have in common, in both programs.

The same classes are loaded by the unified client (``openstack recovery``)
and by :mod:`nova_recovery.shell` (``nova-recovery``). The unified client
imports every command module at every call of ``openstack``: keep heavy
imports (the databases, the engine, openstacksdk) inside ``take_action``.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import re
import textwrap
from typing import Any, NoReturn, TYPE_CHECKING

from osc_lib.command import command

from nova_recovery import exit_codes, logs, program, version
from nova_recovery.cli import tables
from nova_recovery.engine import printable
from nova_recovery.exceptions import (
    ApiUnavailable,
    RecoveryError,
    Refused,
    UsageError,
)
from nova_recovery.report import wording

if TYPE_CHECKING:
    import openstack.connection
    from oslo_config import cfg

    from nova_recovery.cli.stage import Stage
    from nova_recovery.cloud.cloud import Cloud

#: What a lister returns: columns and rows.
Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
#: What a show command returns: columns and values.
Fields = tuple[tuple[str, ...], tuple[Any, ...]]


class Help(argparse.HelpFormatter):
    """Help whose paragraphs stay, and whose examples can be copied.

    argparse makes one paragraph of a description, and divides a word like
    ``--target-host`` at its hyphen. Indented paragraphs are left as they are,
    but for the name of the program.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if self._prog.startswith(program.ALONE):
            text = text.replace(program.UNIFIED, program.ALONE)
        return '\n\n'.join(
            paragraph
            if paragraph.startswith('    ')
            else textwrap.fill(
                ' '.join(paragraph.split()).replace('::', ':'),
                width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
            for paragraph in text.rstrip().split('\n\n')
        )


def examples(command: type, name: str) -> list[str]:
    """The examples in the help of a command, each on one line.

    :param name: as it is typed, such as ``recovery run list``
    """
    text = inspect.getdoc(command) or ''
    found = re.findall(
        # a line that goes on ends with a backslash, as in a shell
        rf'(?:^ +|Example: )(openstack {re.escape(name)}'
        r'(?: (?:[^\\\n]|\\\n)*|$))',
        text,
        re.MULTILINE,
    )
    return [' '.join(one.replace('\\\n', ' ').split()) for one in found]


class RecoveryMixin(command.Command):
    """Our configuration files, the lazy login and the exit codes.

    :ivar exit_code: how the command ends when nothing is raised. A lister or
        a show command sets it where its result is not plainly good, such as
        to :data:`exit_codes.PARTLY`; a plain command returns it from
        ``take_action``.
    """

    #: No login before it is needed: databases answer without Keystone, and
    #: on a bad day it is Keystone that is down.
    auth_required = False

    exit_code = exit_codes.DONE

    #: It decides nothing: databases that only answer reads are good enough.
    looks = False

    def __init__(
        self, app: Any, app_args: Any, cmd_name: str | None = None
    ) -> None:
        # cliff gives the name only to a parameter of that name
        super().__init__(app, app_args, cmd_name)
        #: Lines for stderr that stand below the result: how it ended, why,
        #: and what to type next.
        self.closing: list[str] = []

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with our configuration files in a group.

        They are options of the command, not of the program: cliff takes
        global options, and what abbreviates them, out of the whole line.
        """
        parser = super().get_parser(prog_name)
        parser.formatter_class = Help
        parser.error = self._wrong  # type: ignore[method-assign]
        group = parser.add_argument_group('configuration files')
        group.add_argument(
            '--recovery-config-file',
            metavar='<file>',
            action='append',
            help='Our own configuration; repeat it for several files '
            '(default: /etc/nova-recovery/nova-recovery.conf, if it exists)',
        )
        group.add_argument(
            '--nova-config-file',
            metavar='<file>',
            action='append',
            help='nova.conf with the [api_database]; repeat it for several '
            'files (default: as configured, else /etc/nova/nova.conf)',
        )
        group.add_argument(
            '--nova-config-dir',
            metavar='<directory>',
            action='append',
            help='A directory whose .conf files of nova are read too '
            '(default: as configured, else where nova itself looks)',
        )
        group.add_argument(
            '--cinder-config-file',
            metavar='<file>',
            action='append',
            help='cinder.conf with the [database] '
            '(default: as configured, else /etc/cinder/cinder.conf)',
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Carry the command out and return the exit code of the program.

        cliff ends every exception with 1, and returns 0 from each lister and
        show command (``cliff/app.py: run_subcommand``, ``cliff/display.py:
        run``), while ours tell more: see :mod:`nova_recovery.exit_codes`.
        """
        self._use_program()
        # the unified client made its handlers without us
        logs.mask_handlers()
        # of what nobody here expects, too
        code: int = exit_codes.ERROR
        try:
            with contextlib.ExitStack() as self._open:
                code = super().run(parsed_args) or self.exit_code
                self._close()
                return code
        except KeyboardInterrupt:
            code = exit_codes.INTERRUPTED
            raise
        except RecoveryError as error:
            self._close()
            if self.app.options.debug:
                self.log.exception('%s', error)
            else:
                self.log.error('%s', error)
            if isinstance(error, UsageError):
                self.app.stderr.write(self._like())
            if isinstance(error, Refused) and error.table:
                self.refused(parsed_args, *error.table)
            code = error.exit_code
            return code
        finally:
            self.log.info('%s ended with %s', self.cmd_name, code)

    def _use_program(self) -> None:
        """What is advised works in the program in which this is run."""
        unified = str(self.cmd_name or '').split()[:1] == ['recovery']
        program.use(program.UNIFIED if unified else program.ALONE)

    def _like(self) -> str:
        """An example of what is right, a line; '' if there is none."""
        name = str(self.cmd_name or '').removeprefix('recovery ')
        found = examples(type(self), f'recovery {name}')
        words = f'{program.UNIFIED} {name}'
        told = (program.call(name) + one[len(words) :] for one in found[:1])
        return ''.join(f'for example: {one}\n' for one in told)

    def _wrong(self, message: str) -> NoReturn:
        """As argparse, without twenty lines of usage above what is wrong."""
        self._use_program()
        name = str(self.cmd_name or '').removeprefix('recovery ')
        self.app.stderr.write(
            f'{wording.fitted(message, self.app.stderr)}\n{self._like()}'
            f'all of it: {program.call(f"{name} --help")}\n'
        )
        raise SystemExit(exit_codes.USAGE)

    def refused(
        self, parsed_args: argparse.Namespace, columns: Any, rows: Any
    ) -> None:
        """Tell a program why; nothing where nobody reads the result."""

    def _close(self) -> None:
        if not self.closing:
            return
        # below what is on stdout
        self.app.stdout.flush()
        try:
            for line in self.closing:
                told = wording.fitted(printable.lines(line), self.app.stderr)
                self.app.stderr.write(f'{told}\n')
        except OSError:
            # a terminal that is gone must not hide how it ended
            self.log.debug('stderr is gone, so nobody reads the end')

    def conf(self, parsed_args: argparse.Namespace) -> cfg.ConfigOpts:
        """Return our configuration, where options of the command win.

        :raises exceptions.ConfigError: a file can't be read
        """
        from nova_recovery import conf

        loaded = conf.load(files=parsed_args.recovery_config_file)
        logs.to_places(loaded)
        self.log.info('%s (%s)', self.cmd_name, version.version())
        for name in (
            'nova_config_file',
            'nova_config_dir',
            'cinder_config_file',
        ):
            given = getattr(parsed_args, name)
            if given:
                loaded.set_override(name, given)
        return loaded

    def cloud(self, parsed_args: argparse.Namespace) -> Cloud:
        """Return the cloud: its databases, and its APIs when asked for.

        :raises exceptions.ConfigError: a file can't be read
        """
        from nova_recovery import fleet
        from nova_recovery.cloud import cloud

        conf = self.conf(parsed_args)
        return cloud.Cloud(
            conf,
            functools.partial(self.connection, conf.timeouts.api),
            # left when the command ends, however it does
            lambda: self._open.enter_context(fleet.load(conf)),
            self.looks,
        )

    def stage(self, parsed_args: argparse.Namespace) -> Stage:
        """Return where the command shows plans and carries them out.

        One is enough for a command.
        """
        from nova_recovery.cli import stage

        return stage.Stage(self, parsed_args)

    def connection(
        self, timeout: float | None = None
    ) -> openstack.connection.Connection:
        """Return openstacksdk's connection, logging in the first time.

        The unified client makes none for a command that says
        ``auth_required = False``, even with good credentials; going through
        its public hook once more, now with authentication, makes it.

        :param timeout: seconds that a request may take, whoever sends it
        :raises exceptions.ApiUnavailable: credentials are missing or wrong,
            or Keystone doesn't answer
        """
        from keystoneauth1 import exceptions as keystone_exceptions
        from openstack import exceptions as sdk_exceptions
        from osc_lib import exceptions as osc_exceptions

        from nova_recovery.cloud.api import words

        manager: Any = self.app.client_manager
        try:
            if not getattr(manager, '_auth_setup_completed', True):
                self.auth_required = True
                self.app.prepare_to_run_command(self)
            connection = manager.sdk_connection
            # Neither novaclient nor cinderclient uses its own time-out where
            # it is given a session, and that of the session is none.
            if timeout is not None:
                connection.session.timeout = float(timeout)
            connection.authorize()
        except (
            keystone_exceptions.ClientException,
            osc_exceptions.CommandError,
            sdk_exceptions.SDKException,
            # a file of TLS, or an answer that is no JSON
            OSError,
            ValueError,
        ) as error:
            told = words.plain(error, words.KEYSTONE)
            raise ApiUnavailable(
                f"can't log in to the cloud: {told}"
            ) from error
        return connection


class RecoveryCommand(RecoveryMixin):
    """A command whose ``take_action`` returns its exit code, or None."""


class RecoveryLister(RecoveryMixin, command.Lister):
    """A command that shows a table: ``take_action`` returns its columns.

    :cvar short: the columns that a terminal shows; () is all that have
        something to say
    """

    short: tuple[str, ...] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        tables.add_option(parser)
        return parser

    def refused(
        self, parsed_args: argparse.Namespace, columns: Any, rows: Any
    ) -> None:
        """The gates, in a form that a program reads; they were shown."""
        if parsed_args.formatter != 'table':
            parsed_args.columns = []
            self.produce_output(parsed_args, columns, rows)

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Any, data: Any
    ) -> int:
        """Show the rows, whatever tenants named their servers."""
        shown = (_row(row, parsed_args.formatter) for row in data)
        if tables.wanted(parsed_args, self.app.stdout):
            tables.show(column_names, shown, self.short, self.app.stdout)
            return 0
        return super().produce_output(parsed_args, column_names, shown)


class RecoveryShowOne(RecoveryMixin, command.ShowOne):
    """A command that shows one thing: ``take_action`` returns its fields."""

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Any, data: Any
    ) -> int:
        """Show the fields, whatever tenants named their servers."""
        shown = _row(data, parsed_args.formatter)
        if tables.wanted(parsed_args, self.app.stdout):
            tables.show_fields(column_names, shown, self.app.stdout)
            return 0
        return super().produce_output(parsed_args, column_names, shown)


def _row(row: Any, formatter: str) -> tuple[Any, ...]:
    """The cells, harmless for a terminal, or for the shell that reads them.

    JSON and YAML have escapes of their own. A line end within a cell is
    shown in a table; elsewhere it would make another line of it.
    """
    if formatter in ('json', 'yaml'):
        return tuple(row)
    clean = printable.lines if formatter == 'table' else printable.clean
    cells = (clean(one) if isinstance(one, str) else one for one in row)
    if formatter == 'shell':
        # cliff puts it in double quotes (formatters/shell.py), for eval
        cells = (
            re.sub(r'([\\$`])', r'\\\1', one) if isinstance(one, str) else one
            for one in cells
        )
    return tuple(cells)
