#!/bin/sh
# Installs the servers that the tests start, and what else they run, where it is missing, from Debian's
# packages. Where that cannot be done it says so; the tests that need it are then skipped (with CI=true, fail).
# Other programs may be named, too: `servers.sh wrk`.
missing=
for program in redis-server memcached chromium valgrind "$@"; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
# Debian keeps PostgreSQL's programs away from the path.
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v initdb >/dev/null ||
    missing="$missing postgresql"
# Nor are those of servers on everybody's path.
[ -x /usr/sbin/mariadbd ] || command -v mariadbd >/dev/null || missing="$missing mariadb-server"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then sudo=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo=sudo
else
    echo "servers: missing:$missing; not root and no sudo without a password, so not installed" >&2
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "servers: missing:$missing; no apt-get here, install them by hand" >&2
    exit 0
fi

echo "servers: installing$missing"
{
    $sudo apt-get update -qq &&
    # RUNLEVEL keeps Debian from starting a second, permanent server on the standard port.
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -qq -y --no-install-recommends $missing >/dev/null
} || echo "servers: apt-get could not install$missing" >&2
