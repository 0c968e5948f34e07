#pragma once

#include <cstdint>

#include "../core/key.h"

namespace nfqc {

/**
 * In every connmark that has any of these bits, sets them to the flow's bucket plus 1: an earlier
 * engine may have used another hash. For a flow with masters it is the bucket of the topmost one,
 * as connmarks are inherited.
 * @param mask adjacent bits, enough for the number of buckets
 * @throws Fault kPrivilege, kNoConntrack, kSystem
 */
void renew_connmarks(std::uint32_t mask, const Hashing& hashing);

}  // namespace nfqc
