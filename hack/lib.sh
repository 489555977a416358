# Sourced by the scripts here: names of places, and how they speak.
# shellcheck shell=bash

set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$repo/target}
# The triple of .cargo/config.toml, which is part of where cargo puts the programs.
triple=x86_64-unknown-linux-gnu
release_dir=$target_dir/$triple/release
# Shared between worktrees where the environment says so.
images_dir=${MANTLET_IMAGES:-$repo/target/images}

# Where rustup puts it; a root shell's PATH often lacks it.
[ -x "${HOME:-/root}/.cargo/bin/cargo" ] && PATH=${HOME:-/root}/.cargo/bin:$PATH
PATH=$PATH:/usr/sbin:/sbin

if [ -t 1 ]; then
	bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
	bold='' dim='' red='' green='' plain=''
fi

say() { printf '%s\n' "$bold== $*$plain"; }
note() { printf '%s\n' "$dim   $*$plain"; }
die() {
	printf '%s\n' "$red$(basename "$0"): $*$plain" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "needs root: it makes namespaces, cgroups and mounts. Run it with sudo."
}

# Prints a program's last lines only when it fails.
quietly() {
	local log
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		rm -f "$log"
		die "failed: $*"
	fi
	rm -f "$log"
}
