#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pellucid {

/// An element of an XML document: its text without what its children hold, blanks at both ends cut off.
struct XmlElement {
  std::string name;
  std::string text;
  std::vector<XmlElement> children;

  /// The first child of this name, or null.
  const XmlElement* child(std::string_view child_name) const;
};

/// The root element of a UTF-8 document: elements, attributes (read over), text, comments, the XML declaration, the
/// five predefined entities and character references. Refuses all else, among it document types, and with them every
/// entity that could expand or fetch; CDATA; processing instructions; nesting over 32; more than 100000 elements.
/// Throws Error(kInvalidInput) "NAME:LINE: what".
XmlElement parse_xml(std::string_view bytes, const std::string& name);

}  // namespace pellucid
