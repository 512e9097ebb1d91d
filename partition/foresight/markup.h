// Text inside XML and HTML.
#pragma once

#include <string>
#include <string_view>

namespace smp::partition {

/// Stands for itself as content of an element and between quotes, in XML and in HTML alike. What XML has no place for
/// (control characters, bytes that are no UTF-8) becomes U+FFFD.
std::string markup_text(std::string_view text);

}  // namespace smp::partition
