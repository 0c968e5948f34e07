#include "queue_worker.h"

#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include <cerrno>
#include <chrono>

#include "clock.h"
#include "netns.h"

namespace nfqc {
namespace {

/** Signals belong to the threads of the process that embeds us. */
void block_all_signals() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

/** However many packets cannot be read. */
constexpr std::uint64_t kFindEveryNs = 1'000'000'000;

/** In the calling thread's network namespace. @throws Fault kNoInterface */
unsigned interface_index(const std::string& name) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) {
    throw Fault(FaultKind::kNoInterface, "if_nametoindex", errno, "no interface " + name);
  }
  return index;
}

}  // namespace

QueueWorker::QueueWorker(const WorkerConfig& config, std::uint16_t queue, OwnershipTable& table,
                         OwnershipTable::Reader& reader, std::uint64_t* slots, OnFault on_fault)
    : config_(config),
      queue_(queue),
      table_(table),
      reader_(reader),
      counters_(slots),
      on_fault_(std::move(on_fault)),
      in_force_(table.newest(), OwnershipTable::kFirstVersion) {
  thread_ = std::thread([this] { run(); });
}

QueueWorker::~QueueWorker() {
  stop(0);
  join();
}

void QueueWorker::stop(std::uint64_t deadline_ns) noexcept {
  stop_at_.store(deadline_ns, std::memory_order_release);
  const std::lock_guard lock(waiting_mutex_);
  if (waiting_ != nullptr) waiting_->wake();
}

void QueueWorker::set_waiting(QueueSocket* socket) {
  const std::lock_guard lock(waiting_mutex_);
  waiting_ = socket;
}

void QueueWorker::join() {
  if (thread_.joinable()) thread_.join();
}

std::optional<std::uint32_t> QueueWorker::last_id() {
  const std::lock_guard lock(asked_mutex_);
  if (!status_) return std::nullopt;
  const std::optional<QueueStatus> status = status_->read(queue_);
  return status ? std::optional(status->last_id) : std::nullopt;
}

void QueueWorker::read_counts() {
  const std::lock_guard lock(asked_mutex_);
  copy_kernel_counts();
}

std::optional<bool> QueueWorker::has_chain(const char* name, bool with_rules) {
  const std::lock_guard lock(asked_mutex_);
  return rules_ ? rules_->has_chain(name, with_rules) : std::nullopt;
}

std::optional<std::uint64_t> QueueWorker::table_handle() {
  const std::lock_guard lock(asked_mutex_);
  return rules_ ? rules_->handle() : std::nullopt;
}

void QueueWorker::copy_kernel_counts() {
  if (rules_) {
    counters_.set(Counter::kOffloadedOwned, rules_->owned());
    counters_.set(Counter::kOffloadedForeign, rules_->foreign());
  }
  if (!status_) return;
  const std::optional<QueueStatus> status = status_->read(queue_);
  if (!status) return;
  counters_.follow(Counter::kQueueDropped, status->queue_dropped);
  counters_.follow(Counter::kUserDropped, status->user_dropped);
}

void QueueWorker::run() noexcept {
  block_all_signals();
  ::pthread_setname_np(::pthread_self(), ("nfq-" + std::to_string(queue_)).c_str());
  try {
    set_up();
    set_waiting(&*socket_);
    loop();
    if (!confirmed_) throw Fault(FaultKind::kSystem, "recvmsg", ECANCELED, "stopped while opening");
  } catch (const Fault& fault) {
    fail(fault);
  } catch (const std::exception& exception) {
    fail(Fault(FaultKind::kSystem, "", 0, exception.what()));
  }
  set_waiting(nullptr);
  release();
}

/* The object itself lives on for as long as somebody reads its counts. */
void QueueWorker::release() noexcept {
  lookup_.reset();
  {
    const std::lock_guard lock(asked_mutex_);
    try {
      copy_kernel_counts();
    } catch (const std::exception&) {
      /* The counts stay as they were read last. */
    }
    status_.reset();
    rules_.reset();
  }
  socket_.reset();
}

void QueueWorker::fail(const Fault& fault) {
  if (confirmed_) {
    on_fault_(fault);
  } else {
    started_.set_exception(std::make_exception_ptr(fault));
  }
}

void QueueWorker::set_up() {
  /* Otherwise the kernel lets us sleep 50 microseconds longer than asked. */
  if (config_.gather_us != 0) ::prctl(PR_SET_TIMERSLACK, 1UL);
  run_where_queued(config_.fanout);
  real_time_.emplace(config_.realtime);
  enter_netns(config_.netns);
  DecisionConfig& decision = config_.decision;
  for (const NamedInterface& interface : config_.interfaces) {
    decision.interfaces[decision.interface_count++] = {interface_index(interface.name),
                                                       interface.field};
  }
  socket_.emplace(QueueSocketConfig{queue_, config_.queue_length, config_.receive_buffer});
  if (!config_.table.empty()) rules_.emplace(config_.table);
  follow_connections();
  status_.emplace();
  if (status_->readable() && !status_->read(queue_)) {
    throw Fault(FaultKind::kSystem, "read", ENOENT,
                "cannot find the queue in /proc/thread-self/net/netfilter/nfnetlink_queue");
  }
  counters_.set(Counter::kReceiveBuffer, socket_->receive_buffer());
  socket_->start(copy_range(decision));
}

void QueueWorker::follow_connections() {
  using Choice = ConntrackChoice;
  const bool queue =
      config_.conntrack == Choice::kQueue || config_.conntrack == Choice::kQueueElseNetlink;
  if (queue && socket_->attach_connections()) {
    config_.decision.connections = Connections::kQueue;
  } else if (config_.conntrack == Choice::kQueue) {
    throw Fault(FaultKind::kNoConntrack, "sendto", EOPNOTSUPP,
                "the kernel cannot attach connections to queued packets");
  } else if (config_.conntrack != Choice::kOff) {
    config_.decision.connections = Connections::kLookup;
    lookup_ = std::allocate_shared<ConnectionLookup>(UnforkedAllocator<ConnectionLookup>(),
                                                     config_.decision, counters_);
    socket_->wait_at_most(ConnectionLookup::kDrainInterval);
  }
}

void QueueWorker::loop() {
  for (;;) {
    const std::uint64_t version = table_.version();
    const std::uint64_t deadline = stop_at_.load(std::memory_order_acquire);
    const bool stopping = deadline != kNever;
    const int received = stopping ? socket_->receive(QueueSocket::Wait::kNo) : receive();
    if (received > 0) {
      decide_all(received);
      if (stopping && now_ns() >= deadline) return;
      /* With fewer than there is room for, the socket was empty after them. */
      if (received == static_cast<int>(QueueSocket::kMessages)) continue;
    } else if (received == -EAGAIN) {
      if (stopping) return;
      if (lookup_) lookup_->drain(now_ns());
    } else if (is_transient(-received)) {
      /* EINTR: the process was stopped and continued, and has lost nothing. */
      if (received != -EINTR) counters_.add(Counter::kReceiveErrors);
      continue;
    } else {
      throw Fault(FaultKind::kSystem, "recvmmsg", -received, "cannot receive packets");
    }
    in_force_.drained(version);
    /* While stopping, each sleep would gather what must then be answered as well. */
    if (received > 0 && !stopping && config_.gather_us != 0)
      std::this_thread::sleep_for(std::chrono::microseconds(config_.gather_us));
  }
}

int QueueWorker::receive() noexcept {
  if (config_.busy_poll_us != 0) {
    const std::uint64_t awake_until = now_ns() + config_.busy_poll_us * std::uint64_t{1000};
    do {
      const int received = socket_->receive(QueueSocket::Wait::kNo);
      if (received != -EAGAIN) return received;
    } while (now_ns() < awake_until);
  }
  return socket_->receive(QueueSocket::Wait::kYes);
}

void QueueWorker::decide_all(int datagrams) {
  const OwnershipTable::Batch batch(table_, reader_);
  if (in_force_.changes_to(batch.version())) in_force_.change(table_.adopt(reader_));
  const std::uint64_t received_at = now_ns();
  real_time_->check(received_at);
  if (lookup_) lookup_->drain_if_due(received_at);
  for (int i = 0; i < datagrams; ++i) {
    QueueSocket::Datagram datagram = socket_->datagram(static_cast<std::size_t>(i));
    for (;;) {
      const Message message = parse_message(datagram.bytes, datagram.length);
      take(message, received_at);
      if (message.length == 0) break;
      datagram = {datagram.bytes + message.length, datagram.length - message.length};
    }
  }
  answer(received_at);
  if (counters_.get(Counter::kMalformed) != malformed_) find_interfaces(received_at);
}

void QueueWorker::find_interfaces(std::uint64_t now) {
  if (now < find_no_sooner_) return;
  find_no_sooner_ = now + kFindEveryNs;
  malformed_ = counters_.get(Counter::kMalformed);
  for (std::size_t i = 0; i < config_.interfaces.size(); ++i) {
    const unsigned index = ::if_nametoindex(config_.interfaces[i].name.c_str());
    if (index != 0) config_.decision.interfaces[i].ifindex = index;
  }
}

void QueueWorker::take(const Message& message, std::uint64_t now) {
  switch (message.kind) {
    case MessageKind::kPacket: return take_packet(message.packet, now);
    case MessageKind::kError: return take_error(message);
    case MessageKind::kMalformed: return take_unreadable(message, now);
    case MessageKind::kOther: return;
  }
}

void QueueWorker::take_packet(const Packet& packet, std::uint64_t now) {
  confirm(); /* by the packet itself: what the kernel says of the start may not fit behind it */
  if (batch_.size() + held_count_ == DecidedBatch::kCapacity) answer(now);
  const bool hold = lookup_ && (held_count_ != 0 || needs_lookup(config_.decision, packet));
  if (!hold) return batch_.add(packet, {}, now);
  lookup_->add(packet, now);
  held_[held_count_++] = packet;
}

static_assert(DecidedBatch::kCapacity <= ConnectionLookup::kPackets);

void QueueWorker::decide_held(std::uint64_t now) {
  if (held_count_ == 0) return;
  lookup_->find(now);
  for (std::size_t i = 0; i < held_count_; ++i) batch_.add(held_[i], lookup_->key(i), now);
  lookup_->clear();
  held_count_ = 0;
}

void QueueWorker::confirm() {
  if (confirmed_) return;
  confirmed_ = true;
  started_.set_value();
}

void QueueWorker::take_error(const Message& message) {
  if (message.seq == QueueSocket::kWakeSequence) return;
  if (message.seq == QueueSocket::kStartSequence) {
    if (message.error == 0) return confirm();
    throw Fault(FaultKind::kSystem, "sendto", message.error, "cannot ask for packets");
  }
  if (message.error == 0) return;
  counters_.add(Counter::kVerdictErrors);
  if (message.error == ENOENT) return; /* the kernel has dropped the packet itself */
  /* The packets of a refused verdict still wait, and a later VERDICT_BATCH would let them pass: the
     only safe reaction is to close the socket, upon which the kernel drops them. */
  const FaultKind kind = message.error == EPERM ? FaultKind::kPrivilege : FaultKind::kSystem;
  throw Fault(kind, "sendto", message.error, "the kernel refused a verdict");
}

void QueueWorker::take_unreadable(const Message& message, std::uint64_t now) {
  /* Without an id it cannot be answered, and a later VERDICT_BATCH would let it pass: the only safe
     reaction is to close the socket, upon which the kernel drops what it holds. */
  if (!message.has_id) {
    throw Fault(FaultKind::kSystem, "recvmmsg", EBADMSG, "the kernel sent a packet without an id");
  }
  decide_held(now);
  if (batch_.full()) answer(now);
  batch_.add_unreadable(message.packet.id);
}

void QueueWorker::answer(std::uint64_t received_at) {
  decide_held(received_at);
  if (batch_.size() == 0) return;
  const int error = socket_->send(batch_.encode(queue_));
  if (error != 0) {
    counters_.add(Counter::kVerdictErrors, batch_.size());
    throw Fault(FaultKind::kSystem, "sendto", error, "cannot send verdicts");
  }
  batch_.answered(now_ns() - received_at);
}

}  // namespace nfqc
