#pragma once

#include <string>
#include <vector>

#include "cli/cli.h"
#include "pellucid/make_pictures.h"

namespace pellucid {

/// The flags that all verbs share that make pictures with a network: recipe of the family, size, steps, seed, folder,
/// model.
void add_make_flags(CLI::App& app, MakeOptions& make, const std::string& family);
/// MODEL IMAGE...
void add_pictures(CLI::App& app, MakeOptions& make, std::vector<std::string>& inputs, bool required = true);
/// The table of what was made, or its JSON; returns the exit status.
int print_made_pictures(const MakeResult& result, const MakeOptions& make, const GlobalOptions& global);

}  // namespace pellucid
