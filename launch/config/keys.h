// The table of all keys: reading, writing, suggestions for misspelt names and the help text come from it.
#pragma once

#include <string>
#include <vector>

#include "launch/config/key.h"

namespace smp::launch {

/// In the order in which a resolved configuration lists them, section by section.
const std::vector<Key>& configuration_keys();

/// Sections in order.
const std::vector<std::string>& configuration_sections();

/// The key of a section under its name or its alias; null if there is none.
const Key* find_key(const std::string& section, const std::string& name);

/// Keys of a pasted SageMaker block that ask for nothing this program could do otherwise: accepted with a note, or
/// refused where a value asks for something that does not exist here. They leave no trace in a resolved configuration.
std::vector<Key> pasted_keys();

}  // namespace smp::launch
