#pragma once

// LOQA_HD marks a rule or a scalar row that runs on the host and on the device. On the host it must
// be inlined: the same header is compiled for several instruction sets, and an out-of-line copy
// made for AVX-512 could otherwise be linked into the baseline path.
#if defined(__CUDACC__)
#define LOQA_HD __host__ __device__ __forceinline__
#else
#define LOQA_HD inline __attribute__((always_inline))
#endif
