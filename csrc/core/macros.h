#pragma once

// LOQA_INLINE, of functions and lambdas: always inlined. LOQA_UNROLL(times): the loop below.
// LOQA_HD marks a rule or a scalar row that runs on the host and on the device. On the host it must
// be inlined: the same header is compiled for several instruction sets, and an out-of-line copy
// made for AVX-512 could otherwise be linked into the baseline path.
// Pieces of drivers, with internal linkage: LOQA_LANES runs on both, LOQA_BLOCK is what a block of
// threads does (see core/thread_block.h), LOQA_BLOCK_CALL a large part of that which is not
// inlined: kernels share it.
#define LOQA_INLINE __attribute__((always_inline))
#if defined(__CUDACC__)
#define LOQA_HD __host__ __device__ __forceinline__
#define LOQA_LANES __host__ __device__ inline
#define LOQA_BLOCK __device__ inline
#define LOQA_BLOCK_CALL __device__ __noinline__
#define LOQA_UNROLL(times) _Pragma("unroll")
#else
#define LOQA_HD inline LOQA_INLINE
#define LOQA_LANES inline
#define LOQA_BLOCK inline
#define LOQA_BLOCK_CALL inline
#define LOQA_PRAGMA(text) _Pragma(#text)
#define LOQA_UNROLL(times) LOQA_PRAGMA(GCC unroll times)
#endif
