#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh MODEL.pml - make the verifier with spin, search every state, fail on any error. Each ltl
# formula of the model is checked in a run of its own; without one, safety only.
model=$1
if ! command -v spin >/dev/null 2>&1; then
	echo "skip: spin is not installed (apt-get install spin)"
	exit 77
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cp "$model" "$dir/model.pml" && cd "$dir" || exit 1

check() { # flags for the compiler, flags for the verifier
	spin -a model.pml && cc -O2 $1 -DVECTORSZ=4096 -o pan pan.c 2>cc.log || {
		cat cc.log
		exit 1
	}
	./pan -m1000000 $2 | tee out
	grep -q 'errors: 0' out && ! grep -q 'max search depth too small' out || exit 1
}

check -DSAFETY ""
for formula in $(sed -n 's/^ltl \([a-z_0-9]*\).*/\1/p' model.pml); do
	echo "== $formula"
	check "" "-a -f -N $formula"
done
exit 0
