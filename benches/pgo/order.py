#!/usr/bin/env python3
"""Which functions the program executes from its start to its first answers, and to its end: the linker puts them side by side.

    benches/pgo/order.py PROGRAM FILE    # a line for each, by the name that the linker knows it by

What a process at rest has in memory is, for the most part, code that it needed once. Scattered over the program that takes
several times the room (src/cost.md), since the kernel maps memory in groups of sixteen pages. PROGRAM must still have its
symbols. Needs two cores, nginx, nm and valgrind.
"""

import functools, re, subprocess, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))
import lab

VALGRIND = ["valgrind", "--quiet", "--tool=callgrind", "--demangle=no"]


def executed(start, name, cores, token=None):
    """The names of the functions that a proxy on `cores` executes: to be ready, and with a `token` to answer, too."""
    counts = lab.PLACE / f"{name}.counts"
    ours = start(name, cores=cores, under=[*VALGRIND, f"--callgrind-out-file={counts}"]).wait_until_it_logs('"ready"')
    if token:
        ours.wait_until_it_answers(401).wait_until_it_answers(200, token)
    ours.end()
    # One that calls itself is counted once more, as name'2. Those of libraries are among them: there the linker has no say.
    return set(re.findall(r"^c?fn=\(\d+\) ([\w.$]+)", counts.read_text(), re.MULTILINE))


def main():
    program, order = (Path(path).resolve() for path in sys.argv[1:])
    lab.need("nm", "nginx", "taskset", "valgrind")
    if not subprocess.check_output(["nm", program], stderr=subprocess.DEVNULL):
        sys.exit(f"{program} has no symbols")
    simulator, application = lab.simulator(program), lab.application()
    start = functools.partial(lab.siwa_proxy, binary=program, simulator=simulator, upstream=application)
    (token,) = lab.mint(simulator, 1)
    runs = [
        executed(start, "start", lab.SERVER_CORE),
        # The runtime of one core is another than that of several.
        executed(start, "start on two cores", f"{lab.SERVER_CORE},{lab.LOAD_CORE}"),
        executed(start, "answer", lab.SERVER_CORE, token),
    ]
    # What all need comes first.
    names = sorted(set.union(*runs), key=lambda name: ([name not in run for run in runs], name))
    order.write_text("".join(name + "\n" for name in names))


if __name__ == "__main__":
    lab.in_a_folder(main)
