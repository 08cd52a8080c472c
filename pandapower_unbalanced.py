"""pandapower's three-phase power flow."""

from __future__ import annotations

from electrisim.elements import KINDS
from electrisim.engine import Support

SUPPORT = dict.fromkeys(KINDS, Support("unsupported", ""))
UnbalancedModel = None
