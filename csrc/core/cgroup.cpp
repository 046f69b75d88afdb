#include "core/cgroup.h"

#include <climits>
#include <cstdint>
#include <fstream>
#include <sstream>

namespace loqa {
namespace {

// Version 2 has both numbers in a file, version 1 a file for each. "max" and -1 are no limit.
int cpus_of(const std::string& group) {
  int64_t quota = 0, period = 0;
  if (!(std::ifstream(group + "/cpu.max") >> quota >> period)) {
    std::ifstream(group + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(group + "/cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return 0;
  const int64_t cpus = (quota - 1) / period + 1;
  return cpus < INT_MAX ? static_cast<int>(cpus) : 0;
}

// The least of a group and of those that it is in. In a container the path may count from a root
// that is not seen here: then only the mounted root is there.
int least(const std::string& mount, std::string group) {
  int cpus = 0;
  for (;;) {
    const int here = cpus_of(mount + group);
    if (here > 0 && (cpus == 0 || here < cpus)) cpus = here;
    if (group.empty()) return cpus;
    group.erase(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

bool lists_cpu(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

}  // namespace

int cgroup_cpus(const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  int cpus = 0;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (!controllers.empty() && !lists_cpu(controllers)) continue;
    const std::string mount = controllers.empty() ? mounts : mounts + "/" + controllers;
    for (const std::string& place : {mount, mounts + (controllers.empty() ? "/unified" : "/cpu")}) {
      const int here = least(place, group);
      if (here > 0 && (cpus == 0 || here < cpus)) cpus = here;
    }
  }
  return cpus;
}

}  // namespace loqa
