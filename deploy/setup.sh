#!/usr/bin/env bash
# Installs what a build needs and this machine lacks: Debian packages, and
# cargo-nextest for the tests; and has plain cargo build where `make` builds.
# Asks nothing, does nothing when nothing is
# missing, and says what it does.
#
# usage: deploy/setup.sh [build|test]
set -euo pipefail

purpose=${1:-build}
case $purpose in
    build | test) ;;
    *) echo "usage: deploy/setup.sh [build|test]" >&2; exit 2 ;;
esac

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    if (($# > 0)); then printf 'setup: %s\n' "$@" >&2; fi
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# bindgen loads libclang.so while RocksDB's bindings are made.
have_libclang() {
    [[ -n ${LIBCLANG_PATH:-} ]] && return 0
    local file
    for file in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib64/libclang*.so* \
        /usr/lib/libclang*.so* /usr/local/lib/libclang*.so*; do
        [[ -e $file ]] && return 0
    done
    return 1
}

missing_packages() {
    have protoc || echo protobuf-compiler
    have clang || echo clang
    have_libclang || echo libclang-dev
    have ld.lld || echo lld
    have c++ || echo g++
    have make || echo make
    have pkg-config || echo pkg-config
    if [[ $purpose == test ]]; then
        have python3 || echo python3
        python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
    fi
}

install_packages() {
    local -a packages=("$@") root=()
    have apt-get || fail "these Debian packages (or their like on this system) are missing: ${packages[*]}" \
        "This system has no apt-get: install them with its own package manager, then run the command again."
    if [[ $(id -u) -ne 0 ]]; then
        have sudo || fail "these Debian packages are missing: ${packages[*]}" \
            "Run as root: apt-get install -y --no-install-recommends ${packages[*]}"
        root=(sudo)
    fi
    say "installing ${packages[*]} (about a minute)"
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
have cargo || fail "cargo is not on the PATH." \
    "Install Rust from https://rustup.rs (the file rust-toolchain.toml names the version), then run the command again."

# The toolchain that rust-toolchain.toml pins: rustup installs it by itself,
# unless that is switched off.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! cargo --version >/dev/null 2>&1; then
    toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    say "installing Rust $toolchain"
    rustup toolchain install "$toolchain" --profile minimal --component rustfmt --component clippy >&2 ||
        fail "Rust $toolchain, which rust-toolchain.toml pins, is not installed and cannot be."
fi

# Plain cargo and an IDE build in ./target. As a link to the folder that `make`
# uses, it spares them a second RocksDB. A folder that somebody has there
# already, or has named in the environment, is theirs and stays as it is.
shared=${XDG_CACHE_HOME:-$HOME/.cache}/consilium-target
if [[ ${CARGO_TARGET_DIR:-$shared} == "$shared" ]]; then
    mkdir -p "$shared"
    if [[ ! -e target && ! -L target ]]; then
        ln -s "$shared" target
        say "target is now a link to $shared, for plain cargo"
    fi
fi

mapfile -t packages < <(missing_packages)
if ((${#packages[@]} > 0)); then
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]} == 0)) || fail "still missing after the installation: ${packages[*]}"
fi

if [[ $purpose == test ]] && ! have cargo-nextest; then
    say "installing cargo-nextest, the test runner (about 5 minutes, once)"
    cargo install cargo-nextest --locked --quiet
fi
