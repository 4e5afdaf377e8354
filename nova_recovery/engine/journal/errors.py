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

"""What can go wrong with the journal, in the words of the operator."""

from __future__ import annotations

from nova_recovery import exceptions
from nova_recovery import exit_codes


class JournalError(exceptions.RecoveryError):
    """The journal can't be used; nothing is sent without it."""


class JournalNewer(JournalError):
    """The journal was written by a newer version of this program."""


class RunLocked(JournalError):
    """Somebody else carries the run out just now."""

    exit_code = exit_codes.REFUSED
