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

"""Where the disks of the servers are."""

from oslo_config import cfg

GROUP = 'storage'

OPTIONS = [
    cfg.BoolOpt(
        'shared_instances',
        help="""
Whether the disks of servers that don't boot from a volume can be reached from
every compute host: instances_path is on shared storage, or they are in Ceph.
Without an answer, a server with such a disk is refused unless the operator
says so for the one recovery with ``--shared-storage``.
""",
    ),
]
