#!/usr/bin/env bash
# Builds, tests and measures on a machine with an NVIDIA GPU, in one call of at most 8 minutes:
#   bash benchmarks/gpu.sh [folder for the results]
# Needs nvcc, a C++20 compiler and a Python with torch (CUDA build), scikit-build-core, pybind11, ninja,
# pytest, pytest-benchmark, hypothesis, safetensors, matplotlib and rich; fetches nothing.
#
# Every part has a time limit, and one that fails does not stop those after it: parts.json says how
# each ended, log.txt has all that they said. Exit code 0 if all parts passed.
set -uo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
out=$(realpath -m "${1:-${OUT:-gpu-results}}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
: >"$out/log.txt"
ends=$((SECONDS + 475))
status=0
parts=()

# part NAME LIMIT COMMAND...: runs a command for at most LIMIT seconds, and never past the end of all.
part() {
  local name=$1 limit=$2 left=$((ends - SECONDS)) started=$SECONDS code=0
  shift 2
  if [ "$limit" -gt "$left" ]; then limit=$left; fi
  echo "== $name (at most $limit s)" | tee -a "$out/log.txt"
  if [ "$limit" -le 0 ]; then
    code=124
  else
    timeout -k 5 "$limit" "$@" >"$work/part.log" 2>&1 || code=$?
    cat "$work/part.log" >>"$out/log.txt"
    tail -n 6 "$work/part.log"
  fi
  if [ "$code" -ne 0 ]; then
    status=1
    echo "== $name: exit code $code"
  fi
  parts+=("{\"part\": \"$name\", \"exit_code\": $code, \"seconds\": $((SECONDS - started))}")
  (IFS=,; echo "[${parts[*]}]") >"$out/parts.json"
  return "$code"
}

tests() { # pytest on the installed package, with the repository's settings
  python3 -m pytest -q -p no:cacheprovider -c "$repository/pyproject.toml" \
    --rootdir "$repository" "$@"
}
export -f tests
export repository PYTHONUNBUFFERED=1

part "a GPU that torch can use" 60 python3 -c '
import torch
assert torch.cuda.is_available(), "torch sees no GPU"
print(torch.__version__, torch.cuda.get_device_name(), torch.cuda.get_device_capability())' || exit 1
arch=$(python3 -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')

part "build for sm_$arch" 150 python3 -m pip install --no-build-isolation --no-deps --no-index \
  --target "$work/site" . --config-settings=cmake.define.LOQA_CUDA=ON \
  --config-settings=cmake.define.CMAKE_CUDA_ARCHITECTURES="$arch-real" || exit 1
export PYTHONPATH="$work/site"
cd "$work" # so that the installed package is what runs
part "info" 30 python3 -m loqa info

# The tests first, stopped at nothing; then numbers, the dearest first; last the checkers, which are
# slow: they take the small cases.
part "tests" 120 bash -c 'tests "$repository/tests" -k cuda'
part "simulator" 50 bash -c "tests '$repository/benchmarks/bench_coin_game_cuda.py' -k cuda \
  --benchmark-json '$out/coin_game_cuda.json'"
part "kernels" 40 bash -c "tests '$repository/benchmarks/bench_kernels.py' -k cuda \
  --benchmark-json '$out/kernels_cuda.json'"
part "LOQA by phase" 60 python3 "$repository/benchmarks/train_cuda.py" phases \
  "$out/train_phases_cuda.json" --seconds 45
part "LOQA to the thresholds" 85 python3 "$repository/benchmarks/train_cuda.py" thresholds \
  "$out/train_thresholds_cuda.json" --seconds 70
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    part "$tool" 45 compute-sanitizer --tool "$tool" --error-exitcode 9 \
      bash -c 'tests "$repository/tests" -k "cuda and small"'
  done
fi
exit $status
