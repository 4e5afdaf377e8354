# SPDX-License-Identifier: Apache-2.0

"""The standalone program, ``nova-recovery``.

The commands of ``openstack recovery`` without the word ``recovery``, for the
hour when the unified client can't be used. It is a plain cliff application,
not a subclass of osc-lib's shell: that takes four times as long to start.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import functools
import logging
import sys
from typing import Any, TYPE_CHECKING

from cliff import app, commandmanager

from nova_recovery import exit_codes, logs, version
from nova_recovery.compat import entry_points
from nova_recovery.engine import files
from nova_recovery.exceptions import RecoveryError

if TYPE_CHECKING:
    import openstack.connection

COMMAND_GROUP = 'openstack.recovery.v1'

#: ``--os-NAME`` and what it is. By hand, since keystoneauth's own
#: register_argparse_arguments costs half a second at each start.
CREDENTIALS = (
    ('cloud', 'Cloud of clouds.yaml'),
    ('auth-type', 'Authentication plugin, such as password'),
    ('auth-url', 'URL of Keystone'),
    ('username', 'User name'),
    ('user-id', 'User ID'),
    ('user-domain-name', "Name of the user's domain"),
    ('user-domain-id', "ID of the user's domain"),
    ('password', 'Password; better kept in clouds.yaml or OS_PASSWORD'),
    ('project-name', 'Project name'),
    ('project-id', 'Project ID'),
    ('project-domain-name', "Name of the project's domain"),
    ('project-domain-id', "ID of the project's domain"),
    ('system-scope', 'Scope of a system token: all'),
    ('application-credential-id', 'ID of an application credential'),
    ('application-credential-secret', 'Its secret'),
    ('token', 'Token; with --os-auth-type token'),
    ('region-name', 'Region'),
    ('interface', 'Kind of endpoint: public, internal or admin'),
    ('cacert', 'File of CA certificates for the servers'),
    ('cert', "File of the client's certificate"),
    ('key', "File of the client's key"),
)


class CommandManager(commandmanager.CommandManager):
    """The commands of the plugin, as ``run list``, not ``recovery run list``.

    Their modules are imported when they are run, not all at each start.
    """

    def load_commands(self, namespace: str) -> None:
        """Add the commands of an entry point group."""
        self.group_list.append(namespace)
        for point in entry_points(namespace):
            if point.name == 'recovery':
                # the unified client's word for all of us, without a verb
                continue
            name = point.name.replace('_', ' ').removeprefix('recovery ')
            self.commands[name] = point


class ClientManager:
    """What commands ask of the unified client's object of this name.

    :param options: the parsed global options
    """

    _auth_setup_completed = True

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    @functools.cached_property
    def sdk_connection(self) -> openstack.connection.Connection:
        """openstacksdk's connection, from --os-*, OS_* or clouds.yaml."""
        from openstack import config, connection

        credentials = argparse.Namespace(
            **{
                name: value
                for name, value in vars(self._options).items()
                if name.startswith('os_') and value is not None
            }
        )
        if self._options.insecure:
            credentials.insecure = True
        region = config.OpenStackConfig(
            app_name='nova-recovery', app_version=version.version()
        ).get_one(argparse=credentials)
        return connection.Connection(config=region)


class Shell(app.App):
    """The program: global options, credentials and logging."""

    NAME = 'nova-recovery'
    LOG = logging.getLogger(NAME)

    client_manager: ClientManager

    def __init__(self) -> None:
        super().__init__(
            description='Recover an OpenStack compute service from failed '
            'hosts and disasters.',
            version=version.version(),
            command_manager=CommandManager(COMMAND_GROUP),
            deferred_help=True,
        )

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Return the parser of the global options."""
        # no abbreviations: they would swallow options of the commands
        parser = super().build_option_parser(
            description,
            version,
            {
                'prog': self.NAME,
                'usage': '%(prog)s [options] <command> ...',
                'allow_abbrev': False,
                **(argparse_kwargs or {}),
            },
        )
        group = parser.add_argument_group(
            'credentials', 'Only for what needs an API; or as OS_* variables.'
        )
        for name, what in CREDENTIALS:
            group.add_argument(f'--os-{name}', metavar='<value>', help=what)
        group.add_argument(
            '--insecure',
            action='store_true',
            help="Don't verify the servers' certificates",
        )
        return parser

    def configure_logging(self) -> None:
        """Log warnings and worse to stderr; -v and --debug show more.

        cliff would begin with INFO, of every library, and write all of DEBUG
        into ``--log-file``, in a file that everybody may read.
        """
        levels = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
        level = levels[min(self.options.verbose_level, len(levels) - 1)]
        if self.options.debug:
            level = logging.DEBUG
        console = logging.StreamHandler(self.stderr)
        console.setFormatter(logging.Formatter(self.CONSOLE_MESSAGE_FORMAT))
        logs.quiet(console)
        handlers = [console]
        if self.options.log_file:
            to_file = logging.StreamHandler(
                files.append(self.options.log_file)
            )
            to_file.setFormatter(
                logging.Formatter(self.LOG_FILE_MESSAGE_FORMAT)
            )
            handlers.append(to_file)
        root = logging.getLogger()
        root.setLevel(level)
        for handler in handlers:
            logs.mask(handler)
            root.addHandler(handler)

    def initialize_app(self, argv: list[str]) -> None:
        """Make the client manager, which logs in when it is asked to."""
        self.client_manager = ClientManager(self.options)

    def interact(self) -> None:
        """Say that a command is missing: there is no shell of our own."""
        self.parser.error('which command? See nova-recovery --help')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    try:
        return Shell().run(list(sys.argv[1:] if argv is None else argv))
    except RecoveryError as error:
        # the file of the log can't be opened
        sys.stderr.write(f'{error}\n')
        return error.exit_code
    except KeyboardInterrupt:
        # before cliff's own handler, or after it
        return exit_codes.INTERRUPTED


if __name__ == '__main__':
    sys.exit(main())
