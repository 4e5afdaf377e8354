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


"""Where runs are recorded."""

from oslo_config import cfg

GROUP = 'journal'

OPTIONS = [
    cfg.StrOpt(
        'connection',
        default='sqlite:////var/lib/nova-recovery/journal.sqlite',
        secret=True,
        help="""
SQLAlchemy URL of the journal: what was planned, what was there before, and
how far each run is. SQLite by default, on a local file system.

Where several controllers share the work, a MySQL or MariaDB database of its
own, such as ``mysql+pymysql://recovery:PASSWORD@db1/nova_recovery``. Do not
put it on the servers that you would recover with it.
""",
    ),
]
