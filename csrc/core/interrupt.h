#pragma once

namespace loqa {

// Whether the call that this thread works for should end; false in a thread that works for none.
// Loops that may run for long ask after every microsecond of work or more, and return when it is
// true: nobody looks at their results.
bool interrupted();

}  // namespace loqa
