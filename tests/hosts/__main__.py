# SPDX-License-Identifier: Apache-2.0

"""python -m tests.hosts: beds from a shell."""

from __future__ import annotations

import argparse
import os
import sys

from tests.cloud.process import CloudError
from tests.hosts import beds
from tests.hosts.beds import Beds
from tests.hosts.packages import BedError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m tests.hosts')
    commands = parser.add_subparsers(dest='command', required=True)
    up = commands.add_parser('up', help='hosts that stand until down')
    up.add_argument('count', nargs='?', type=int, default=3)
    commands.add_parser('status', help='list the hosts; exit 1 if one is off')
    commands.add_parser('down', help='end them; leave nothing behind')
    ssh = commands.add_parser('ssh', help='a shell or a command on a host')
    ssh.add_argument('host')
    ssh.add_argument('argv', nargs=argparse.REMAINDER)
    for name, text in {
        'reboot': 'reboot a host from inside',
        'power-cut': 'end all that runs on a host at once',
        'power-on': 'switch a host on',
        'cut-network': "pull a host's cable",
        'mend-network': 'plug it in again',
    }.items():
        commands.add_parser(name, help=text).add_argument('host')
    return parser


def _status(standing: Beds) -> int:
    states = {host: host.state() for host in standing}
    for host, state in states.items():
        word = 'up' if state['ready'] else 'BOOTS' if state['on'] else 'OFF'
        print(f'{host.name:10} {host.address:12} {word:6} {host.root}')
    print(f'ssh -F {standing.ssh_config} {standing.hosts[0].name}')
    print(f'ansible -i {standing.inventory()} all -m raw -a id')
    return 0 if all(state['ready'] for state in states.values()) else 1


def main(arguments: list[str]) -> int:
    """Carry out one command; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == 'up':
        if Beds.find():
            raise BedError('beds stand: see status, or down first')
        return _status(Beds.up(options.count, stand=True))
    standing = Beds.find()
    if options.command == 'down':
        if standing:
            standing.down()
        beds.sweep()
        return 0
    if standing is None:
        raise BedError("no beds: 'python -m tests.hosts up'")
    if options.command == 'status':
        return _status(standing)
    if options.command == 'ssh':
        config = str(standing.ssh_config)
        os.execvp('ssh', ['ssh', '-F', config, options.host, *options.argv])
    getattr(standing[options.host], options.command.replace('-', '_'))()
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except (BedError, CloudError) as error:
        sys.exit(f'error: {error}')
