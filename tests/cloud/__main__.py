# SPDX-License-Identifier: Apache-2.0

"""python -m tests.cloud: the practice cloud from a shell."""

from __future__ import annotations

import argparse
import shlex
import sys

from tests.cloud import packages, services, settings
from tests.cloud.cloud import PracticeCloud
from tests.cloud.process import CloudError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m tests.cloud')
    commands = parser.add_subparsers(dest='command', required=True)
    for name, text in {
        'install': 'install the Debian packages and OpenStack, start nothing',
        'up': 'install, create, start and seed whatever is missing',
        'status': 'list the services; exit 1 if any is down',
        'env': 'print export lines for a shell',
        'reset': 'back to the seeded state',
        'seed': 'create the seeded servers that are missing',
        'save': 'make the present state the one that reset restores',
    }.items():
        commands.add_parser(name, help=text)
    down = commands.add_parser('down', help='stop all services')
    down.add_argument(
        '--wipe', action='store_true', help='forget all but the packages'
    )
    for name, text in {
        'start': 'start services and wait until they serve',
        'stop': 'end services by SIGTERM',
        'kill': 'end services by SIGKILL',
        'guests': 'show the guests of hosts',
        'logs': "show the last lines of services' logs",
    }.items():
        command = commands.add_parser(name, help=text)
        command.add_argument('names', nargs='+', metavar='NAME')
        if name == 'start':
            command.add_argument(
                '--clock',
                type=int,
                default=0,
                metavar='SECONDS',
                help="by how much the service's clock is ahead",
            )
    loss = commands.add_parser(
        'power-loss',
        help='kill nova-compute of hosts, or all of the site, and the guests',
    )
    loss.add_argument('names', nargs='*', metavar='HOST')
    loss.add_argument(
        '--site',
        action='store_true',
        help='all hosts, cinder-volume and RabbitMQ',
    )
    loss.add_argument(
        '--database', action='store_true', help='with --site: MariaDB too'
    )
    power_on = commands.add_parser(
        'power-on', help='start what is down, as after a power loss'
    )
    power_on.add_argument(
        '--no-compute', action='store_true', help='but no nova-compute'
    )
    power_on.add_argument(
        '--option',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='of [DEFAULT], for each nova-compute that is down',
    )
    return parser


def _status(practice: PracticeCloud) -> int:
    pids = practice.status()
    for name, pid in pids.items():
        print(f'{name:22} {"up" if pid else "DOWN":5} {pid or ""}'.rstrip())
    return 0 if all(pids.values()) else 1


def _logs(practice: PracticeCloud, name: str) -> None:
    for log in sorted(practice.config.logs.glob(f'{name}.*')):
        print(f'==> {log}')
        print('\n'.join(log.read_text(errors='replace').splitlines()[-30:]))


def _one_service(practice: PracticeCloud, options: argparse.Namespace) -> None:
    for name in options.names:
        if options.command == 'start':
            practice.start(name, options.clock)
        elif options.command == 'stop':
            practice.stop(name)
        elif options.command == 'kill':
            practice.kill(name)
        elif options.command == 'guests':
            for uuid, guest in practice.guests(name).items():
                print(f'{name} {uuid} {guest["name"]} {guest["state"]}')
        else:
            _logs(practice, name)


def _power_loss(practice: PracticeCloud, options: argparse.Namespace) -> None:
    if options.site == bool(options.names):
        raise CloudError('name hosts, or say --site')
    if options.site:
        practice.site_power_loss(options.database)
    for name in options.names:
        practice.power_loss(name)
    for name in options.names or practice.config.hosts:
        guests = len(practice.guests(name))
        print(f'{name}: nova-compute killed, guests off: {guests}')
    if options.site:
        lost = ['mariadb'] if options.database else []
        print(f'killed: {", ".join([*services.LOST_WITH_SITE, *lost])}')


def main(arguments: list[str]) -> int:
    """Carry out one command; return the exit code."""
    options = _parser().parse_args(arguments)
    practice = PracticeCloud()
    if options.command == 'install':
        config = settings.load(create=True)
        packages.install_debian(config.logs / 'install.log')
        packages.install_openstack(config)
    elif options.command == 'down':
        practice.down(options.wipe)
    elif options.command == 'status':
        return _status(practice)
    elif options.command == 'env':
        for name, value in practice.exports().items():
            print(f'export {name}={shlex.quote(value)}')
    elif options.command == 'power-loss':
        _power_loss(practice, options)
    elif options.command == 'power-on':
        practice.site_power_on(
            not options.no_compute,
            dict(option.split('=', 1) for option in options.option),
        )
    elif options.command in ('up', 'reset', 'seed', 'save'):
        getattr(practice, options.command)()
    else:
        _one_service(practice, options)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except CloudError as error:
        sys.exit(f'error: {error}')
