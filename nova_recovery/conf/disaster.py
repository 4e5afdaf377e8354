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

"""A cloud after a power loss."""

from oslo_config import cfg

GROUP = 'disaster'

OPTIONS = [
    cfg.StrOpt(
        'priority_key',
        default='recovery_priority',
        help="""
The key in the metadata of servers whose value, a number, says in what order
they come up again: 1 before 2. A server without it has 100.
""",
    ),
    cfg.IntOpt(
        'quiet',
        default=300,
        min=0,
        help="""
Seconds for which nobody else may have done anything to a server before the
site counts as ready. What our own run sends, and what nova stops by itself
because it doesn't run, does not count. 0: it is no hindrance.
""",
    ),
]
