#!/bin/sh
# usage: build.sh PREFIX VERSION CC CXX
#
# Builds BoringSSL from Debian's source package android-platform-external-boringssl, version VERSION, into
# PREFIX/include and PREFIX/lib/lib{ssl,crypto}.a. Debian's own binaries are made with OPENSSL_SMALL, which leaves out
# the assembler of P-256 and costs a handshake most of its time. The libraries hide their symbols once they are linked.
#
# The source comes by apt-get from the mirrors that this system already uses, through a private copy of its list: the
# system's own apt configuration stays as it is, and its keys verify the package.
set -eu

prefix=$1 version=$2 cc=$3 cxx=$4
package=android-platform-external-boringssl
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

mkdir -p "$(dirname -- "$prefix")"
# Two build folders may be configured at once: the second waits and finds the work done.
exec 9>"$prefix.lock"
flock 9
[ ! -f "$prefix/lib/libssl.a" ] || exit 0

scratch=$(mktemp -d "$prefix.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$scratch/parts" "$scratch/lists/partial" "$scratch/archives/partial" "$scratch/cache"

# The binary sources of this system as source ones, in either of apt's two formats.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -f "$list" ] || continue
  sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$list" >>"$scratch/parts/all.list"
done
for list in /etc/apt/sources.list.d/*.sources; do
  [ -f "$list" ] || continue
  sed 's/^Types:.*/Types: deb-src/' "$list" >"$scratch/parts/$(basename -- "$list")"
done

apt() {
  apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$scratch/parts" \
    -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch/cache" \
    -o Dir::Cache::Archives="$scratch/archives" -o Acquire::Retries=2 -o Acquire::http::Timeout=20 \
    -o APT::Sandbox::User= "$@"
}

cd "$scratch"
# A source without deb-src (a third party's) is no reason to give up: what counts is the next command.
apt update || true
apt source "$package=$version"
cd "$scratch/$package"-*/
make -s -f "$here/Makefile" -j "$(nproc)" CC="$cc" CXX="$cxx" ARCH="$(dpkg-architecture -qDEB_HOST_ARCH)"
mkdir -p out/include
cp -R src/include/openssl out/include/
cp NOTICE out/
rm -rf out/o
rm -rf "$prefix"
mv out "$prefix"
