# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""``recovery host …``"""

from __future__ import annotations

import argparse

from nova_recovery.cli import base
from nova_recovery.cli import recovering


class RecoverHost(base.RecoveryLister):
    """Bring the servers of dead hosts back on others.

    What nova evacuates is evacuated; the rest is moved in the databases,
    with its allocation, ports and volumes. Nothing is done before it was
    shown, and nothing is done for a host that may still be alive: its
    heartbeat is watched, and somebody has to answer for its being off.

    Look first, then do it::

        openstack recovery host recover np-rcc54 --dry-run
        openstack recovery host recover np-rcc54 --fenced "PDU port 14 is off"
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'hosts',
            metavar='<host>',
            nargs='+',
            help='A dead host, its exact name as "openstack compute service '
            'list" shows it',
        )
        recovering.add_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> recovering.Table:
        cloud = self.cloud(parsed_args)
        return recovering.recover(self, parsed_args, cloud, parsed_args.hosts)
