# Sourced by .ci/run: what the tests need of Debian.

# Installs the packages whose commands are missing; does nothing where all are there.
install_packages() {
    local wanted=()
    command -v make >/dev/null || wanted+=(make)
    command -v sqlite3 >/dev/null || wanted+=(sqlite3)
    command -v dockerd >/dev/null || wanted+=(docker.io)
    command -v systemd-analyze >/dev/null || wanted+=(systemd) # reads our unit; it is not run
    command -v debootstrap >/dev/null || wanted+=(debootstrap)
    command -v docker-compose >/dev/null || wanted+=(docker-compose)
    is_static_busybox || wanted+=(busybox-static)
    # the pages of `spool web` are opened in it; some 150 MB with its libraries
    command -v chromium >/dev/null || wanted+=(chromium fonts-dejavu-core)
    find_python >/dev/null || wanted+=(python3 python3-venv)
    [ ${#wanted[@]} -gt 0 ] || return 0
    echo "installing ${wanted[*]}"
    apt_get update || { sleep 5; apt_get update; }
    apt_get install --no-install-recommends "${wanted[@]}"
}

# A Python that spool runs on and that can make a virtual environment.
find_python() {
    local python
    for python in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# The other package of that name, busybox, is linked to libraries that an image would lack.
is_static_busybox() {
    command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1
}

# Quiet; what it said is shown where it failed.
apt_get() {
    local said
    if ! said=$(DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 "$@" 2>&1)
    then
        echo "apt-get $1 failed:" >&2
        tail -n 30 <<<"$said" >&2
        return 1
    fi
}
