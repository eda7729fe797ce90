#pragma once

#include <string>
#include <vector>

#include "cli/cli.h"
#include "pellucid/style.h"

namespace pellucid {

/// The flags that all verbs share that make pictures with a network: recipe of the family, size, steps, seed, folder,
/// model.
void add_make_flags(CLI::App& app, MakeOptions& make, const std::string& family);
/// MODEL IMAGE...
void add_pictures(CLI::App& app, MakeOptions& make, std::vector<std::string>& inputs, bool required = true);
/// [MODEL] IMAGE...: without a model the shipped encoder of textures. What this returns sorts them, once they are read.
std::function<void()> add_texture_pictures(CLI::App& app, MakeOptions& make, std::vector<std::string>& inputs);
/// A flag with numbers separated by commas: "0.7,0.3".
CLI::Option* add_numbers(CLI::App& app, const std::string& flag, std::vector<double>& field, const std::string& help);
/// Layers, their weights, statistics and pooling of `texture` and `style`.
void add_texture_flags(CLI::App& app, TextureTerms& terms);
/// The table of what was made, or its JSON; returns the exit status.
int print_made_pictures(const MakeResult& result, const MakeOptions& make, const GlobalOptions& global);

}  // namespace pellucid
