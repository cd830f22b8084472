"""What does a command take?  Runs it and prints its seconds, peak KB and exit code as JSON.

This is a process of its own because Linux counts the memory of whoever starts a command into the
command's peak: a benchmark that holds a large ring would measure itself. It imports nothing else of
this folder, so that it stays small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

if __name__ == "__main__":
    began = time.perf_counter()
    child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    # kilobytes, but bytes on a Mac
    peak = usage.ru_maxrss // 1024 if sys.platform == "darwin" else usage.ru_maxrss
    print(json.dumps([seconds, peak, os.waitstatus_to_exitcode(status)]))
