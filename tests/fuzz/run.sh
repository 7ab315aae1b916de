#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh TARGET CORPUS [PART] - run one fuzz target for FUZZ_SECONDS (20) from its seeds, or a PARTth of that.
# What it finds is kept next to the target and named in the output.
target=$1
seeds=$2
seconds=$((${FUZZ_SECONDS:-20} / ${3:-1}))
found=${ATOLL_BUILD:-.}/fuzz-findings/$(basename "$target")/
corpus=$(mktemp -d) || exit 1
trap 'rm -rf "$corpus"' EXIT
mkdir -p "$found"
[ -d "$seeds" ] || seeds=
"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	${ATOLL_SEED:+-seed="$ATOLL_SEED"} -artifact_prefix="$found" "$corpus" $seeds
rc=$?
[ $rc -eq 0 ] || echo "fuzz: input that fails is under $found; replay: $target FILE"
exit $rc
