"""Keeps clients on their hosts by tokens in a cookie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from hashring.affinity._cookies import CookieOptions, check_bare_name, cookie_values
from hashring.affinity._counters import Counters
from hashring.affinity.tokens import TOKEN_LENGTH, Token, Tokens
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError, TokenError
from hashring.hosts import Host
from hashring.keys import Key

_REMEMBERED = 4096  # visits; each client of a busy router comes again before so many others
_SHORT = 1024  # bytes of a visit that is remembered, so that all stay under 8 MB
_MOST_TRIED = 64
"""Cookies of one name whose signatures are checked: others can be planted by a sibling domain, and
one check costs 8 us. A cookie of another length than a token's costs nothing and is not counted."""


@dataclass(frozen=True, slots=True)
class Visit:
    """The client of a request, as its cookie and the application identify it.

    ``client_id`` and ``prefer`` are for ``pick`` or ``lease``. ``client`` and ``given`` go into
    a new token; ``token`` is the one that was sent, if it is valid. ``is_settled``: on the host
    ``prefer`` no new token is due.
    """

    client_id: Key
    prefer: str | None
    client: bytes
    given: bool
    token: Token | None
    is_settled: bool = False


class _RememberedVisit:
    """A visit that comes again while the pool has ``epoch``, from ``begin`` to ``end`` by clock."""

    __slots__ = ("begin", "end", "epoch", "kind", "visit")

    def __init__(self, visit: Visit, epoch: int, kind: type, begin: float, end: float) -> None:
        self.visit, self.epoch, self.kind = visit, epoch, kind
        self.begin, self.end = begin, end


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a request goes; ``set_cookie`` is the header's value, None when none is due."""

    host: Host
    visit: Visit
    set_cookie: str | None


class TokenAffinity:
    """Keeps the clients of a balancer on their hosts by the tokens they carry in a cookie.

    A token's tag names the host that is preferred; its ID gives the walk when that host is down,
    gone or unknown, so that all routers with these secrets agree without talking. A request
    without a good token is a new client: the ID that the application gives places it, or a random
    one. A client that was placed again gets a new token, and so does one whose token is past half
    its time or signed by the older secret.

    ``cookie_secure``: True sets ``Secure`` and puts ``__Host-`` before the name (``__Secure-`` for
    a cookie with a domain or path of its own), False neither, ``"auto"`` sets ``Secure`` on answers
    to requests that came by TLS. The name never depends on the request. ``cookie_options`` are the
    other attributes; some need ``Secure``, and with ``cookie_secure=False`` they are refused by
    ``ConfigError``. It registers with the balancer that sessions are kept, so that ``drain``
    reports them.

    ``stats`` counts visits: ``known`` (with a good token), ``new`` (with no token) and ``refused``
    (with none that is valid: ``Tokens.stats`` has the reasons); and among the known ``unknown`` (no
    host of the pool has the tag) and ``other`` (the token of another client than the ID given); and
    new tokens: ``moved`` (to another host) and ``renewed`` (on the same host).

    >>> from hashring import LoadBalancer
    >>> lb = LoadBalancer(["web1", "web2"])
    >>> affinity = TokenAffinity(lb, Tokens(b"sixteen or more random bytes"))
    >>> first = affinity.decide()
    >>> cookie = first.set_cookie.split(";")[0]
    >>> lb.set_hosts([f"web{n}" for n in range(1, 9)])      # growth moves no client with a token
    >>> again = affinity.decide(cookie)
    >>> again.host == first.host, again.set_cookie
    (True, None)
    """

    def __init__(
        self,
        lb: LoadBalancer,
        tokens: Tokens,
        *,
        cookie: str = "hashring",
        cookie_secure: bool | Literal["auto"] = "auto",
        cookie_options: CookieOptions | None = None,
    ) -> None:
        options = CookieOptions() if cookie_options is None else cookie_options
        if cookie_secure not in (True, False, "auto"):
            raise ConfigError(
                f"cookie_secure must be True, False or 'auto', got {cookie_secure!r}",
                option="cookie_secure",
            )
        if cookie_secure is False and options.needs_secure:
            raise ConfigError(
                "a browser keeps a cookie with SameSite=None or Partitioned only if it is Secure: "
                "set cookie_secure to true or 'auto'",
                option="cookie_secure",
            )
        self._lb = lb
        self._tokens = tokens
        self._secure = cookie_secure
        self._attributes = [options.attributes(tokens.max_age, secure=s) for s in (False, True)]
        self.cookie = (options.prefix if cookie_secure is True else "") + check_bare_name(cookie)
        self._tags: dict[str, tuple[bytes, ...]] = {}
        self._names: tuple[int, dict[bytes, str]] = (-1, {})
        # by cookies and ID: a known client costs a look-up then
        self._recent: dict[tuple[str | None, Key | None], _RememberedVisit] = {}
        self._counters = Counters("known", "new", "refused", "unknown", "other", "moved", "renewed")
        self._learn()
        lb.keeps_sessions(True)

    @property
    def stats(self) -> Mapping[str, int]:
        """How many visits were of which kind, and why new tokens were issued."""
        return self._counters.stats

    def decide(
        self,
        cookies: str | None = None,
        *,
        token: str | None = None,
        client_id: Key | None = None,
        exclude: Iterable[str | Host] = (),
        tls: bool = False,
    ) -> Answer:
        """``visit``, ``pick`` and ``set_cookie`` in one call, for a request without a lease.

        ``exclude`` names hosts that a retry has tried. Raises as ``LoadBalancer.pick``.
        """
        tried = list(exclude)
        visit = self.visit(cookies, token=token, client_id=client_id)
        host = self._lb.pick(visit.client_id, prefer=visit.prefer, exclude=tried)
        return Answer(host, visit, self.set_cookie(visit, host, tls=tls, retry=bool(tried)))

    def visit(
        self, cookies: str | None = None, *, token: str | None = None, client_id: Key | None = None
    ) -> Visit:
        """Who comes, from the ``Cookie`` header, or from the text of one token.

        ``client_id`` is the ID that the application knows the client by, if it does: it gives the
        walk then, and a token of another such ID is refused. Cost: as ``Tokens.read``, and
        about 2 us.

        >>> affinity = TokenAffinity(LoadBalancer(["a"]), Tokens(b"sixteen or more random bytes"))
        >>> visit = affinity.visit("theme=dark", client_id="session-42")
        >>> with affinity.balancer.lease(visit.client_id, prefer=visit.prefer) as lease:
        ...     affinity.set_cookie(visit, lease.host).split("=")[0]
        'hashring'
        """
        recent = self._recent.get((cookies, client_id)) if token is None else None
        if (
            recent is not None
            and recent.epoch == self._lb.snapshot.epoch
            and recent.kind is client_id.__class__  # 1 and True are equal keys of a dict
            and recent.begin <= self._tokens.now() <= recent.end
        ):
            self._counters.add("known")
            return recent.visit
        visit = self._read(cookies, token, client_id)
        found = visit.token
        if found is not None and visit.prefer is not None:
            if self._due(visit, visit.prefer, retry=False) is None:
                visit = replace(visit, is_settled=True)
            if token is None:
                self._remember(cookies, client_id, visit, found)
        return visit

    def _remember(
        self, cookies: str | None, client_id: Key | None, visit: Visit, token: Token
    ) -> None:
        good = self._tokens.max_age / 2 if visit.is_settled else self._tokens.max_age
        size = len(cookies or "") + (len(client_id) if isinstance(client_id, (str, bytes)) else 0)
        if size <= _SHORT:
            if len(self._recent) >= _REMEMBERED:
                self._recent = {}
            epoch = self._lb.snapshot.epoch
            self._recent[cookies, client_id] = _RememberedVisit(
                visit, epoch, client_id.__class__, token.issued - good, token.issued + good
            )

    def _read(self, cookies: str | None, token: str | None, client_id: Key | None) -> Visit:
        given = None if client_id in (None, "", b"") else client_id
        clients = () if given is None else self._tokens.clients(given)
        found = self._valid_token(cookies, token)
        if found is not None and found.given and clients and found.client not in clients:
            self._counters.add("other")
            found = None
        if found is None:
            client = clients[0] if clients else self._tokens.new_client()
            return Visit(
                client.hex() if given is None else given, None, client, bool(clients), None
            )
        prefer = self._host_of(found.tag)
        if prefer is None:
            self._counters.add("unknown")
        if given is not None:
            return Visit(given, prefer, clients[0], True, found)
        # this hash was made with the older secret: the next ID that is given binds it again
        bound = found.given and not found.outdated
        return Visit(found.client_id, prefer, found.client, bound, found)

    def set_cookie(
        self, visit: Visit, host: str | Host, *, tls: bool = False, retry: bool = False
    ) -> str | None:
        """The ``Set-Cookie`` value after ``host`` was chosen; None when no new token is due.

        ``tls``: whether the request came by TLS (see ``TrustedProxies.tls``). A ``retry``
        writes none for a host that was not preferred. Cost: about 1 us, with a new token 9 us.
        """
        name = host.name if isinstance(host, Host) else host
        if visit.is_settled and visit.prefer == name:
            return None
        why = self._due(visit, name, retry)
        if why is None:
            return None
        if why:
            self._counters.add(why)
        secure = tls if self._secure == "auto" else bool(self._secure)
        text = self._tokens.issue(visit.client, name, given=visit.given)
        return f"{self.cookie}={text}{self._attributes[secure]}"

    @property
    def balancer(self) -> LoadBalancer:
        """The balancer whose clients these are."""
        return self._lb

    # -- the decision ------------------------------------------------------------------------

    def _valid_token(self, cookies: str | None, text: str | None) -> Token | None:
        """The first good token among those that came; counted."""
        came = [text] if text is not None else cookie_values(cookies or "", self.cookie)
        plausible = [one for one in came if len(one) == TOKEN_LENGTH]
        for one in islice(plausible or came, _MOST_TRIED):
            try:
                token = self._tokens.read(one)
            except TokenError:  # counted there, by its reason
                continue
            self._counters.add("known")
            return token
        self._counters.add("refused" if came else "new")
        return None

    def _due(self, visit: Visit, host: str, retry: bool) -> str | None:
        """Why a new token is due: ``moved``, ``renewed`` or ``""`` for a first one; None: not."""
        token = visit.token
        if token is None or visit.prefer != host:
            if retry or (token is not None and self._is_lent(visit.prefer)):
                return None
            return "" if token is None else "moved"
        bound = visit.given and not token.given
        return "renewed" if bound or self._tokens.due(token) else None

    def _is_lent(self, name: str | None) -> bool:
        """Whether the client goes back to its host, which is down, when that is up again."""
        member = self._lb.snapshot.members.get(name or "")
        return self._lb.returns_home and member is not None and bool(member.down)

    def _host_of(self, tag: bytes) -> str | None:
        epoch, names = self._names
        if epoch != self._lb.snapshot.epoch:
            names = self._learn()
        return names.get(tag)

    def _learn(self) -> dict[bytes, str]:
        """The tags of the hosts that are in now; a tag is worked out once for each host."""
        snapshot, old = self._lb.snapshot, self._tags
        tags = {name: old.get(name) or self._tokens.tags(name) for name in snapshot.members}
        names = {tag: name for name, both in tags.items() for tag in both}
        # two threads may both do this: each leaves a whole and true answer
        self._tags, self._names = tags, (snapshot.epoch, names)
        return names
