#!/bin/sh
# Fetches the public vocabularies that npm/manifest.json names from the npm registry, checks their SHA-256, and puts them where the tests look:
# .goldens-cache/tokenizers/NAME.json at the root of the clone (ignored by git). Needs npm, tar, sha256sum and node.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../../.goldens-cache/tokenizers
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
node -e '
  const { vocabularies } = JSON.parse(require("fs").readFileSync(process.argv[1]));
  for (const [name, v] of Object.entries(vocabularies)) console.log(name, v.package, v.version, v.file, v.sha256);
' "$here/npm/manifest.json" | while read -r name package version file sha256; do
    target=$cache/$name.json
    if [ -f "$target" ] && echo "$sha256  $target" | sha256sum --check --status; then
        echo "$name: already here"
        continue
    fi
    archive=$(cd "$work" && npm pack --silent "$package@$version")
    tar -xzf "$work/$archive" -C "$work" "$file"
    echo "$sha256  $work/$file" | sha256sum --check --status || { echo "$name: $package@$version has another SHA-256 than the manifest" >&2; exit 1; }
    mv "$work/$file" "$target"
    echo "$name: fetched"
done
