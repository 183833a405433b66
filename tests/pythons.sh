#!/bin/sh
# Prints the Pythons that can build and test this package, one "minor version, path" a line, oldest
# first. A name on the PATH is tried and not believed: pyenv's shims exist for versions that are
# not switched on, and a distribution's python3 may come without venv.
for python in python3.11 python3.12 python3.13 python3.14 python3 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
    "$python" -c '
import sys, ensurepip, venv
if sys.version_info < (3, 11): sys.exit(1)
# Free-threaded builds cannot load an abi3 wheel.
if "t" in getattr(sys, "abiflags", ""): sys.exit(1)
print("3.%d" % sys.version_info[1], sys.executable)
' 2>/dev/null
done | sort -t. -k2,2n -u
