"""How are the benchmarks run?  ``python -m benchmarks [NAME ...] [--quick] [--markdown FILE]``."""

from __future__ import annotations

import argparse
import gc
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import benchmarks
from benchmarks._report import Table, as_markdown, as_text

_BY_HAND = ("llm_routers",)  # they need a trace and programs that no extra installs


def names() -> list[str]:
    """The benchmarks there are: the files beside this one."""
    found = (entry.name for entry in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def is_long(name: str) -> bool:
    """Whether a benchmark takes minutes, so that it runs only when it is asked for by name."""
    return name.endswith("_long") or name in _BY_HAND


def tables(chosen: list[str], *, quick: bool, **given: Any) -> Iterator[Table]:
    """Run them in order; each table comes as soon as it is measured.

    ``given`` are the options of benchmarks that need a file or other programs.
    """
    for name in chosen:
        gc.collect()  # what the one before left behind is no part of this one
        options = given if name in _BY_HAND else {}
        yield from import_module(f"{benchmarks.__name__}.{name}").run(quick, **options)


def main() -> None:
    """Read the command line, measure, print; exits with 0 whatever was measured."""
    known = names()
    about = (benchmarks.__doc__ or "").partition(";")[0] + "."
    parser = argparse.ArgumentParser("python -m benchmarks", description=about)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="a smoke test: small and imprecise")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables there too")
    parser.add_argument("--trace", metavar="FILE", type=Path, help="llm_routers: a trace")
    parser.add_argument("--programs", metavar="DIRS", default="", help="llm_routers: more PATH")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there is {', '.join(known)}")
    chosen = list(dict.fromkeys(asked.names)) or [name for name in known if not is_long(name)]
    began = perf_counter()
    done = []
    for table in tables(chosen, quick=asked.quick, trace=asked.trace, programs=asked.programs):
        print(as_text(table, quick=asked.quick), flush=True)
        done.append(table)
    if asked.markdown:
        # as typed, but for the file: a path is nobody's business
        command = " ".join(["python -m benchmarks", *asked.names, *["--quick"] * asked.quick])
        page = as_markdown(done, command, quick=asked.quick)
        asked.markdown.write_text(page, encoding="utf-8")
    missed = sum(row.verdict == "MISSED" for table in done for row in table.rows)
    verdict = "a quick run judges nothing" if asked.quick else f"{missed} targets missed"
    print(f"{verdict}; {perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
