#!/usr/bin/env bash
# All that is measured on a GPU, in one call and one table.
#
#   gpu.sh [cuda:N] [MODEL…]
#                     on the machine with the GPU: the tests of category Gpu, same bits over degrees 1, 2, 3 on the one card (of SmolLM2, or of the models
#                     named), kernels against the oracle, an 8B Llama of random weights against the card's own rates, Hugging Face transformers beside it
#                     (where python3 has it). "cuda-emulated" tries the script without a GPU, at tiny sizes: name a tiny model then.
#   gpu.sh bundle     on a machine with the .NET SDK: packs runtime, test runner and build outputs into .gpu/bundle.tar.xz, for a machine that has
#                     neither SDK nor network: bring it to the same clone there; the first form unpacks it.
set -euo pipefail
cd "$(dirname "$0")/../.."
projects=(Kernels Collectives Model Worker)

bundle() {
    dotnet build TpServe.sln -c Release
    local root sdk
    root=$(dirname "$(readlink -f "$(command -v dotnet)")")
    sdk=$(ls -d "$root"/sdk/*/ | sort -V | tail -1)
    stage=$(mktemp -d)
    trap 'rm -rf "$stage"' EXIT
    mkdir -p "$stage/.gpu/dotnet/vstest" .gpu
    cp -r "$root/dotnet" "$root/host" "$root/shared" "$stage/.gpu/dotnet/"
    (cd "$sdk" && cp -r vstest.console.* Extensions Microsoft.TestPlatform.*.dll Microsoft.VisualStudio.TestPlatform.*.dll \
        Microsoft.Extensions.FileSystemGlobbing.dll Microsoft.Extensions.DependencyModel.dll NuGet.Frameworks.dll Newtonsoft.Json.dll "$stage/.gpu/dotnet/vstest/" 2>/dev/null || true)
    local outputs=(src/Gateway/bin/Release src/Worker/bin/Release tests/Benchmarks/bin/Release)
    for project in "${projects[@]}"; do outputs+=("tests/$project.Tests/bin/Release"); done
    tar --exclude='*.pdb' -cf - "${outputs[@]}" | tar -xf - -C "$stage"
    # The same packages lie in every output: a dictionary as large as all of them keeps one.
    tar -C "$stage" --sort=name -cf - . | xz --lzma2=preset=6,dict=512MiB > .gpu/bundle.tar.xz
    ls -l .gpu/bundle.tar.xz
}

measure() {
    local device=${1:-cuda:0} failures=0
    local models=("${@:2}")
    if [ -f .gpu/bundle.tar.xz ]; then
        tar -xJf .gpu/bundle.tar.xz
        export DOTNET_ROOT="$PWD/.gpu/dotnet" PATH="$PWD/.gpu/dotnet:$PATH"
    elif [ ! -f tests/Benchmarks/bin/Release/net10.0/TpServe.Benchmarks.dll ]; then
        dotnet build TpServe.sln -c Release
    fi
    command -v nvidia-smi > /dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader

    echo "== tests of category Gpu"
    for project in "${projects[@]}"; do
        local assembly="tests/$project.Tests/bin/Release/net10.0/TpServe.$project.Tests.dll" runner=(dotnet vstest)
        [ -f .gpu/dotnet/vstest/vstest.console.dll ] && runner=(dotnet exec .gpu/dotnet/vstest/vstest.console.dll)
        timeout 240 "${runner[@]}" "$assembly" --TestCaseFilter:"TestCategory=Gpu" || failures=$((failures + 1))
    done

    echo "== the peer"
    local peer=()
    if python3 -c 'import torch, transformers' 2> /dev/null; then
        if timeout 300 python3 tests/Benchmarks/peers/transformers_llama.py > .gpu-peer.json; then
            peer=(.gpu-peer.json)
        fi
    else
        echo "python3 has no torch and transformers here: no peer, no matmul rate"
    fi

    local bench="tests/Benchmarks/bin/Release/net10.0/TpServe.Benchmarks.dll"
    echo "== same bits"
    timeout 240 dotnet "$bench" bits "$device" "${models[@]}" || failures=$((failures + 1))
    echo "== the table"
    timeout 480 dotnet "$bench" gpu "$device" "${peer[@]}" || failures=$((failures + 1))
    rm -f .gpu-peer.json
    echo "parts that failed or missed a target: $failures"
    [ "$failures" -eq 0 ]
}

case "${1:-}" in
    bundle) bundle ;;
    *) measure "$@" ;;
esac
