#include "core/related_flows.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "fixtures.h"

namespace nfqc {
namespace {

Tuple tuple(const std::string& source, std::uint16_t port) {
  const std::string server = source.find(':') == std::string::npos ? "192.0.2.1" : "2001:db8::1";
  return {test::key(source), test::key(server), IPPROTO_UDP, port, port};
}

ListedFlow flow(const Tuple& original, const Tuple& master, std::uint16_t zone = 0) {
  return {.connection = {.original = original, .master = master, .mark = 0}, .zone = zone};
}

RelatedFlows listed(const std::vector<ListedFlow>& flows) {
  RelatedFlows related;
  for (const ListedFlow& each : flows) related.add(each);
  return related;
}

const Tuple kRegister = tuple("10.0.0.1", 5060);
const Tuple kInvite = tuple("10.0.0.2", 5061);
const Tuple kMedia = tuple("10.0.0.3", 4000);

TEST(RelatedFlows, InheritFromTheFirstOfTheirMasters) {
  const ListedFlow invite = flow(kInvite, kRegister);
  const ListedFlow media = flow(kMedia, kInvite);
  for (const RelatedFlows& related : {listed({invite, media}), listed({media, invite})}) {
    EXPECT_EQ(related.root_source(invite), kRegister.source);
    EXPECT_EQ(related.root_source(media), kRegister.source);
  }
}

TEST(RelatedFlows, OfIpv6InheritTheSame) {
  const Tuple first = tuple("fd00::1", 5060);
  const Tuple second = tuple("fd00::2", 5060); /* differs in the last word alone */
  const ListedFlow media = flow(tuple("fd00::3", 5060), second);
  EXPECT_EQ(listed({flow(second, first), media}).root_source(media), first.source);
}

TEST(RelatedFlows, InheritFromTheLastMasterThatIsKnown) {
  const ListedFlow media = flow(kMedia, kInvite);
  EXPECT_EQ(listed({media}).root_source(media), kInvite.source);
}

TEST(RelatedFlows, OfAnotherPortOrZoneAreOthers) {
  const ListedFlow media = flow(kMedia, kInvite, 1);
  EXPECT_EQ(listed({flow(kInvite, kRegister), media}).root_source(media), kInvite.source);
  EXPECT_EQ(listed({flow(kInvite, kRegister, 1), media}).root_source(media), kRegister.source);
  const ListedFlow other = flow(tuple("10.0.0.2", 5062), kRegister, 1);
  EXPECT_EQ(listed({other, media}).root_source(media), kInvite.source);
}

TEST(RelatedFlows, InACircleHaveOneOfItsSources) {
  const ListedFlow invite = flow(kInvite, kMedia);
  const ListedFlow media = flow(kMedia, kInvite);
  const RelatedFlows related = listed({invite, media});
  for (const ListedFlow& each : related) {
    const Key source = related.root_source(each);
    EXPECT_TRUE(source == kInvite.source || source == kMedia.source);
  }
  const ListedFlow own = flow(kMedia, kMedia);
  EXPECT_EQ(listed({own}).root_source(own), kMedia.source);
}

}  // namespace
}  // namespace nfqc
