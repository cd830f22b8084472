"""A state machine for a balancer of your own: any history of changes, checked after each step."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

NAMES = ("web1", "web2", "web3", "web4", "web5")
CLIENTS = tuple(f"client-{number}" for number in range(40))
"""A law that one client in 20 breaks stays unseen in one step with a chance of 0.95^40, 13 %."""


class BalancerMachine(RuleBasedStateMachine):
    """Registers, removes and marks hosts in any order, and asks for every client after each step.

    Subclass it, return your balancer from ``make``, and run its ``TestCase`` with pytest or
    unittest. A balancer has ``pick(client)``, which returns a host or its name,
    ``register(name)``, ``unregister(name)`` and ``mark_down(name, reason)``; ``mark_up(name)`` is
    used where there is one. Override the methods ``do_...`` where yours has other names.

    Checked:

    * a pick is a member that is not down; without one it raises a ``LookupError``;
    * a client stays on its host while nothing changes;
    * a change moves only clients to or from the host that it concerns. A balancer that remembers
      sessions moves fewer, which is allowed. Set ``MINIMAL_MOVE = False`` for one that does not
      promise this;
    * registering a member and removing or marking a stranger raise an error and move no client.

    Cost: 40 picks a step. Numbers of examples and steps are those of the Hypothesis profile.

    >>> from hashring import LoadBalancer
    >>> class MyMachine(BalancerMachine):
    ...     def make(self, hosts):
    ...         return LoadBalancer(hosts)
    >>> from hypothesis import settings
    >>> from hypothesis.stateful import run_state_machine_as_test
    >>> few = settings(max_examples=5, stateful_step_count=5, database=None)
    >>> run_state_machine_as_test(MyMachine, settings=few)
    """

    MINIMAL_MOVE = True

    def make(self, hosts: list[str]) -> Any:
        """Your balancer over ``hosts``, which are names."""
        raise NotImplementedError(f"{type(self).__name__}.make must return a balancer")

    # -- how a balancer is used -------------------------------------------------------------------

    def do_pick(self, client: str) -> str:
        """The name of the host of ``client``."""
        host = self.balancer.pick(client)
        return str(getattr(host, "name", host))

    def do_register(self, name: str) -> None:
        """Add a host."""
        self.balancer.register(name)

    def do_unregister(self, name: str) -> None:
        """Remove a host."""
        self.balancer.unregister(name)

    def do_mark_down(self, name: str) -> None:
        """Take a host out of use."""
        self.balancer.mark_down(name, "a test")

    def do_mark_up(self, name: str) -> None:
        """Use a host again; nothing for a balancer without ``mark_up``."""
        if hasattr(self.balancer, "mark_up"):
            self.balancer.mark_up(name)

    # -- steps ------------------------------------------------------------------------------------

    @initialize(hosts=st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    def start(self, hosts: list[str]) -> None:
        """Make the balancer."""
        self.balancer = self.make(hosts)
        self.members = set(hosts)
        self.down: set[str] = set()
        self.placed = self._place()

    @rule(name=st.sampled_from(NAMES))
    def register(self, name: str) -> None:
        """Add a host, or be refused for one that is a member."""
        if name in self.members:
            self._is_refused("register", name)
        else:
            self.do_register(name)
            self.members.add(name)
            self._compare(name, f"register({name!r})")

    @rule(name=st.sampled_from(NAMES))
    def unregister(self, name: str) -> None:
        """Remove a host, or be refused for a stranger."""
        if name not in self.members:
            self._is_refused("unregister", name)
        else:
            self.do_unregister(name)
            self.members.discard(name)
            self.down.discard(name)
            self._compare(name, f"unregister({name!r})")

    @rule(name=st.sampled_from(NAMES))
    def mark_down(self, name: str) -> None:
        """Take a host out of use, or be refused for a stranger."""
        if name not in self.members:
            self._is_refused("mark_down", name)
        else:
            self.do_mark_down(name)
            self.down.add(name)
            self._compare(name, f"mark_down({name!r})")

    @precondition(lambda self: self.down and hasattr(self.balancer, "mark_up"))
    @rule(data=st.data())
    def mark_up(self, data: st.DataObject) -> None:
        """Use a host again."""
        name = data.draw(st.sampled_from(sorted(self.down)))
        self.do_mark_up(name)
        self.down.discard(name)
        self._compare(name, f"mark_up({name!r})")

    @invariant()
    def clients_stay(self) -> None:
        """While nothing changes, a client stays on its host."""
        if hasattr(self, "placed"):
            before, self.placed = self.placed, self._place()
            self._fail_for_moves(before, None, "nothing changed")

    # -- laws -------------------------------------------------------------------------------------

    def _place(self) -> dict[str, str | None]:
        usable = self.members - self.down
        placed: dict[str, str | None] = {}
        for client in CLIENTS:
            try:
                placed[client] = self.do_pick(client)
            except LookupError as error:
                if usable:
                    raise AssertionError(
                        f"pick({client!r}) raised {type(error).__name__}: {error}, though "
                        f"{', '.join(sorted(usable))} could serve"
                    ) from error
                placed[client] = None
            if not usable:
                assert placed[client] is None, (
                    f"pick({client!r}) is {placed[client]!r}, though no host can serve: raise a "
                    "LookupError, such as hashring.NoHostsError"
                )
                return dict.fromkeys(CLIENTS)
            assert placed[client] in usable, (
                f"pick({client!r}) is {placed[client]!r}, which is "
                f"{'down' if placed[client] in self.down else 'not a member'}"
            )
        return placed

    def _compare(self, concerned: str, change: str) -> None:
        before, self.placed = self.placed, self._place()
        if self.MINIMAL_MOVE:
            self._fail_for_moves(before, concerned, change)

    def _fail_for_moves(
        self, before: dict[str, str | None], concerned: str | None, change: str
    ) -> None:
        for client, was in before.items():
            now = self.placed[client]
            if was != now and None not in (was, now) and concerned not in (was, now):
                raise AssertionError(f"{client!r} moved from {was!r} to {now!r}, though {change}")

    def _is_refused(self, call: str, name: str) -> None:
        try:
            getattr(self, f"do_{call}")(name)
        except Exception:  # of whatever type: it is the balancer's own
            before, self.placed = self.placed, self._place()
            self._fail_for_moves(before, None, f"{call}({name!r}) was refused")
            return
        known = "a member already" if call == "register" else "not a member"
        raise AssertionError(f"{call}({name!r}) raised nothing, though the host is {known}")
