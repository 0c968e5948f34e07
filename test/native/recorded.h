#pragma once

#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "core/attributes.h"
#include "core/conntrack.h"
#include "fixtures.h"

/* Messages that real kernels sent, each with a comment that says what is in it. */
namespace nfqc::test {

struct Recorded {
  Bytes bytes;
  std::string comment;
  std::map<std::string, std::string> fields;  ///< NAME=VALUE in the comment
  std::string source;                         ///< of "SOURCE->DESTINATION"; empty if not IP
  std::string destination;

  [[nodiscard]] bool is_packet() const { return fields.contains("hwproto"); }
  /** 0 if it is not there: a comment does not mention a mark of 0, or a payload of no length. */
  [[nodiscard]] std::uint32_t number(const std::string& name) const {
    const auto field = fields.find(name);
    if (field == fields.end()) return 0;
    return static_cast<std::uint32_t>(std::stoul(field->second, nullptr, 0));
  }
};

inline Bytes from_hex(const std::string& hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<unsigned char>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

/** Of "… ip4 proto=6 10.0.0.1->10.0.0.2 totlen=60 …"; a label before that may have an arrow, too.
 */
inline void read_comment(Recorded& recorded) {
  std::istringstream words(recorded.comment);
  bool ip = false;
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::size_t arrow = word.find("->");
    ip |= word == "ip4" || word == "ip6";
    if (equals != std::string::npos) {
      recorded.fields[word.substr(0, equals)] = word.substr(equals + 1);
    } else if (ip && arrow != std::string::npos && recorded.source.empty()) {
      recorded.source = word.substr(0, arrow);
      recorded.destination = word.substr(arrow + 2);
    }
  }
}

inline std::vector<Recorded> received(const std::string& file) {
  const auto path = std::filesystem::path(__FILE__).parent_path() / "../vectors" / file;
  std::ifstream lines(path);
  EXPECT_TRUE(lines) << path;
  std::vector<Recorded> result;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    Recorded recorded{from_hex(line.substr(0, tab)), line.substr(tab + 1), {}, {}, {}};
    read_comment(recorded);
    if (recorded.fields["dir"] == "rx") result.push_back(recorded);
  }
  return result;
}

/** The reply direction of a connection, read as if it were the original one. */
inline Tuple reply_of(const unsigned char* attributes, std::size_t length) {
  Connection connection;
  for_each_attribute(attributes, length, [&connection](const Attribute& attribute) {
    if (attribute.type != CTA_TUPLE_REPLY) return true;
    Bytes only(attribute.value - NLA_HDRLEN, attribute.value + attribute.length);
    const std::uint16_t type = NLA_F_NESTED | CTA_TUPLE_ORIG;
    std::memcpy(only.data() + 2, &type, sizeof type);
    EXPECT_TRUE(parse_connection(only.data(), only.size(), connection));
    return true;
  });
  return connection.original;
}

}  // namespace nfqc::test
