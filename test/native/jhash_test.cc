#include "core/jhash.h"

#include <gtest/gtest.h>

#include <array>
#include <string_view>
#include <vector>

#include "jhash_bytes.h"

namespace nfqc {
namespace {

using test::jhash_bytes;

std::uint32_t words(const std::vector<std::uint32_t>& words, std::uint32_t seed) {
  return jhash_words(words.data(), words.size(), seed);
}

std::uint32_t bytes(std::string_view text, std::uint32_t seed) {
  return jhash_bytes(text.data(), text.size(), seed);
}

TEST(Jhash, HashesWordsAsTheKernelDoes) {
  EXPECT_EQ(jhash_1word(0, 0), 0x049396b8U);
  EXPECT_EQ(jhash_1word(1, 0), 0x72a82a9bU);
  EXPECT_EQ(words({1, 2}, 3), 0x252781b5U);
  EXPECT_EQ(words({1, 2, 3}, 4), 0x8103143fU);
  EXPECT_EQ(words({1, 2, 3, 4}, 5), 0x73558c35U);
  EXPECT_EQ(words({1, 2, 3}, 0), 0xa46158f5U);
}

TEST(Jhash, HashesBytesAsTheKernelDoes) {
  EXPECT_EQ(bytes("", 0), 0xdeadbeefU);
  EXPECT_EQ(bytes("abc", 0), 0x0e397631U);
  EXPECT_EQ(bytes("Four score and seven years ago", 0), 0x17770551U);
  EXPECT_EQ(bytes("Four score and seven years ago", 1), 0xcd628161U);
}

/* Computed by another implementation, in another language, from the algorithm's description. */
constexpr std::array<std::uint32_t, 41> kOfEveryLength{
    0x7ce538a8, 0x5c8a8633, 0x60d5e7c9, 0x57335406, 0x5373fd14, 0x55bf47ef, 0x4882b2fe,
    0xceab3a91, 0xd8178bf2, 0x4a075bc0, 0x192664e0, 0x045a1a23, 0xec8fb5d2, 0x4b7e2e89,
    0x641027f8, 0xb4559959, 0xdbb26d54, 0x8ce39572, 0xab507e0c, 0x79d6b547, 0x13f4fb8e,
    0x9228b164, 0xf8885c92, 0x70c3c536, 0x94e5e69e, 0x893909ae, 0xe08515e9, 0x5a9484a6,
    0x31188f79, 0xf0e61a08, 0x4d3962b8, 0xae569f15, 0x1e14a013, 0xac7bb0ef, 0x44d0fff9,
    0x27d8dac8, 0xba063d99, 0x30a68df7, 0xeb1390d3, 0x3bc546b5, 0x8b9d0b64};
constexpr std::uint32_t kSeed = 0x9e3779b9;

TEST(Jhash, HashesEveryLengthFrom0To40Bytes) {
  for (std::size_t length = 0; length < kOfEveryLength.size(); ++length) {
    /* Exactly as long as needed, so that AddressSanitizer sees a read past the end. */
    std::vector<unsigned char> key(length);
    for (std::size_t i = 0; i < length; ++i) key[i] = static_cast<unsigned char>(i * 37 + 11);
    EXPECT_EQ(jhash_bytes(key.data(), length, kSeed), kOfEveryLength[length]) << length;
  }
}

TEST(Jhash, DoesNotDependOnWhereTheBytesLie) {
  for (std::size_t offset = 0; offset < 8; ++offset) {
    std::vector<unsigned char> memory(offset + 40);
    for (std::size_t i = 0; i < 40; ++i) {
      memory[offset + i] = static_cast<unsigned char>(i * 37 + 11);
    }
    EXPECT_EQ(jhash_bytes(memory.data() + offset, 40, kSeed), kOfEveryLength[40]) << offset;
  }
}

TEST(Jhash, OfBytesEqualsThatOfWordsOnLittleEndian) {
  if (std::endian::native != std::endian::little) GTEST_SKIP() << "big-endian";
  for (std::size_t count = 0; count <= 10; ++count) {
    std::vector<std::uint32_t> key(count);
    for (std::size_t i = 0; i < count; ++i) {
      key[i] = static_cast<std::uint32_t>(i + 1) * 0x9e3779b9U;
    }
    EXPECT_EQ(words(key, kSeed), jhash_bytes(key.data(), 4 * count, kSeed)) << count << " words";
  }
}

TEST(Jhash, OfOneWordEqualsThatOfAListOfOne) {
  for (std::uint32_t word = 1; word != 0; word <<= 1) {
    EXPECT_EQ(jhash_1word(word, ~word), words({word}, ~word));
  }
}

TEST(Jhash, OfNothingIsTheStartValue) {
  EXPECT_EQ(words({}, 5), 0xdeadbeefU + 5);
  EXPECT_EQ(bytes("", 5), 0xdeadbeefU + 5);
}

}  // namespace
}  // namespace nfqc
