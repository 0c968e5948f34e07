/*
 * Floods a veth interface with UDP packets of many sources, and prints how many it sent as one line
 * of JSON. An XDP program makes them, and the kernel runs it again and again (BPF_PROG_TEST_RUN
 * with live frames, Linux 5.18 or later): a packet costs a fraction of what a packet socket needs
 * for it. The interface at the other end must have GRO on, or it takes no frames from XDP.
 *
 *   flood INTERFACE DESTINATION_MAC DESTINATION SOURCE SOURCES SIZE RATE SECONDS
 *
 * The arguments are the generator's; at a fixed RATE the program waits, and packets come by 64.
 */
#include <linux/bpf.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <vector>

#include "frame.h"

namespace {

/* BPF_F_TEST_XDP_LIVE_FRAMES, which the headers of Linux before 5.18 lack. */
constexpr std::uint32_t kLiveFrames = 1U << 1U;

/* In the place of a source register: the instruction loads the address of a map's value. */
constexpr std::uint8_t kMapValue = BPF_PSEUDO_MAP_VALUE;

int bpf(bpf_cmd command, bpf_attr& attributes) {
  return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

template <typename T>
std::uint64_t address_of(T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

/** A map of one value: how many packets the program has made. */
int make_counter() {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = sizeof(std::uint32_t);
  attributes.value_size = sizeof(std::uint64_t);
  attributes.max_entries = 1;
  const int map = bpf(BPF_MAP_CREATE, attributes);
  if (map < 0) fail("BPF_MAP_CREATE");
  return map;
}

std::uint64_t read_counter(int map) {
  std::uint32_t key = 0;
  std::uint64_t value = 0;
  bpf_attr attributes{};
  attributes.map_fd = static_cast<std::uint32_t>(map);
  attributes.key = address_of(&key);
  attributes.value = address_of(&value);
  if (bpf(BPF_MAP_LOOKUP_ELEM, attributes) != 0) fail("BPF_MAP_LOOKUP_ELEM");
  return value;
}

/* What the program keeps where; the kernel says what is in the first two. */
using Register = std::uint8_t;
constexpr Register kResult = 0;
constexpr Register kContext = 1;
constexpr Register kData = 2;
constexpr Register kEnd = 3;
constexpr Register kMap = 4;
constexpr Register kSent = 5;
constexpr Register kSource = 6;
constexpr Register kSum = 7;
constexpr Register kHigh = 8;
constexpr Register kNone = 0;

/** From the end of a loop of four instructions to its start. */
constexpr std::size_t kBack = static_cast<std::uint16_t>(-4);

bpf_insn instruction(int code, Register to, Register from, std::size_t offset,
                     std::uint32_t value) {
  bpf_insn made{};
  made.code = static_cast<std::uint8_t>(code);
  made.dst_reg = to & 0xfU;
  made.src_reg = from & 0xfU;
  made.off = static_cast<std::int16_t>(offset);
  made.imm = static_cast<std::int32_t>(value);
  return made;
}

bpf_insn load(int width, Register to, Register from, std::size_t offset) {
  return instruction(BPF_LDX | BPF_MEM | width, to, from, offset, 0);
}
bpf_insn store(int width, Register to, std::size_t offset, Register from) {
  return instruction(BPF_STX | BPF_MEM | width, to, from, offset, 0);
}
bpf_insn copy(Register to, Register from) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
bpf_insn set(Register to, std::uint32_t value) {
  return instruction(BPF_ALU | BPF_MOV | BPF_K, to, kNone, 0, value);
}
bpf_insn calculate(int operation, Register to, std::uint32_t value) {
  return instruction(BPF_ALU | operation | BPF_K, to, kNone, 0, value);
}
bpf_insn calculate_wide(int operation, Register to, std::uint32_t value) {
  return instruction(BPF_ALU64 | operation | BPF_K, to, kNone, 0, value);
}
bpf_insn add(Register to, Register from) {
  return instruction(BPF_ALU | BPF_ADD | BPF_X, to, from, 0, 0);
}
bpf_insn network_order(Register to, std::uint32_t bits) {
  return instruction(BPF_ALU | BPF_END | BPF_TO_BE, to, kNone, 0, bits);
}
bpf_insn exit_program() { return instruction(BPF_JMP | BPF_EXIT, kNone, kNone, 0, 0); }

using Code = std::vector<bpf_insn>;

Code joined(std::initializer_list<Code> parts) {
  Code code;
  for (const Code& part : parts) code.insert(code.end(), part.begin(), part.end());
  return code;
}

/** A number of 64 bits, or the address of a map's value: an instruction of two. */
Code wide(Register to, std::uint8_t kind, std::uint64_t value) {
  return {
      instruction(BPF_LD | BPF_IMM | BPF_DW, to, kind, 0, static_cast<std::uint32_t>(value)),
      instruction(0, kNone, kNone, 0, static_cast<std::uint32_t>(value >> 32)),
  };
}
Code map_value(Register to, int map) {
  return wide(to, kMapValue, static_cast<std::uint32_t>(map));
}

std::uint64_t monotonic_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

/** Waits until the packet is due, or for as long as the verifier lets a loop be; keeps kContext. */
Code wait_until_due(std::uint64_t rate, int counter) {
  /* Calls leave these alone. */
  constexpr Register kKept = 6;
  constexpr Register kDue = 7;
  constexpr Register kStart = 8;
  constexpr Register kPatience = 9;
  constexpr std::uint32_t kTries = 5'000;
  const auto interval = static_cast<std::uint32_t>(1'000'000'000 / rate);
  return joined({
      Code{copy(kKept, kContext)},
      map_value(kMap, counter),
      wide(kStart, kNone, monotonic_ns()),
      Code{
          load(BPF_DW, kDue, kMap, 0),
          calculate_wide(BPF_MUL, kDue, interval),
          instruction(BPF_ALU64 | BPF_ADD | BPF_X, kDue, kStart, 0, 0),
          set(kPatience, kTries),
          instruction(BPF_JMP | BPF_CALL, kNone, kNone, 0, BPF_FUNC_ktime_get_ns),
          instruction(BPF_JMP | BPF_JGE | BPF_X, kResult, kDue, 2, 0),
          calculate_wide(BPF_SUB, kPatience, 1),
          instruction(BPF_JMP | BPF_JNE | BPF_K, kPatience, kNone, kBack, 0),
          copy(kContext, kKept),
      },
  });
}

/** Puts the next source into kSource, and counts it; needs the map's value in kMap. */
Code next_source(std::uint32_t first, std::uint32_t sources) {
  return {
      load(BPF_DW, kSent, kMap, 0),
      copy(kSource, kSent),
      calculate_wide(BPF_ADD, kSent, 1),
      store(BPF_DW, kMap, 0, kSent),
      calculate_wide(BPF_MOD, kSource, sources),
      calculate(BPF_ADD, kSource, first),
  };
}

/** Puts into kSum what Frame::set_source() has for the checksum; 0xffff is as good as 0 for IPv4,
 * too. */
Code checksum(std::uint32_t base_sum) {
  const Code fold{
      copy(kHigh, kSum),
      calculate(BPF_RSH, kHigh, 16),
      calculate(BPF_AND, kSum, 0xffff),
      add(kSum, kHigh),
  };
  Code code{copy(kSum, kSource)};
  code.insert(code.end(), fold.begin(), fold.end());
  code.push_back(calculate(BPF_ADD, kSum, base_sum));
  code.insert(code.end(), fold.begin(), fold.end());
  code.insert(code.end(), fold.begin(), fold.end());
  code.push_back(calculate(BPF_XOR, kSum, 0xffff));
  code.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, kSum, kNone, 1, 0));
  code.push_back(set(kSum, 0xffff));
  return code;
}

/** Gives up where the frame is not what it was made of: the verifier asks for this. */
Code check_size(const Frame& frame) {
  return {
      load(BPF_W, kData, kContext, offsetof(xdp_md, data)),
      load(BPF_W, kEnd, kContext, offsetof(xdp_md, data_end)),
      copy(kResult, kData),
      calculate_wide(BPF_ADD, kResult, static_cast<std::uint32_t>(frame.size())),
      instruction(BPF_JMP | BPF_JLE | BPF_X, kResult, kEnd, 2, 0),
      set(kResult, XDP_ABORTED),
      exit_program(),
  };
}

Code send_it(const Frame& frame) {
  return {
      network_order(kSource, 32), store(BPF_W, kData, frame.source_at(), kSource),
      network_order(kSum, 16),    store(BPF_H, kData, frame.checksum_at(), kSum),
      set(kResult, XDP_TX),       exit_program(),
  };
}

/** The XDP program: gives a frame the next source and its checksum, and sends it. */
Code program(const Frame& frame, std::uint32_t sources, std::uint64_t rate, int counter) {
  return joined({
      rate == 0 ? Code{} : wait_until_due(rate, counter),
      check_size(frame),
      map_value(kMap, counter),
      next_source(frame.first_source(), sources),
      checksum(frame.base_sum()),
      send_it(frame),
  });
}

int load_program(const Code& code) {
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_XDP;
  attributes.insns = address_of(code.data());
  attributes.insn_cnt = static_cast<std::uint32_t>(code.size());
  attributes.license = address_of("GPL");
  const int loaded = bpf(BPF_PROG_LOAD, attributes);
  if (loaded < 0) fail("BPF_PROG_LOAD");
  return loaded;
}

/** Has a signal come after so many seconds, which ends what the kernel repeats. */
void alarm_after(double seconds) {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &action, nullptr);
  double whole = 0;
  const double part = std::modf(seconds, &whole);
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(whole);
  timer.it_value.tv_usec = static_cast<suseconds_t>(part * 1e6);
  if (::setitimer(ITIMER_REAL, &timer, nullptr) != 0) fail("setitimer");
}

void flood(Frame& frame, const std::string& interface, int loaded) {
  xdp_md context{};
  context.data_end = static_cast<std::uint32_t>(frame.size());
  context.ingress_ifindex = ::if_nametoindex(interface.c_str());
  if (context.ingress_ifindex == 0) fail("no interface " + interface);
  bpf_attr attributes{};
  attributes.test.prog_fd = static_cast<std::uint32_t>(loaded);
  attributes.test.data_in = address_of(frame.data());
  attributes.test.data_size_in = static_cast<std::uint32_t>(frame.size());
  attributes.test.ctx_in = address_of(&context);
  attributes.test.ctx_size_in = sizeof context;
  attributes.test.repeat = INT32_MAX;
  attributes.test.flags = kLiveFrames;
  if (bpf(BPF_PROG_TEST_RUN, attributes) != 0 && errno != EINTR) {
    fail("BPF_PROG_TEST_RUN with live frames, which needs Linux 5.18");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    constexpr int kOwn = 1 + FrameOptions::kArguments;
    if (argc != kOwn + 2) fail("see the top of flood.cc for the arguments");
    const FrameOptions options = parse_frame(argv + 1);
    const std::uint64_t rate = std::strtoull(argv[kOwn], nullptr, 10);
    const double seconds = std::strtod(argv[kOwn + 1], nullptr);
    Frame frame(options);
    const int counter = make_counter();
    const int loaded = load_program(program(frame, options.sources, rate, counter));
    alarm_after(seconds);
    const std::uint64_t start = monotonic_ns();
    flood(frame, options.interface, loaded);
    const double elapsed = static_cast<double>(monotonic_ns() - start) / 1e9;
    std::printf("{\"sent\":%" PRIu64 ",\"seconds\":%.6f}\n", read_counter(counter), elapsed);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flood: %s\n", error.what());
    return 1;
  }
}
