#!/bin/sh
# What `cargo test` leaves out because not every machine has the tools: C++11, pkg-config, CMake, valgrind.
#   sh ffi/tests/extra.sh [PREFIX]        PREFIX as install.sh filled it; without one it is filled first
# Each part that cannot run says so; REQUIRE=1 makes that a failure.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
if [ $# -ge 1 ]; then
    prefix=$(cd "$1" && pwd)
else
    prefix=$work/prefix
    sh "$here/install.sh" "$prefix"
fi
skipped=0
warnings="-Wall -Wextra -Werror -pedantic -Wconversion -Wshadow"

has() {
    command -v "$1" >/dev/null 2>&1 && return 0
    echo "SKIPPED: $2, for want of $1"
    skipped=$((skipped + 1))
    return 1
}
passed() { echo "ok: $1"; }

# ---- C++ -------------------------------------------------------------------------------------------
if has "${CXX:=c++}" "the header as C++"; then
    cat >"$work/header.cpp" <<'CPP'
#include <espial.h>
#include <type_traits>
static_assert(std::is_standard_layout<espial_verdict>::value, "a plain struct");
int main() {
    espial_verdict verdict = espial_verdict();
    return verdict.verdict == ESPIAL_VERDICT_DROP && espial_abi_version() == ESPIAL_ABI_VERSION ? 0 : 1;
}
CPP
    for standard in c++11 c++17 c++20; do
        # shellcheck disable=SC2086
        "$CXX" -std=$standard $warnings -Wold-style-cast -I "$prefix/include" -o "$work/cpp" "$work/header.cpp" \
            "$prefix/lib/libespial.a"
        "$work/cpp"
        passed "header and library from $standard"
    done
fi

# ---- C dialects that cargo test does not try ---------------------------------------------------------
for compiler in gcc clang; do
    has "$compiler" "the header with $compiler" || continue
    for standard in c99 c11 c17 gnu99; do
        # shellcheck disable=SC2086
        printf '#include <espial.h>\nint main(void) { return 0; }\n' \
            | "$compiler" -std=$standard $warnings -Wstrict-prototypes -Wmissing-prototypes \
                -I "$prefix/include" -x c -c -o "$work/dialect.o" -
    done
    passed "header with $compiler"
done

# ---- pkg-config --------------------------------------------------------------------------------------
if has pkg-config "the .pc file"; then
    # Moved: the file says where it is itself.
    cp -R "$prefix" "$work/moved"
    flags=$(PKG_CONFIG_PATH=$work/moved/lib/pkgconfig pkg-config --cflags --libs espial)
    # shellcheck disable=SC2086
    "${CC:-cc}" -std=c11 -o "$work/pc" "$here/examples/quickstart.c" $flags
    answer=$(LD_LIBRARY_PATH=$work/moved/lib "$work/pc")
    [ "$answer" = "drop: no_selector, src" ]
    passed "pkg-config, shared library, moved prefix"
fi

# ---- CMake -------------------------------------------------------------------------------------------
if has cmake "the CMake package"; then
    mkdir "$work/cmake"
    cat >"$work/cmake/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.10)
project(consumer C)
set(CMAKE_C_STANDARD 11)
find_package(espial 0.1 REQUIRED CONFIG)
foreach(kind espial static shared)
  add_executable(with_${kind} "${SOURCE}")
  target_link_libraries(with_${kind} PRIVATE espial::${kind})
  enable_testing()
  add_test(NAME with_${kind} COMMAND with_${kind})
endforeach()
CMAKE
    for shared in OFF ON; do
        cmake -S "$work/cmake" -B "$work/cmake/$shared" -DCMAKE_PREFIX_PATH="$prefix" -DBUILD_SHARED_LIBS=$shared \
            -DSOURCE="$here/examples/quickstart.c" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
        cmake --build "$work/cmake/$shared" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
        for kind in espial static shared; do
            [ "$("$work/cmake/$shared/with_$kind")" = "drop: no_selector, src" ]
        done
        passed "CMake with BUILD_SHARED_LIBS=$shared"
    done
    mkdir "$work/refused"
    sed 's/espial 0.1 /espial 9.0 /' "$work/cmake/CMakeLists.txt" >"$work/refused/CMakeLists.txt"
    if cmake -S "$work/refused" -B "$work/refused/build" -DCMAKE_PREFIX_PATH="$prefix" \
        -DSOURCE="$here/examples/quickstart.c" >"$work/cmake.log" 2>&1; then
        echo "CMake took this version for 9.0" >&2
        exit 1
    fi
    grep -q 'requested version "9.0"' "$work/cmake.log"
    passed "CMake refuses another version"
fi

# ---- valgrind ----------------------------------------------------------------------------------------
if has valgrind "memory checks"; then
    for source in examples/quickstart.c examples/dataplane.c examples/rekey.c examples/rekey_storm.c \
        tests/calls.c tests/image.c tests/misuse.c tests/misuse_packets.c tests/misuse_alone.c; do
        "${CC:-cc}" -std=c11 -g -O1 -I "$prefix/include" -o "$work/checked" "$here/$source" \
            "$prefix/lib/libespial.a" -pthread
        expected=0
        set --
        case $source in
            */dataplane.c) expected=1; set -- "$here/examples/null-esp.txt" "$here/examples/null-esp.pcap" ;;
            */rekey.c) set -- 50 ;;
            */rekey_storm.c) set -- 2 ;;
        esac
        status=0
        valgrind -q --error-exitcode=9 --leak-check=full --fair-sched=try "$work/checked" "$@" \
            >"$work/out" 2>"$work/err" || status=$?
        [ $status -eq $expected ] || { cat "$work/out" "$work/err"; exit 1; }
        passed "valgrind $source"
    done
    # The calls that allocate are the shared library's; what they compiled is opened by the static one.
    for source in examples/classify.c examples/policies.c examples/local_in.c tests/allocated.c tests/configuration.c \
        tests/kinds.c tests/local_in.c tests/sessions.c \
        tests/passthrough.c tests/reply_path.c tests/snapshot.c tests/words.c tests/spd.c; do
        library="-L$prefix/lib -lespial -Wl,-rpath,$prefix/lib"
        set -- "$work/classify.words"
        case $source in
            */policies.c) set -- "$work/policies.words" ;;
            */allocated.c | */configuration.c | */kinds.c | */local_in.c | */sessions.c | */passthrough.c \
                | */reply_path.c | */snapshot.c)
                set -- ;;
            */words.c) library=$prefix/lib/libespial.a ;;
            */spd.c) library=$prefix/lib/libespial.a; set -- "$work/policies.words" ;;
        esac
        # shellcheck disable=SC2086
        "${CC:-cc}" -std=c11 -g -O1 -I "$prefix/include" -o "$work/checked" "$here/$source" $library
        valgrind -q --error-exitcode=9 --leak-check=full "$work/checked" "$@" >"$work/out" 2>"$work/err" \
            || { cat "$work/out" "$work/err"; exit 1; }
        passed "valgrind $source"
    done
fi

if [ $skipped -gt 0 ] && [ "${REQUIRE-}" = 1 ]; then
    echo "$skipped parts were skipped" >&2
    exit 1
fi
