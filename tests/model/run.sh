#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh MODEL.pml - search every state with spin's verifier; any error fails. Each ltl formula of the model
# is checked in a run of its own. Then the model is broken in each way that it names (#ifdef BROKEN_*),
# and the verifier must see it: a check of the check.
model=$1
for tool in spin cc; do
	if ! command -v $tool >/dev/null 2>&1; then
		echo "skip: $tool is not installed (apt-get install spin gcc)"
		exit 77
	fi
done
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cp "$model" "$dir/model.pml" && cd "$dir" || exit 1

# verify SPIN_FLAGS COMPILER_FLAGS VERIFIER_FLAGS: 0 good, 1 errors found, 2 neither
verify() {
	# shellcheck disable=SC2086
	if ! spin -a $1 model.pml >spin.log 2>&1 || ! cc -O2 $2 -DVECTORSZ=4096 -o pan pan.c >cc.log 2>&1; then
		cat spin.log cc.log
		return 2
	fi
	# shellcheck disable=SC2086
	./pan -m1000000 $3 >out 2>&1
	grep -q 'max search depth too small' out && return 2
	grep -q 'errors: 0' out && return 0
	grep -q 'errors: ' out && return 1
	return 2
}

verify "" -DSAFETY "" || {
	cat out
	echo "the model does not hold"
	exit 1
}
grep 'states, stored' out
for formula in $(sed -n 's/^ltl \([a-z_0-9]*\).*/\1/p' model.pml); do
	verify "" "" "-a -f -N $formula" || {
		cat out
		echo "$formula does not hold"
		exit 1
	}
	echo "$formula holds"
done
for broken in $(grep -o 'BROKEN_[A-Z_]*' model.pml | sort -u); do
	verify "-D$broken" -DSAFETY ""
	[ $? -eq 1 ] || {
		echo "$broken was not noticed"
		exit 1
	}
	echo "$broken is noticed"
done
