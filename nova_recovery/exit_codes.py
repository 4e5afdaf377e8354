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

"""How a command of nova-recovery ends, in numbers.

cliff itself fixes 1 (an error), 2 (usage) and 130 (Ctrl-C); the others are
ours and mean the same for every command.
"""

from __future__ import annotations

DONE = 0
ERROR = 1
USAGE = 2
#: A gate refused; nothing was changed.
REFUSED = 3
#: Some items failed, or it is in doubt whether they were carried out; or the
#: run paused by itself.
PARTLY = 4
#: Stopped by Ctrl-C or SIGHUP between two items; ``run resume`` goes on.
INTERRUPTED = 130
