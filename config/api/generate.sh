#!/bin/sh
# Makes the API that Millrace is built with: generate.sh DEPS SOURCE OUT PARTS PROTOC MERGE_OVERLAY
#   DEPS    unpacked deps/ tree (envoy-api, googleapis, xds)
#   SOURCE  config/api: stubs, own, overlay.txt, translated.txt
#   OUT     gets api.binpb (every type, overlay merged in), gen/ (C++ of what is translated) and
#           api_part_<n>.cc, n < PARTS, which include the generated sources: a few large translation
#           units compile far quicker than ninety small ones.
set -eu

deps=$1 source=$2 out=$3 parts=$4 protoc=$5 merge_overlay=$6

for folder in envoy-api/envoy googleapis/google xds/xds; do
  if [ ! -d "$deps/$folder" ]; then
    echo "generate: $deps has no $folder: it is not the deps/ tree of the npm package" >&2
    exit 1
  fi
done

list() { (cd "$1" && shift && find "$@" -name '*.proto' | sed 's,^\./,,' | LC_ALL=C sort); }
{
  list "$deps/envoy-api" envoy | grep -E '/v3[^/]*/|^envoy/annotations/'
  list "$deps/xds" udpa xds | grep -v /test/
  # What describes the mapping between JSON and gRPC in the descriptors that grpc_json_transcoder is given.
  printf 'google/api/%s.proto\n' annotations http httpbody
  list "$source/stubs" .
  list "$source/own" .
} >"$out/roots.txt"

# shellcheck disable=SC2046  # one argument per line of the list
"$protoc" -I "$source/stubs" -I "$source/own" -I "$deps/envoy-api" -I "$deps/xds" -I "$deps/googleapis" \
  --include_imports --descriptor_set_out="$out/base.binpb" $(cat "$out/roots.txt") 2>"$out/protoc.log" || {
  grep -v 'warning: Import' "$out/protoc.log" >&2
  exit 1
}
"$merge_overlay" "$out/base.binpb" "$source/overlay.txt" "$source/translated.txt" "$out/api.binpb" "$out/closure.txt"

rm -rf "$out/gen"
mkdir "$out/gen"
# shellcheck disable=SC2046
"$protoc" --descriptor_set_in="$out/api.binpb" --cpp_out="$out/gen" $(cat "$out/closure.txt")

# Two file-static names of generated code clash when sources share a translation unit: each gets its own
# number.
awk -v parts="$parts" -v out="$out" '
  { sub(/\.proto$/, ""); file[NR] = $0 }
  END {
    for (p = 0; p < parts; ++p) {
      part = out "/api_part_" p ".cc"
      printf "" > part
      for (i = p + 1; i <= NR; i += parts) print "#include \"" file[i] ".pb.h\"" > part
      for (i = p + 1; i <= NR; i += parts) {
        print "#define schemas schemas_" i > part
        print "#define file_default_instances file_default_instances_" i > part
        print "#include \"" file[i] ".pb.cc\"" > part
        print "#undef schemas\n#undef file_default_instances" > part
      }
      close(part)
    }
  }' "$out/closure.txt"
