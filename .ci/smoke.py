"""Ask the installed fastserve for one response: `python smoke.py`. Needs nothing but the package, on any platform."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request

PATIENCE = 60.0


def main() -> None:
    with tempfile.TemporaryDirectory() as elsewhere:  # where no source tree is beside the package
        command = [sys.executable, "-m", "fastserve", "fastserve.demo:app", "--port", "0"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, cwd=elsewhere, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as server:
            watchdog = threading.Timer(PATIENCE, server.kill)
            watchdog.start()
            try:
                assert server.stderr is not None
                for line in server.stderr:
                    print(line, end="")
                    if found := re.search(r"running on (http://\S+)", line):
                        break
                else:
                    raise SystemExit(f"the server ended with {server.wait()} before it listened")
                with urllib.request.urlopen(found[1] + "/json", timeout=PATIENCE) as response:
                    body = response.read()
                print(response.status, response.headers["server"], len(body), "bytes")
                assert response.status == 200 and response.headers["server"] == "fastserve"
            finally:
                server.terminate()
                server.stderr.read()
                server.wait()
                watchdog.cancel()


if __name__ == "__main__":
    main()
