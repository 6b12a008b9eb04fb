#!/usr/bin/env bash
# The instruction gate: how many instructions a lookup of an SPI takes, counted under valgrind, for the
# AVX2 and the scalar backend, and one of a session or flow. Fails if a stated maximum is exceeded, or if
# 65 536 SAs take 3 % more or less than 1024. The count of one run with some passes, less that of a run with none, is the passes'.
#
#   benches/instructions.sh              # 1024, 65536 and 140000 SAs, about a minute
#   benches/instructions.sh 1048576     # others
#   benches/instructions.sh spi 1024    # the SPI table alone, AVX2 alone: the gate builds neither benchmarks nor a second core
#
# Maxima are what Rust 1.95 makes and about 5 %. A lookup in tables above 1 MiB takes more instructions
# (it fetches lines ahead) and waits less.
set -euo pipefail
cd "$(dirname "$0")/.."
all=yes
[ "${1-}" != spi ] || { all=; shift; }
sizes=("$@")
[ ${#sizes[@]} -gt 0 ] || sizes=(1024 65536 140000)
if ! command -v valgrind >/dev/null; then
  echo "SKIPPED: instruction gate: valgrind is not installed"
  exit 0
fi

if ! grep -qw avx2 /proc/cpuinfo; then
  echo "SKIPPED: instruction gate: the processor has no AVX2, for which the maxima are"
  exit 0
fi

# backend case: the most instructions a lookup in tables of up to 1 MiB, and in larger ones. The scalar
# backend is not counted in those (-): its share is the same.
maxima="
avx2 allocated-hit 23.5 32
avx2 random-hit 45.5 62.5
avx2 random-miss 41 60.5
scalar allocated-hit 24 -
scalar random-hit 98 -
scalar random-miss 100 -
flows session-hit-v4-single 270 -
flows session-flood-v4-single 387 -
flows passthrough-hit-v4-burst 520 -
"
passes=4
flat=3 # per cent

target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$target"
target=$(cd "$target" && pwd)
build() { # name packages... ; the environment is the caller's
  cargo build --quiet --release --locked "${@:2}" --bin espial-instructions
  cp "$target/release/espial-instructions" "$work/$1"
}
if [ -n "$all" ]; then
  # Gives a flag to this workspace's crates alone, so that the others are not compiled anew.
  wrapper=$target/rustc-espial-scalar
  printf '#!/bin/sh\nexec "$@" --cfg espial_scalar\n' >"$wrapper"
  chmod +x "$wrapper"
  # The command line is named for its features: with them .ci/full has built the core already.
  RUSTC_WORKSPACE_WRAPPER=$wrapper build scalar -p espial-instructions -p espial-cli
  RUSTC_WORKSPACE_WRAPPER='' build avx2 -p espial-instructions -p espial-cli
  # Sessions and flows: as the benchmarks ask them.
  cargo build --quiet --release --locked -p espial-benches --example flows
  cp "$target/release/examples/flows" "$work/flows"
else
  maxima=$(grep '^avx2' <<<"$maxima")
  build avx2 -p espial-instructions
fi

count() { # backend case sas passes
  local name=$1.$2.$3.$4
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$work/$1" "$3" "$2" "$4" \
    >"$work/$name.out" 2>"$work/$name.err" || { cat "$work/$name.err" >&2; return 1; }
  sed -n 's/.*Collected : //p' "$work/$name.err" >"$work/$name.count"
}
export -f count
export work
# The maximum for this case and number of SAs.
maximum() { # case sas small large
  local octets=12
  [ "$1" != allocated-hit ] || octets=8
  if [ $(($2 * octets)) -le $((1 << 20)) ]; then echo "$3"; else echo "$4"; fi
}
for sas in "${sizes[@]}"; do
  while read -r backend case small large; do
    [ -n "$backend" ] && [ "$(maximum "$case" "$sas" "$small" "$large")" != - ] || continue
    printf '%s\n' "$backend $case $sas 0" "$backend $case $sas $passes"
  done <<<"$maxima"
done | xargs -P 2 -I{} bash -c 'count {}'

verdict=0
printf '| %-7s | %-24s | %9s | %12s | %7s | %s\n' backend case SAs instructions maximum ""
echo "|---------|--------------------------|-----------|--------------|---------|"
while read -r backend case small large; do
  [ -n "$backend" ] || continue
  declare -A got=()
  for sas in "${sizes[@]}"; do
    most=$(maximum "$case" "$sas" "$small" "$large")
    [ "$most" != - ] || continue
    name=$work/$backend.$case.$sas
    lookups=$(cat "$name.$passes.out")
    each=$(awk -v a="$(cat "$name.0.count")" -v b="$(cat "$name.$passes.count")" -v n="$lookups" \
      'BEGIN { printf "%.2f", (b - a) / n }')
    got[$sas]=$each
    said=
    if awk -v a="$each" 'BEGIN { exit !(a < 1) }'; then
      said="NOT COUNTED"
      verdict=1
    fi
    if awk -v a="$each" -v b="$most" 'BEGIN { exit !(a > b) }'; then
      said="TOO MANY"
      verdict=1
    fi
    printf '| %-7s | %-24s | %9s | %12s | %7s | %s\n' "$backend" "$case" "$sas" "$each" "$most" "$said"
  done
  if [ -n "${got[1024]:-}" ] && [ -n "${got[65536]:-}" ] &&
    awk -v a="${got[1024]}" -v b="${got[65536]}" -v p=$flat \
      'BEGIN { d = (b - a) / a * 100; exit !(d >= p || d <= -p) }'; then
    echo "NOT FLAT: $backend $case: ${got[1024]} at 1024 SAs, ${got[65536]} at 65536"
    verdict=1
  fi
done <<<"$maxima"
exit $verdict
