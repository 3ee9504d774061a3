# Sourced by .ci/run: a Docker Engine for the tests, in a folder of its own.

ENGINE_START_TIMEOUT_S=60
engine_folder=
engine_pid=

# From here on `docker` talks to the engine that answers, or to one that was started here.
start_engine_if_none_answers() {
    if docker info >/dev/null 2>&1; then
        return
    fi
    engine_folder=$(mktemp -d)
    export DOCKER_HOST="unix://$engine_folder/docker.sock"
    mount_cgroups
    # the tests need no network; the simplest engine that starts will do
    start_engine ||
        start_engine --bridge=none --iptables=false --ip6tables=false ||
        start_engine --bridge=none --iptables=false --ip6tables=false --storage-driver=vfs ||
        { show_engine_log; return 1; }
}

# start_engine FLAG...: returns 0 when it answers.
start_engine() {
    echo "starting a Docker Engine${*:+ with $*}"
    dockerd --host "$DOCKER_HOST" --data-root "$engine_folder/data" \
        --exec-root "$engine_folder/exec" --pidfile "$engine_folder/pid" "$@" \
        >>"$engine_folder/log" 2>&1 &
    engine_pid=$!
    local deadline_s=$((SECONDS + ENGINE_START_TIMEOUT_S))
    while kill -0 "$engine_pid" 2>/dev/null && ((SECONDS < deadline_s)); do
        if docker info >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.3
    done
    end_engine_process
    return 1
}

stop_engine() {
    [ -n "$engine_folder" ] || return 0
    end_engine_process
    umount --recursive "$engine_folder/data" 2>/dev/null || true # it mounts its folder on itself
    rm -rf "$engine_folder" || true
}

end_engine_process() {
    [ -n "$engine_pid" ] || return 0
    kill "$engine_pid" 2>/dev/null || true
    wait "$engine_pid" 2>/dev/null || true
    engine_pid=
}

show_engine_log() {
    [ -f "$engine_folder/log" ] || return 0
    echo "the end of the Docker Engine's log:" >&2
    grep -v level=info "$engine_folder/log" | tail -n 20 >&2 || true
}

# A machine without systemd may have none; containers need them.
mount_cgroups() {
    local controller
    if grep -q ' cgroup2\? ' /proc/self/mounts; then
        return
    fi
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup || return 0
    for controller in $(awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups); do
        mkdir -p "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" ||
            rmdir "/sys/fs/cgroup/$controller"
    done
}
