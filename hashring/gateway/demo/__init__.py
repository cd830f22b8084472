"""What does the gateway do while its pool changes?  Real hosts and clients, sessions counted.

``backend.py`` is one host, a process of its own; ``hosts.py`` starts and kills them; ``crowd.py``
are the clients; ``story.py`` is what happens and what became of the sessions; ``stage.py`` puts
all of it on.
"""

from __future__ import annotations

from hashring.gateway.demo.stage import Stage, staged
from hashring.gateway.demo.story import Outcome, Story

__all__ = ["Outcome", "Stage", "Story", "staged"]
