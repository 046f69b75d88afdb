# Read by the scripts of this folder; says what they share. Wants $here, the root of the checkout.

# Recorded numbers and agents too large for this repository, where they lie beside it; the tests that
# want them skip without.
shared="$(dirname "$here")/shared"
if [ -d "$shared" ]; then
  export LOQA_GOLDEN_DIR="${LOQA_GOLDEN_DIR:-$shared/golden}"
  export LOQA_REFERENCE_AGENTS_DIR="${LOQA_REFERENCE_AGENTS_DIR:-$shared/reference_agents}"
fi

# The README's two commands, word for word.
command_of() { sed -n "s/^\(python -m pip install .*&& $1.*\)$/\1/p" "$here/README.md"; }
main_job=$(command_of loqa)
test_command=$(command_of "python -m pytest")
[ -n "$main_job" ] && [ -n "$test_command" ] || { echo "the README's two commands are missing"; exit 1; }

# The interpreter of a version such as 3.13: on PATH, or in the version manager's folder; the newest.
find_python() {
  local candidate
  for candidate in "python$1" $(printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/"python$1" | sort -Vr); do
    if "$candidate" -c '' 2>/dev/null; then echo "$candidate"; return; fi
  done
  return 1
}

# Compilers start through ccache where it is installed: nothing is compiled twice.
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_CUDA_COMPILER_LAUNCHER=ccache
  export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR="${TMPDIR:-/tmp}"
fi
