#!/usr/bin/env bash
# The arm64 kernels on an x86-64 machine, under qemu-user: every matrix product on the path `neon`, and the bits of all other operations beside this
# machine's. Skips, and says why, where qemu or the arm64 libraries are missing; on arm64 itself `make test` does all this.
set -euo pipefail
cd "$(dirname "$0")/.."
packages="qemu-user libc6-arm64-cross libstdc++6-arm64-cross libgcc-s1-arm64-cross"
root=/usr/aarch64-linux-gnu
skip() {
    echo "arm64 checks skipped: $1"
    exit 0
}
[ "$(uname -sm)" = "Linux x86_64" ] || skip "this is $(uname -sm), not Linux x86_64"
command -v qemu-aarch64 >/dev/null || skip "no qemu-aarch64 (Debian: apt-get install $packages)"
[ -e "$root/lib/libstdc++.so.6" ] || skip "no $root/lib/libstdc++.so.6 (Debian: apt-get install $packages)"

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests=tests/Kernels.Tests/bin/Release/net10.0/TpServe.Kernels.Tests.dll
dotnet build tests/Kernels.Tests -c Release
# Self-contained, so that the arm64 runtime comes from NuGet; the test assembly itself is the same for every processor.
dotnet build tests/TestRunner -c Release -r linux-arm64 --self-contained --artifacts-path "$work" -p:UseArtifactsOutput=true -p:NuGetLockFilePath="$work/packages.lock.json"

# Without the first, the runtime writes code through a second mapping of its page, which qemu cannot see: it would go on with what it has translated
# before, and tests fail at random. The root has no libicu. A Neoverse N1 is the first server core with dot products.
arm64() {
    DOTNET_EnableWriteXorExecute=0 DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 \
        timeout 600 qemu-aarch64 -cpu "$1" -L "$root" "$work/bin/TestRunner/release_linux-arm64/TpServe.TestRunner" "$tests" "$2"
}
status=0
arm64 neoverse-n1 'Cpu\.LinearTests\(Neon\)|Cpu\.(LinearEmbed|CpuBackend|CpuThreads)Tests|\.Ops(Row|TopK|VectorMath)Tests' || status=1

# The first line of a digest tells the width of vectors; all others are bits.
dotnet exec "$tests" | tail -n +2 >"$work/here"
arm64 neoverse-n1 main | tail -n +2 >"$work/there"
if diff "$work/here" "$work/there"; then
    echo "$(wc -l <"$work/here") operations: the same bits on arm64"
else
    status=1
fi
exit "$status"
