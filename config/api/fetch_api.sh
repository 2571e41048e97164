#!/bin/sh
# Puts Envoy's v3 API definitions at LINK (a symbolic link to an unpacked deps/ tree): fetch_api.sh LINK
# They come from one npm package at a pinned version and checksum. Unpacked copies are kept in
# ${MILLRACE_API_CACHE:-~/.cache/millrace}, by checksum, so that several build trees fetch once.
set -eu

package=@grpc/grpc-js-xds@1.14.1
sha512=1769955f011e316c35ce73d4ae9fbcca48ec20e5677fb46ff84c88bd739fcfbdf0e6d3689429f3a24a4b904fddd84871df43c99995ea09074ca71f0370126884

link=$1
cache=${MILLRACE_API_CACHE:-${HOME:-$(dirname "$link")}/.cache/millrace}
unpacked=$cache/$sha512

if [ ! -d "$unpacked/package/deps/envoy-api" ]; then
  if ! command -v npm >/dev/null 2>&1; then
    echo "fetch_api: npm is needed to fetch $package, or give -DMILLRACE_API_DIR=<its unpacked deps/ folder>" >&2
    exit 1
  fi
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  if ! (cd "$work" && npm pack --loglevel=error "$package" >/dev/null); then
    echo "fetch_api: npm could not fetch $package" >&2
    exit 1
  fi
  if ! echo "$sha512  $(echo "$work"/*.tgz)" | sha512sum --check --status; then
    echo "fetch_api: the checksum of $package is not the pinned one" >&2
    exit 1
  fi
  mkdir "$work/unpacked"
  tar -xzf "$work"/*.tgz -C "$work/unpacked" package/deps
  # Another build may have been quicker: then its copy is as good as ours.
  mv -T "$work/unpacked" "$unpacked" 2>/dev/null || [ -d "$unpacked/package/deps/envoy-api" ]
fi

mkdir -p "$(dirname "$link")"
ln -sfn "$unpacked/package/deps" "$link"
