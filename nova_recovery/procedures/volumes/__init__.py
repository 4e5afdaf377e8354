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


"""Volumes: what is wrong with them, and each wrong thing mended alone.

Nova says which volumes a server has, cinder says to which servers a volume
is attached. ``assess`` compares the two, ``reset``, ``attach`` and
``detach`` mend one thing of one volume.
"""
