"""What are placements and strategies tried with?  Hypothesis strategies for all that they take.

Each shrinks towards what a person would write: ``web1`` and ``web2`` of weight 1, the key ``""``.
"""

from __future__ import annotations

from hypothesis import strategies as st

from hashring.hosts import Host

_LARGEST = 6  # hosts: a law that seven hosts break and no six do has not been met yet
_HEAVIEST = 8  # above it only tables grow: a program with 160 points a unit has 7,680 for six hosts

_PLAIN = tuple(f"web{i}" for i in range(1, 10))
# with a port, as most proxies have them; a name's start or end must not make it another's
_ADDRESSES = ("10.0.0.1:80", "10.0.0.1:8", "10.0.0.11:80", "10.0.0.2:11211", "[2001:db8::1]:443")
# what a separator, an encoding or a buffer may stumble over
_ODD = (
    "1",
    "11",
    "1#1",
    "#",
    "1-1",
    "-",
    "a b",
    "%",
    "x" * 99,
    "größe",
    "服务器",
    "🦀",
    "\0",
    "\n",
)
_SURROGATES = (chr(0xD83D), f"web{chr(0xDE00)}")


def host_names(*, surrogates: bool = False) -> st.SearchStrategy[str]:
    """Names of hosts: plain ones, addresses with ports, odd ones.

    ``surrogates`` adds lone surrogates, which are legal in a str and in hashring, though no UTF-8.

    >>> from hypothesis import find
    >>> find(host_names(), lambda name: True)
    'web1'
    """
    # one list, not one_of(): a name then shrinks to the next plainer one, whatever its kind
    return st.sampled_from(_PLAIN + _ADDRESSES + _ODD + (_SURROGATES if surrogates else ()))


def weights(*, whole: bool = False) -> st.SearchStrategy[float]:
    """Weights from 0.1 to 8, or the ``whole`` ones from 1 to 8 alone.

    >>> from hypothesis import find
    >>> find(weights(), lambda weight: weight > 1)
    2.0
    """
    plain = st.integers(1, _HEAVIEST).map(float)
    return plain if whole else st.one_of(plain, st.floats(0.1, _HEAVIEST))


@st.composite
def hosts(
    draw: st.DrawFn,
    *,
    names: st.SearchStrategy[str] | None = None,
    whole: bool | None = None,
    least: int = 1,
    most: int = _LARGEST,
) -> list[Host]:
    """Memberships: lists of ``least`` to ``most`` hosts in any order, each name once.

    ``whole`` weights only, any weights (False), or by default now these, now those: half of all
    programs take no fractions.

    >>> from hypothesis import find
    >>> find(hosts(), lambda found: len(found) > 1)
    [Host('web1'), Host('web2')]
    """
    found = draw(
        st.lists(
            host_names() if names is None else names, min_size=least, max_size=most, unique=True
        )
    )
    only_whole = draw(st.sampled_from([True, False])) if whole is None else whole
    weight = weights(whole=only_whole)
    return [Host(name, draw(weight)) for name in found]


def keys(*, surrogates: bool = False) -> st.SearchStrategy[str | bytes]:
    """Keys as str or bytes, the empty ones too; ``surrogates`` adds lone ones to the texts.

    Lone surrogates are what ``json.loads`` makes of half an emoji. They are left out by default, as
    some C hash functions end the process on them, which no test can report.

    >>> from hypothesis import find
    >>> find(keys(), lambda key: isinstance(key, bytes))
    b''
    """
    alphabet = st.characters(codec="utf-8")
    kinds: list[st.SearchStrategy[str] | st.SearchStrategy[bytes]] = []
    if surrogates:
        alphabet |= st.characters(categories=["Cs"])
        kinds.append(st.sampled_from(_SURROGATES))  # so that no run goes without one by chance
    return st.one_of(st.text(alphabet, max_size=20), st.binary(max_size=20), *kinds)


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    of: st.SearchStrategy[list[Host]] | None = None,
    most: int = 5,
) -> list[list[Host]]:
    """What a pool may live through: memberships, each one change after the one before.

    ``of`` gives all the hosts there will ever be; the first membership is some of them. Then one
    comes, leaves or changes its weight, or all change their order; at least one is always in.

    >>> from hypothesis import find
    >>> find(histories(), lambda history: len(history) == 2)
    [[Host('web1')], [Host('web1', 2.0)]]
    """
    known = draw(hosts() if of is None else of)
    now = known[: len(known) - draw(st.integers(0, len(known) - 1))]
    history = [now]
    for _ in range(draw(st.integers(0, most - 1))):
        now = _on_change(draw, now, known)
        history.append(now)
    return history


def _on_change(draw: st.DrawFn, now: list[Host], known: list[Host]) -> list[Host]:
    """``now`` after one change that can be made; a host that left may come back."""
    away = [host for host in known if host not in now]
    several = len(now) > 1
    can = ["weight"] + ["remove", "order"] * several + ["add"] * bool(away)
    change = draw(st.sampled_from(can))
    place = draw(st.integers(0, len(now) - 1))
    if change == "remove":
        return now[:place] + now[place + 1 :]
    if change == "add":
        return [*now[:place], draw(st.sampled_from(away)), *now[place:]]
    if change == "weight":
        heavier = now[place].with_weight(now[place].weight + draw(st.integers(1, 3)))
        return [*now[:place], heavier, *now[place + 1 :]]
    return list(draw(st.permutations(now)))
