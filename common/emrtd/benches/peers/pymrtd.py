"""SOD signature verifications per second by pymrtd, one core, on every *.sod file of a folder.

Usage: pymrtd.py FOLDER. Says so and succeeds where the package is not installed.
"""

import pathlib
import sys
import time

# This file has the package's name: its own folder must not be searched for it.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).resolve().parent]
try:
    from pymrtd import ef
except ImportError as error:
    print(f"SKIPPED pymrtd: {error} (set PROOFMILL_PEER_PYTHON to a Python that has the package)")
    sys.exit(0)


def verify(sod_bytes):
    """As a service would: parse, then check every signer under the certificate the SOD brings."""
    sod = ef.SOD.load(sod_bytes)
    for signer in sod.signers:
        sod.verify(signer, sod.getDscCertificate(signer))


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.sod")):
    sod_bytes = path.read_bytes()
    try:
        verify(sod_bytes)
    except Exception as error:  # what it lacks is a result too
        print(f"{path.stem:<30} pymrtd: {error}")
        continue
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < 2:
        verify(sod_bytes)
        count += 1
    print(f"{path.stem:<30} pymrtd, signature alone:          {count / (time.perf_counter() - started):>8.0f}/s")
