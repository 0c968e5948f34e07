#pragma once

#include <napi.h>

#include <span>

#include "../core/bulk.h"
#include "../linux/engine.h"

/* JavaScript values to plain structs, on the JavaScript thread. The TypeScript side has checked
   what users gave; what is wrong here is a TypeError. */
namespace nfqc::addon {

/** `{ policy, hashMode, hashSeed, buckets }` */
[[nodiscard]] Hashing to_hashing(const Napi::Object& object);

/** From a string, a number (IPv4, host order) or 4 or 16 bytes; count 0 if that is no address. */
[[nodiscard]] Key to_key(const Napi::Value& value);

/** Everything but the ownership. */
[[nodiscard]] EngineConfig to_engine_config(const Napi::Object& object);

/** Bucket numbers, and milliseconds from now (Infinity: no end). */
[[nodiscard]] Ownership to_ownership(const Napi::Value& owned, const Napi::Value& valid_for_ms);

/** `ms` milliseconds from now, on the clock now_ns(); kNeverEnds from a hundred years on. */
[[nodiscard]] std::uint64_t deadline_after(double ms);

/**
 * A text for a system call, which must not take it for a shorter one.
 * @throws Napi::TypeError if it has a null character
 */
[[nodiscard]] std::string to_text(const Napi::Value& value);
[[nodiscard]] std::vector<std::string> to_texts(const Napi::Array& array);

/** An Error with `kind`, `syscall` and `errno`. */
[[nodiscard]] Napi::Error to_error(Napi::Env env, const Fault& fault);

}  // namespace nfqc::addon
