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

"""What a claim on a server is called."""

from __future__ import annotations

from nova_recovery.cloud import claims
from nova_recovery.engine.journal import records
from tests import base


class TestOwnerTag(base.TestCase):
    def test_it_is_the_marker(self) -> None:
        marker = records.marker('1a2b3c4d', 'anna/admin', 'ctl1')
        self.assertEqual(
            'nova-recovery-run=1a2b3c4d-by=anna/admin@ctl1',
            claims.owner_tag(marker),
        )

    def test_two_machines_never_share_one(self) -> None:
        # or whoever lost a run would still hold its servers
        who = 'anna.maria.mustermann/openstack-administrator'
        tags = {
            claims.owner_tag(records.marker('1a2b3c4d', who, machine))
            for machine in ('controller1', 'controller2')
        }
        self.assertEqual(2, len(tags))
        for tag in tags:
            self.assertEqual(80, len(tag))
            self.assertTrue(tag.startswith('nova-recovery-run=1a2b3c4d-by='))
