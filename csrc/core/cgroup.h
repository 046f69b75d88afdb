#pragma once

#include <string>

namespace loqa {

// Processors' worth of time that the control groups of this process allow it (version 1 or 2, the
// least of all that it is nested in), rounded up; 0 without a limit. `root` stands for "/".
int cgroup_cpus(const std::string& root);

}  // namespace loqa
