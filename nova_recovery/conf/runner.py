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


"""How much is done at a time."""

from oslo_config import cfg

GROUP = 'runner'

OPTIONS = [
    cfg.IntOpt(
        'workers',
        default=16,
        min=1,
        max=64,
        help="""
How many changes run side by side, at most. The APIs of the cloud are the
limit: see the benchmark in the documentation.
""",
    ),
    cfg.IntOpt(
        'per_target',
        default=4,
        min=1,
        max=64,
        help="""
How many servers are brought up side by side on one target host, at most.
Nova does not limit evacuations by ``max_concurrent_builds``.
""",
    ),
]
