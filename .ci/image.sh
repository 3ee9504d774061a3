# Sourced by .ci/run: a base for the image of Spool, where none can be pulled.

BASE_IMAGE=spool-test-base:$$

# This machine's Debian with its Python, and the authorities that this machine trusts: pip asks its
# index from there. Quiet; what debootstrap said is shown where it failed.
make_base_image() {
    local folder said settings
    mapfile -t settings < <(pip_settings)
    folder=$(mktemp -d)
    chmod 755 "$folder"
    if ! said=$(debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        "$(debian_release)" "$folder" "$(debian_mirror)" 2>&1); then
        echo "debootstrap failed:" >&2
        tail -n 30 <<<"$said" >&2
        rm -rf --one-file-system "$folder"
        return 1
    fi
    cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
    tar --create --directory "$folder" --one-file-system \
        --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*' . |
        docker import "${settings[@]}" - "$BASE_IMAGE" >/dev/null
    rm -rf --one-file-system "$folder"
}

remove_base_image() {
    docker rmi --force "$BASE_IMAGE" >/dev/null 2>&1 || true
}

debian_release() {
    # shellcheck source=/dev/null
    (source /etc/os-release && echo "$VERSION_CODENAME")
}

# Where apt has its packages from.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' |
        sed -n 1p
}

# As options of `docker import`, one a line: what pip is told by this machine's environment about its index.
pip_settings() {
    local name
    for name in PIP_INDEX_URL PIP_DEFAULT_TIMEOUT; do
        [ -z "${!name:-}" ] || echo "--change=ENV $name=${!name}"
    done
}
