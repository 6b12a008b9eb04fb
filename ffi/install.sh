#!/bin/sh
# Builds and installs libespial for C:  sh ffi/install.sh PREFIX
#
#   PREFIX/include/espial.h
#   PREFIX/lib/libespial.a            no_std, prelinked: exports espial_* and nothing else
#   PREFIX/lib/libespial.so.0.x.y     with the _new, _free and _alloc calls, and links .so.0 and .so
#   PREFIX/lib/pkgconfig/espial.pc, PREFIX/lib/cmake/espial/
#
# Needs cargo and binutils (ld, objcopy, ar, nm). For another machine: ESPIAL_TARGET=triple,
# ESPIAL_TOOLS=prefix- of its binutils, ESPIAL_SHARED=no where there is no shared library. CARGO_TARGET_DIR
# is respected; CARGO_PROFILE_C_OPT_LEVEL=s makes it smaller.
set -eu

[ $# -eq 1 ] && [ -n "$1" ] || { echo "usage: sh install.sh PREFIX" >&2; exit 2; }
mkdir -p "$1"
prefix=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
tools=${ESPIAL_TOOLS-}
shared=${ESPIAL_SHARED-yes}

cd "$here"
triple=${ESPIAL_TARGET-$(rustc -vV | sed -n 's/^host: //p')}
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' ../Cargo.toml)
abi=$(sed -n 's/^#define ESPIAL_ABI_VERSION //p' include/espial.h)
major=${version%%.*}
minor=${version#*.}; minor=${minor%%.*}
built=$target/$triple/c

# Always alone: a workspace build unifies features, and the core would get an allocator.
build() {
    kind=$1; shift
    cargo rustc --quiet --locked --profile c --target "$triple" -p espial-ffi --lib \
        --no-default-features --crate-type "$kind" "$@"
}

build staticlib
work=$target/$triple/c/prelink
rm -rf "$work"; mkdir -p "$work"
# The functions of the header, but for the allocating ones.
sed -n 's/^[a-z].*[ *]\(espial_[a-z0-9_]*\)(.*/\1/p' include/espial.h \
    | grep -v -e '_new$' -e '_free$' -e '_alloc$' | sort >"$work/exports"

# A linker for 64 bits has to be told of 32.
case $triple in riscv32*) emulation="-m elf32lriscv" ;; *) emulation= ;; esac

# One object of what the exports reach; every other name in it becomes local.
undefined=$(sed 's/^/-u /' "$work/exports")
# shellcheck disable=SC2086
"${tools}ld" $emulation -r --gc-sections $undefined -o "$work/whole.o" "$built/libespial.a"
"${tools}objcopy" --keep-global-symbols="$work/exports" --remove-section=.comment \
    --remove-section=.llvmbc --remove-section=.llvmcmd "$work/whole.o" "$work/espial.o"
# Without the plugin: Debian's LLVM one aborts on Rust objects.
"${tools}ar" --plugin /dev/null rcs "$work/libespial.a" "$work/espial.o"

lib=$prefix/lib
mkdir -p "$prefix/include" "$lib/pkgconfig" "$lib/cmake/espial"
cp include/espial.h "$prefix/include/espial.h"
cp "$work/libespial.a" "$lib/libespial.a"

if [ "$shared" = yes ]; then
    build cdylib --features alloc
    cp "$built/libespial.so" "$lib/libespial.so.$version"
    "${tools}strip" --strip-unneeded "$lib/libespial.so.$version"
    # 0.1.0 installs libespial.so.0.1.0; the number in the SONAME is the interface's.
    ln -sf "libespial.so.$version" "$lib/libespial.so.$abi"
    ln -sf "libespial.so.$abi" "$lib/libespial.so"
fi

fill() {
    sed -e "s/@VERSION@/$version/g" -e "s/@ABI_VERSION@/$abi/g" \
        -e "s/@MAJOR@/$major/g" -e "s/@MINOR@/$minor/g" "$1" >"$2"
}
fill espial.pc.in "$lib/pkgconfig/espial.pc"
fill cmake/espialConfig.cmake.in "$lib/cmake/espial/espialConfig.cmake"
fill cmake/espialConfigVersion.cmake.in "$lib/cmake/espial/espialConfigVersion.cmake"
echo "libespial $version is in $prefix"
