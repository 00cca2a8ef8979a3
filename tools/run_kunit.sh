#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run the C test suites named as arguments and add up their closing lines.
#
#	tools/run_kunit.sh SUITE...
#
# A suite writes KTAP and closes with "N passed, N failed". What it wrote goes to SUITE.ktap, and to
# the screen if anything failed, or with V=1. KUNIT_WRAPPER is put before each command (valgrind).

set -u

passed=0
failed=0

for suite in "$@"; do
	log=$suite.ktap
	# A suite takes seconds, under a wrapper minutes. Word splitting of the wrapper is meant.
	timeout 600 ${KUNIT_WRAPPER:-} "$suite" >"$log" 2>&1
	status=$?
	closing=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)

	p=${closing%% passed*}
	f=${closing##*, }
	f=${f%% failed*}
	if [ -z "$closing" ] || { [ $status -ne 0 ] && [ "$f" -eq 0 ]; }; then
		# It crashed, a sanitizer ended it, or it ran out of time.
		closing="${closing:-no closing line}, exit status $status"
		p=${p:-0}
		f=$((${f:-0} + 1))
	fi
	[ "$f" -eq 0 ] && [ -z "${V:-}" ] || cat "$log"
	echo "${suite##*/}: $closing"
	passed=$((passed + p))
	failed=$((failed + f))
done

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
