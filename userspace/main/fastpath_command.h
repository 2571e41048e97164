// `millrace fastpath status|detach|selftest`: for operators, beside a living daemon or after it.
#pragma once

namespace millrace {

// argv[0] is "fastpath". Returns the exit code: 0; 1 what was asked for failed; 2 the command line is wrong.
int fastpath_command(int argc, char** argv);

}  // namespace millrace
