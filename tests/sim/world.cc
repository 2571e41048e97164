// The wire and the outside world's ends.
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "sim/network.h"

namespace millrace::sim {

std::string Network::key(const sockaddr* address, socklen_t length) {
  return {reinterpret_cast<const char*>(address), length};
}

Network::End& Network::make_end() {
  ends_.push_back(std::make_unique<End>());
  End& end = *ends_.back();
  end.window = faults_.window_min + prng_.below(faults_.window_max - faults_.window_min + 1);
  auto* local = reinterpret_cast<sockaddr_in*>(&end.local);
  local->sin_family = AF_INET;
  local->sin_port = htons(static_cast<uint16_t>(next_port_++ % 60'000 + 1));
  local->sin_addr.s_addr = htonl(0x0a000001);
  end.local_length = sizeof *local;
  return end;
}

void Network::at(base::nanoseconds after, std::function<void()> what) {
  events_.push({now_ + after, prng_.next(), std::move(what)});
}

base::nanoseconds Network::latency() {
  // Mostly quick, now and then the whole of it.
  const auto most = static_cast<uint64_t>(base::nanoseconds(faults_.latency_max).count());
  return base::nanoseconds(prng_.below(chance(8'000) ? most / 20 + 1 : most + 1));
}

// How much of so many bytes moves at once: at least one.
size_t Network::portion(size_t of) {
  if (of == 0) return 0;
  if (chance(faults_.tiny)) return std::min<size_t>(of, 1 + prng_.below(9));
  return chance(6'000) ? of : 1 + prng_.below(of);
}

size_t Network::room(const End& to) const {
  if (to.dead || to.closed) return SIZE_MAX;  // taken, and answered by a reset
  const size_t used = to.inbox.size() + to.transit_bytes;
  return used < to.window ? to.window - used : 0;
}

// ---- the wire

void Network::push(End& to, Segment segment) {
  if (to.dead) return;
  to.transit_bytes += segment.bytes.size();
  to.transit.push_back(std::move(segment));
  to.last_arrival = std::max(to.last_arrival, now_ + latency());
  at(to.last_arrival - now_, [this, &to] { arrive(to); });
}

void Network::arrive(End& to) {
  if (to.transit.empty() || to.dead) return;
  Segment segment = std::move(to.transit.front());
  to.transit.pop_front();
  to.transit_bytes -= segment.bytes.size();
  if (segment.kind == Segment::Kind::kReset) return reset_arrives(to);
  if (segment.kind == Segment::Kind::kFin) {
    to.fin_arrived = true;
  } else if (to.closed) {
    return send_reset(to, false);  // bytes for somebody who has gone
  } else if (chance(faults_.reset)) {
    ++breaks_;
    End& other = *to.other;
    reset_arrives(to);
    if (!other.dead) reset_arrives(other);
    return;
  } else {
    to.inbox += segment.bytes;
  }
  if (to.peer != nullptr) tell_peer(to);
}

void Network::reset_arrives(End& to) {
  to.dead = true;
  to.error = ECONNRESET;
  to.transit.clear();
  to.transit_bytes = 0;
  to.outbox.clear();
  if (to.peer != nullptr && !to.closed) to.peer->on_reset();
}

// drop_unsent: the sender's buffer goes with it, that is some of the last bytes.
void Network::send_reset(End& from, bool drop_unsent) {
  if (from.dead || from.other == nullptr) return;
  End& to = *from.other;
  from.dead = true;
  from.outbox.clear();
  while (drop_unsent && !to.transit.empty() && chance(5'000)) {
    to.transit_bytes -= to.transit.back().bytes.size();
    to.transit.pop_back();
  }
  push(to, {Segment::Kind::kReset, {}});
}

void Network::read_happened(End& reader) {
  End* writer = reader.other;
  if (writer == nullptr || writer->peer == nullptr || writer->outbox.empty()) return;
  at(latency(), [this, writer] { pump(*writer); });
}

void Network::connect_pair(End& from, End& to) {
  from.other = &to;
  to.other = &from;
  from.state = to.state = End::State::kOpen;
  to.remote = from.local;
  to.remote_length = from.local_length;
}

void Network::finish_connect(End& from, const std::string& to) {
  if (!from.connecting || from.connecting.cancelled) return;
  if (chance(faults_.connect_hangs)) return;
  from.connect_done = true;
  if (chance(faults_.connect_unreachable)) {
    from.connect_result = -EHOSTUNREACH;
    return;
  }
  from.connect_result = -ECONNREFUSED;
  if (chance(faults_.connect_refused)) return;
  if (auto server = servers_.find(to); server != servers_.end()) {
    End& end = make_end();
    end.socket = static_cast<Socket>(ends_.size());
    end.peer = server->second(end.socket);
    if (end.peer == nullptr) return;
    from.connect_result = 0;
    connect_pair(from, end);
    end.peer->on_connected();
  } else if (auto listener = listeners_.find(to); listener != listeners_.end()) {
    End& listening = end_of(listener->second);
    End& end = make_end();
    from.connect_result = 0;
    connect_pair(from, end);
    end.local = listening.local;
    end.local_length = listening.local_length;
    listening.backlog.push_back(&end);
  }
}

// ---- peers

Network::Socket Network::dial(const net::Address& to, Peer& peer) {
  End& from = make_end();
  from.socket = static_cast<Socket>(ends_.size());
  from.peer = &peer;
  sockaddr_storage address{};
  const socklen_t length = to.to_sockaddr(address);
  at(latency(), [this, &from, where = key(reinterpret_cast<const sockaddr*>(&address), length)] {
    if (from.closed) return;
    auto listener = listeners_.find(where);
    if (listener == listeners_.end()) {
      from.dead = true;
      return from.peer->on_reset();
    }
    End& listening = end_of(listener->second);
    End& end = make_end();
    connect_pair(from, end);
    end.local = listening.local;
    end.local_length = listening.local_length;
    listening.backlog.push_back(&end);
    from.peer->on_connected();
  });
  return from.socket;
}

void Network::serve(const net::Address& where, std::function<Peer*(Socket)> accept) {
  sockaddr_storage address{};
  const socklen_t length = where.to_sockaddr(address);
  servers_[key(reinterpret_cast<const sockaddr*>(&address), length)] = std::move(accept);
}

void Network::tell_peer(End& end) {
  if (!end.inbox.empty() && !end.closed) end.peer->on_readable();
  if (end.inbox.empty() && end.fin_arrived && !end.closed && !end.dead && !end.end_told) {
    end.end_told = true;
    end.peer->on_end();
  }
}

void Network::pump(End& from) {
  if (from.closed || from.dead || from.other == nullptr) return;
  while (!from.outbox.empty()) {
    const size_t n = std::min(portion(from.outbox.size()), room(*from.other));
    if (n == 0) return;  // goes on when the other end reads
    push(*from.other, {Segment::Kind::kBytes, from.outbox.substr(0, n)});
    from.outbox.erase(0, n);
  }
  if (from.end_after_outbox && !from.write_ended) {
    from.write_ended = true;
    push(*from.other, {Segment::Kind::kFin, {}});
  }
  if (from.drained_told) return;
  from.drained_told = true;
  at(base::nanoseconds(0), [&from] {
    if (!from.closed && !from.dead) from.peer->on_drained();
  });
}

void Network::write(Socket socket, std::string_view bytes) {
  End& end = peer_end(socket);
  MILLRACE_ASSERT(!end.write_ended && !end.end_after_outbox);
  if (end.dead || end.closed) return;
  end.outbox += bytes;
  end.drained_told = false;
  at(base::nanoseconds(0), [this, &end] { pump(end); });
}

size_t Network::unsent(Socket socket) const { return peer_end(socket).outbox.size(); }
size_t Network::readable(Socket socket) const { return peer_end(socket).inbox.size(); }

std::string Network::read(Socket socket, size_t max) {
  End& end = peer_end(socket);
  const size_t n = std::min(max, end.inbox.size());
  std::string bytes = end.inbox.substr(0, n);
  end.inbox.erase(0, n);
  read_happened(end);
  if (end.inbox.empty() && end.fin_arrived) at(base::nanoseconds(0), [this, &end] { tell_peer(end); });
  return bytes;
}

void Network::end(Socket socket) {
  End& end = peer_end(socket);
  end.end_after_outbox = true;
  at(base::nanoseconds(0), [this, &end] { pump(end); });
}

void Network::hang_up(Socket socket, bool reset) {
  End& end = peer_end(socket);
  if (end.closed) return;
  if (end.state == End::State::kOpen && !end.dead) {
    if (reset || !end.inbox.empty()) {
      send_reset(end, true);
    } else {
      // What it wrote is the kernel's to send: it goes out before the FIN, window or not.
      while (!end.outbox.empty() && end.other != nullptr) {
        const size_t n = portion(end.outbox.size());
        push(*end.other, {Segment::Kind::kBytes, end.outbox.substr(0, n)});
        end.outbox.erase(0, n);
      }
      if (!end.write_ended) push(*end.other, {Segment::Kind::kFin, {}});
    }
  }
  end.closed = true;
  end.inbox.clear();
}

}  // namespace millrace::sim
