#!/usr/bin/env bash
# Tests and measures on a machine with an NVIDIA GPU, in two calls of at most 330 s, each of which may
# start on a fresh machine that can reach nothing:
#   bash benchmarks/gpu.sh wheel        before, where nvcc is: dist/ gets a wheel and the commit's name
#   bash benchmarks/gpu.sh a [FOLDER [ONLY]]   smoke, tests, simulator, LOQA by phase
#   bash benchmarks/gpu.sh b [FOLDER [ONLY]]   kernels, LOQA to the thresholds, sanitizers, profiler, JAX
# ONLY is a regular expression: the parts after the installation whose names match it.
# A and B need a Python (3.12, or what PYTHON was at `wheel`) with torch (CUDA build), numpy,
# matplotlib, pillow, rich, safetensors, pytest, pytest-benchmark and hypothesis; pytest-xdist and
# pytest-timeout are used where they are. Without a wheel in dist/ that fits they build the package,
# which takes nvcc, scikit-build-core, pybind11 and ninja. dist/ is not tracked: send it along.
#
# A part that fails or takes too long does not stop those after it. Every case is one line of JSON in
# FOLDER, there as soon as it is measured; log.txt has all that was printed; a table comes last.
# Exit code 0 if all parts passed. LOQA_GPU_DEVICE=cpu rehearses on a machine without a GPU.
set -uo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
call=${1:?"usage: gpu.sh wheel | a [FOLDER] | b [FOLDER]"}
arch="90-real;90-virtual"

if [ "$call" = wheel ]; then
  set -e
  rm -rf dist
  "${PYTHON:-python3.12}" -m pip wheel -q --no-deps -w dist . \
    -Ccmake.define.LOQA_CUDA=ON "-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=$arch"
  git describe --always --dirty --abbrev=12 >dist/commit
  ls -l dist
  exit
fi

out=$(realpath -m "${2:-${OUT:-gpu-results}}")
only=${3:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
: >"$out/log.txt"
device=${LOQA_GPU_DEVICE:-cuda}
export LOQA_COMMIT=${LOQA_COMMIT:-$(cat dist/commit 2>/dev/null || true)}
export PATH=/usr/local/cuda/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export XLA_PYTHON_CLIENT_PREALLOCATE=false  # JAX leaves torch some memory
ends=$((SECONDS + 325))
status=0
installed=

# part NAME LIMIT COMMAND...: runs a command for at most LIMIT seconds, and never past the end of all.
# What it prints is seen at once.
part() {
  local name=$1 limit=$2 left=$((ends - SECONDS)) started=$SECONDS code=0
  shift 2
  if [ "$installed" ] && ! [[ $name =~ $only ]]; then return; fi
  if [ "$limit" -gt "$left" ]; then limit=$left; fi
  echo "== $name (at most $limit s)" | tee -a "$out/log.txt"
  if [ "$limit" -le 0 ]; then
    code=124
  else
    timeout -k 5 "$limit" "$@" 2>&1 | tee -a "$out/log.txt"
    code=${PIPESTATUS[0]}
  fi
  if [ "$code" -ne 0 ]; then
    status=1
    echo "== $name: exit code $code" | tee -a "$out/log.txt"
  fi
  printf '{"part": "%s", "exit_code": %d, "seconds": %d}\n' "$name" "$code" $((SECONDS - started)) \
    >>"$out/parts.jsonl"
  return "$code"
}

# The import reads gigabytes on a fresh machine: it warms up beside the installation, and what comes
# after is quick.
python3 -c 'import torch, torch._dynamo' >/dev/null 2>&1 &
part "machine" 20 bash -c 'nvidia-smi; nvcc --version | tail -n 2; python3 --version; nproc'
part "wheel" 40 bash -c "python3 -m pip install -q --no-deps --no-index --target '$work/site' \
    dist/loqa-*-\$(python3 -c 'import sys; print(\"cp%d%d\" % sys.version_info[:2])')-*.whl" ||
  part "build" 160 python3 -m pip install -q --no-build-isolation --no-deps --no-index \
    --target "$work/site" . -Ccmake.define.LOQA_CUDA=ON "-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=$arch"
wait
scripts=$repository/benchmarks
export PYTHONPATH="$work/site:$scripts:$scripts/gpu${PYTHONPATH:+:$PYTHONPATH}"
cd "$work" # so that the installed package is what runs
installed=yes

has() { python3 -c "import importlib.util, sys; sys.exit(not importlib.util.find_spec('$1'))"; }
pytest=(python3 -m pytest -q -p lines -p no:cacheprovider -c "$repository/pyproject.toml"
  --rootdir "$repository" --tb=short)
spread=()
if has xdist; then spread=(-n 14 --benchmark-disable); fi # pytest-benchmark refuses beside it
if has pytest_timeout; then pytest+=(--timeout 60); fi
# bench NAME LIMIT SELECTION FILE: one line of JSON a case.
bench() {
  part "$1" "$2" "${pytest[@]}" "$scripts/$4" -k "$3" --lines "$out/${1// /_}.jsonl" \
    --benchmark-max-time 0.2 --benchmark-min-rounds 5 --benchmark-columns median,rounds
}

if [ "$call" = a ]; then
  part "smoke" 60 python3 "$scripts/gpu/smoke.py" --device "$device" --lines "$out/smoke.jsonl"
  part "tests" 100 "${pytest[@]}" "${spread[@]}" "$repository/tests" --lines "$out/tests.jsonl" \
    -k "cuda and not host and not inductor and not out_of_memory"
  bench "simulator" 60 "cuda_loqa" bench_coin_game_cuda.py
  part "LOQA by phase" 55 python3 "$scripts/train_cuda.py" phases "$out/phases.jsonl" \
    --seconds 45 --device "$device"
  part "LOQA by launches" 30 python3 "$scripts/train_cuda.py" launches "$out/launches.jsonl" \
    --seconds 25 --device "$device"
elif [ "$call" = b ]; then
  bench "kernels" 40 "test_cuda" bench_kernels.py
  part "LOQA to the thresholds" 155 python3 "$scripts/train_cuda.py" thresholds \
    "$out/thresholds.jsonl" --seconds 140 --device "$device"
  # Kernels of ours only, in every process, on the few tests whose batches are small.
  for tool in memcheck racecheck; do
    part "$tool" 60 compute-sanitizer --tool "$tool" --target-processes all --launch-timeout 60 \
      --kernel-name kns=loqa --error-exitcode 9 "${pytest[@]}" \
      "$repository"/tests/ops/test_{gru,ops}.py "$repository"/tests/envs/test_cuda_{coin,matrix}_game.py \
      "$repository"/tests/training/test_head_steps.py \
      -k "cuda and not host and (small_batch or small_sequences or small_threads)"
  done
  part "profiler" 40 ncu --target-processes all --kernel-name regex:coin_play --launch-skip 4 \
    --launch-count 4 --section SpeedOfLight --section LaunchStats --section MemoryWorkloadAnalysis \
    python3 "$scripts/gpu/two_kernels.py" --device "$device"
  bench "JAX" 45 "(jax or float32) and (1048576 or 65536)" bench_coin_game_cuda.py
  part "out of memory" 20 "${pytest[@]}" "$repository/tests" -k "cuda and out_of_memory"
fi
installed= part "table" 20 python3 "$scripts/gpu/table.py" "$out"
exit $status
