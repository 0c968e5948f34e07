#pragma once

#include <napi.h>

/* Each adds what one file gives to JavaScript. */
namespace nfqc::addon {

/** `findConnection()`: what conntrack knows of a tuple; and `renewConnmarks()`. */
void register_connections(Napi::Env env, Napi::Object exports);

/** The class NativeEngine; and `now()`, the clock of its deadlines. */
void register_engine(Napi::Env env, Napi::Object exports);

/** The class NativeHasher. It needs no privilege. */
void register_hashing(Napi::Env env, Napi::Object exports);

/** `layout`: where each statistic lies among a queue thread's slots. */
void register_layout(Napi::Env env, Napi::Object exports);

/** `lockNetns()`: the lock on a network namespace. */
void register_lock(Napi::Env env, Napi::Object exports);

/** `probeQueue()`: what the kernel supports of queues, as errnos. */
void register_probe(Napi::Env env, Napi::Object exports);

/** `runProgram()`: a program, to its end. */
void register_program(Napi::Env env, Napi::Object exports);

/** `setQueueRule()`: NFQUEUE in a chain of nft. */
void register_queue_rule(Napi::Env env, Napi::Object exports);

/** `readFiles()`: files of /proc, as a network namespace has them. */
void register_files(Napi::Env env, Napi::Object exports);

}  // namespace nfqc::addon
