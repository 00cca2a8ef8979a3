#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Name what is missing to build and run kpkeys_bench, one line each, with the Debian package that
# brings it.
#
#	tools/prereq.sh [-c] [DIR]
#
# -c asks for a C toolchain only. With DIR, the headers of Debian's Python, where they are missing,
# are fetched into DIR (nothing gets installed, no root needed); DIR/cpath then says what the
# compiler needs in CPATH. PYTHON and CC name the programs in use.

set -u

python=${PYTHON:-python3}
cc=${CC:-gcc}
nr_missing=0
packages=

missing() { # what, packages
	echo "missing: $1: install $2" >&2
	nr_missing=$((nr_missing + 1))
	packages="$packages $2"
}

have() {
	command -v "$1" >/dev/null 2>&1
}

python_eval() {
	"$python" -c "import sys, sysconfig; print($1)"
}

preprocess() { # header, compiler options
	header=$1
	shift
	# Word splitting is meant: CC="ccache gcc" is fine.
	echo "#include <$header>" | $cc "$@" -E -x c - >/dev/null 2>&1
}

check_toolchain() {
	have make || missing "make" make
	if ! have "${cc%% *}"; then
		missing "the C compiler ($cc)" gcc
		# There is no compiler to ask.
		[ -e /usr/include/stdio.h ] || missing "the C library's headers (stdio.h)" libc6-dev
	elif ! preprocess stdio.h; then
		missing "the C library's headers (stdio.h)" libc6-dev
	fi
}

python_package() { # venv or dev
	case ${python##*/} in
	python3) echo "python3-$1" ;;
	*) echo "python$(python_eval '"%d.%d" % sys.version_info[:2]')-$1" ;;
	esac
}

check_python() {
	if ! have "$python"; then
		missing "Python ($python)" "python3 python3-venv"
		return 1
	fi
	if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		echo "missing: Python 3.11: $python is $(python_eval 'sys.version.split()[0]');" \
			"name a newer one with PYTHON=, or use Debian 12 or newer" >&2
		nr_missing=$((nr_missing + 1))
		return 1
	fi
	"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
		missing "Python's modules venv and ensurepip" "$(python_package venv)"
}

download() { # package, version, apt-get options: into the current folder
	package=$1 version=$2
	shift 2
	# The version that is installed may have left the mirrors; any of the same X.Y does.
	apt-get -q "$@" download "$package=$version" || apt-get -q "$@" download "$package"
}

fetch_headers() { # folder
	name=lib$(python_eval '"python%d.%d" % sys.version_info[:2]')
	version=$(dpkg-query -W -f '${Version}' "$name-minimal")

	mkdir -p "$1/apt/lists/partial" "$1/apt/archives/partial" && cd "$1" || return 1
	dir=$(pwd)
	# As root, apt-get would download as a user who may not write here.
	set -- -o APT::Sandbox::User=root
	if ! download "$name-dev" "$version" "$@"; then
		# Containers come without package lists, and lists grow old: get our own.
		set -- "$@" -o "Dir::State=$dir/apt" -o "Dir::Cache=$dir/apt"
		apt-get -q "$@" update && download "$name-dev" "$version" "$@" || return 1
	fi
	dpkg-deb -x "$name-dev"_*.deb . || return 1
	# The package is headers and static libraries: 2 MB of 26.
	rm -rf "$name-dev"_*.deb apt usr/lib usr/share usr/bin
}

check_python_headers() { # folder, or nothing
	include=$(python_eval 'sysconfig.get_path("include")')
	[ ! -e "$include/Python.h" ] || return 0

	# Only the headers of Debian's own Python can be had from Debian.
	if [ -n "$1" ] && [ "${include#/usr/include/}" != "$include" ] && have apt-get; then
		echo "Python.h is missing: fetching Debian's package of it into $1" >&2
		mkdir -p "$1"
		root=$(cd "$1" && pwd)
		if (fetch_headers "$root") >"$1/log" 2>&1 &&
			preprocess Python.h -I"$root$include" -I"$root/usr/include"; then
			echo "$root$include:$root/usr/include" >"$1/cpath"
			return 0
		fi
		echo "that failed: see $1/log" >&2
	fi
	missing "the headers of Python (Python.h)" "$(python_package dev)"
}

what=all
if [ "${1:-}" = -c ]; then
	what=c
	shift
fi

check_toolchain
if [ $what = all ] && check_python; then
	# Fetch nothing as long as something has to be installed anyway.
	[ $nr_missing -eq 0 ] || set --
	check_python_headers "${1:-}"
fi

[ $nr_missing -ne 0 ] || exit 0
[ -z "$packages" ] || echo "on Debian: apt-get install$packages" >&2
exit 1
